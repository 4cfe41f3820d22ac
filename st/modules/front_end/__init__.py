"""From a wave to frames: convolutions, spectrograms, and their normalisation over time."""
