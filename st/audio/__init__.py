"""Recordings: reading, streams, resampling, augmentation."""
