"""fairseq optimizers of ``--user-dir st``."""
