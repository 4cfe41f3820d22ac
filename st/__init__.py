"""Speech translation on XLS-R; also the fairseq plugin of ``--user-dir st``."""
