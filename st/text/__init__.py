"""Languages, vocabularies and what is done to text."""
