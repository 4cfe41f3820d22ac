"""Paths through the states of a given text: of one clip, and of recordings of any length."""
