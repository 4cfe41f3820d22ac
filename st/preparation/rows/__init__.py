"""Rows of a corpus: what is known of each, and what is dropped."""
