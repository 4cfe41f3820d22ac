"""Languages, manifests, audio reading, text and vocabulary, batching."""
