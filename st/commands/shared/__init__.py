"""What several commands share: options, recordings that are read, preparations."""
