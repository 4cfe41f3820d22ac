"""Every checkpoint format in, every format out, through one guarded door; what users need is in :mod:`st` itself."""
