"""Scores: BLEU, chrF, TER, error rates, latency, significance."""
