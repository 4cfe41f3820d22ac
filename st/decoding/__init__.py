"""Beam search and sampling over the text decoder; decoding and alignment of the CTC head."""
