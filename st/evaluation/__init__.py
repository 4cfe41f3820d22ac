"""Scores per direction, and the report."""
