"""Folders of transformers, read and written."""
