"""Searches by words and letters with an n-gram language model, and the files of such models."""
