"""Beam search and CTC decoding."""
