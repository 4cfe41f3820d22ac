"""Data sets, dictionaries and iterators behind fairseq's interface."""
