"""Self-supervised pre-training: quantizer, draws, objective, and the model that joins them to the speech encoder."""
