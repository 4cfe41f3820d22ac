"""Manifests, utterances, the plan of an epoch, batches."""
