"""The prepared data set: manifests, vocabularies, index, report, verification."""
