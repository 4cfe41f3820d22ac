"""fairseq criterions of ``--user-dir st``."""
