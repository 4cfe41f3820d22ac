"""Beam search and sampling over the text decoder; decoding and alignment of the CTC head."""

from st.decoding.alignment import LabelSpan, WordSpan, align, group_words
from st.decoding.beam_search import beam_search
from st.decoding.ctc import ctc_greedy
from st.decoding.ctc_prefix import CtcHypothesis, PrefixOptions, ctc_prefix_search
from st.decoding.joint import joint_scorer
from st.decoding.options import BeamOptions, Hypothesis
from st.decoding.rescoring import score_targets
from st.decoding.sampling import SamplingOptions, sample

__all__ = [
    "BeamOptions",
    "CtcHypothesis",
    "Hypothesis",
    "LabelSpan",
    "PrefixOptions",
    "SamplingOptions",
    "WordSpan",
    "align",
    "beam_search",
    "ctc_greedy",
    "ctc_prefix_search",
    "group_words",
    "joint_scorer",
    "sample",
    "score_targets",
]
