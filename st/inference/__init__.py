"""Audio in, translation out."""
