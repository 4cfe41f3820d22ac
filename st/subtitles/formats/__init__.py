"""Files of cues and of segments, read and written."""
