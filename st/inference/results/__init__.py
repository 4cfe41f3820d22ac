"""What a model gives back: decoded utterances, whether they belong to the sound, and how they become lines."""
