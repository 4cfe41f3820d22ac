"""Layers of speech encoders and their parts, from adapters to positions."""
