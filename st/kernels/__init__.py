"""What is computed in another way than torch's general one, where that is faster; each with plain torch beside it."""
