"""What leaves with a model: a card, a language model, and the way to the hub."""
