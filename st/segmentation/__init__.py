"""Where a recording has speech, and where to cut it."""
