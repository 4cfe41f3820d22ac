"""Beam search over the text decoder, and decoding of the CTC head."""

from st.decoding.beam_search import beam_search
from st.decoding.ctc import ctc_greedy
from st.decoding.options import BeamOptions, Hypothesis

__all__ = ["BeamOptions", "Hypothesis", "beam_search", "ctc_greedy"]
