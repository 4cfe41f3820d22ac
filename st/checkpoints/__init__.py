"""Every checkpoint format in, every format out, through one guarded door."""
