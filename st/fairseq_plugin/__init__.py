"""The fairseq plugin of ``--user-dir st``: task, data set, model, criterion, optimizer."""
