"""Decoded audio: one store for each language and split."""
