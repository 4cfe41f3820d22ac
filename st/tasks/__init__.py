"""fairseq tasks of ``--user-dir st``."""
