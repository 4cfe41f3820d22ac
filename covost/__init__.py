"""Preparation of CoVoST 2: directions, splits, audio stores, manifests, sample corpus."""
