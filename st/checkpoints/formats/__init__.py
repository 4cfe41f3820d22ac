"""Formats of model files, one family a file, each with its table of names."""
