"""Segments with times become subtitles and documents: texts and times only, no model."""
