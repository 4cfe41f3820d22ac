"""Parameter names of the model and of fairseq's ``xm_transformer``, as one table of prefixes; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

PREFIXES: tuple[tuple[str, str], ...] = (
    # ours            fairseq
    ("encoder.", "encoder.w2v_encoder.w2v_model."),
    ("length_adaptor.proj.", "encoder.w2v_encoder.proj."),
    ("length_adaptor.proj_ln.", "encoder.w2v_proj_ln."),
    ("length_adaptor.", "encoder.adaptor."),
    ("decoder.", "decoder."),
    # Everything else is a head, which has the encoder's states in common with it.
    ("", "encoder."),
)
"""The first prefix that fits counts, in either direction."""

WITHOUT_COUNTERPART = ("decoder.output_projection.weight", "decoder.version", "decoder.embed_positions._float_tensor")
"""Names of fairseq that our model has no use for: the projection is tied to the embeddings, the others are notes."""


def fairseq_name(name: str) -> str:
    """Return fairseq's name of our parameter ``name``; a name that no prefix fits stays as it is."""
    return next((theirs + name[len(ours) :] for ours, theirs in PREFIXES if name.startswith(ours)), name)


def our_name(name: str) -> str:
    """Return our name of fairseq's parameter ``name``; a name that no prefix fits stays as it is."""
    return next((ours + name[len(theirs) :] for ours, theirs in PREFIXES if name.startswith(theirs)), name)


def to_fairseq(state: Mapping[str, Value]) -> dict[str, Value]:
    """Rename a state of :class:`SpeechTranslator` to fairseq's names; values are passed on as they are."""
    return {fairseq_name(name): value for name, value in state.items()}


def from_fairseq(state: Mapping[str, Value]) -> dict[str, Value]:
    """Rename fairseq's names to those of :class:`SpeechTranslator`; values are passed on as they are.

    Names without a counterpart in our model are left out.
    """
    return {our_name(name): value for name, value in state.items() if name not in WITHOUT_COUNTERPART}
