"""Any corpus to a prepared tree: stores of audio, manifests, vocabularies, index, report."""
