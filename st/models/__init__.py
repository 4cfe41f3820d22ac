"""fairseq models of ``--user-dir st``."""
