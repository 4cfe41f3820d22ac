"""Files of fairseq, read and written."""
