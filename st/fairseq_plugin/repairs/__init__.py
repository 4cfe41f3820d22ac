"""What is replaced in fairseq, one concern a file."""
