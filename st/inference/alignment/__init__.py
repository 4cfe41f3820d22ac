"""When each word of a text was said: forced alignment of recordings of any length, and its files."""
