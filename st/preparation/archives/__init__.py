"""Corpora in archives: read in one pass, under bounds; Common Voice's releases."""
