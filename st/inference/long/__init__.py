"""Recordings of any length, piece by piece: windows, segments, journal, results."""
