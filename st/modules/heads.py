"""Heads: what is read off the encoder's frames beside the translation. A kind of head is one row of :data:`HEADS`.

Legend: N utterances, S frames, M model dim, L labels of a target.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from st.data.config import DataConfig
from st.doors.shown import shown
from st.errors import ConfigError
from st.modules.classification_heads import (
    ClassOptions,
    FrameHead,
    UtteranceHead,
    UtteranceOptions,
    XVectorHead,
    XVectorOptions,
    class_loss,
)
from st.modules.ctc_head import CtcHead, ctc_loss, required_frames
from st.text.class_labels import ClassLabels
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels

ALL_LAYERS, ALL_LAYERS_BARE = -1, -2
"""As the layer that a head reads: the mean of all, whose weights are learned. Of the second the last layer stands in it
without the layer norm behind it, as transformers has had it from its version 5 on."""
MIXED = (ALL_LAYERS, ALL_LAYERS_BARE)


@dataclass(frozen=True)
class NoOptions:
    """Of a kind of head that leaves nothing open."""


@dataclass(frozen=True, kw_only=True)
class HeadKind:
    """What differs from one kind of head to another."""

    module: Callable[..., nn.Module]
    """Makes the head from the encoder's width and the number of outputs; fields of ``options`` by name. Called with frames
    ``(N, S, M)`` and their lengths ``(N,)``, it gives logits whose first dimension is N."""
    loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None
    """From logits, lengths of frames ``(N,)``, targets ``(N, L)`` and their lengths ``(N,)``: the losses ``(N,)``, summed
    over labels. Those of empty targets are left out afterwards, but have to be finite. None for a kind that is not trained."""
    load_labels: Callable[[Path], Labels]
    """Reads a vocabulary file; a ConfigError if it is missing or malformed."""
    required_frames: Callable[[Tensor, Tensor], Tensor] | None = None
    """From targets and their lengths: the fewest frames that they fit into ``(N,)``. None where any number will do."""
    spells: bool = False
    """Whether logits are ``(N, S, C)``, and the best of each frame are the letters of a text, as with CTC: its labels are
    a :class:`CtcVocabulary`, and validation counts errors of words and characters."""
    classifies: bool = False
    """Whether the outputs are classes of :class:`ClassLabels`, and the logits ``(N, C)`` or of frames ``(N, S, C)``."""
    options: type = NoOptions
    """A dataclass whose values may be given for each head; it checks them."""


HEADS: dict[str, HeadKind] = {
    "ctc": HeadKind(
        module=CtcHead,
        loss=ctc_loss,
        load_labels=CtcVocabulary.load,
        required_frames=required_frames,
        spells=True,
    ),
    "utterance": HeadKind(
        module=UtteranceHead,
        loss=class_loss,
        load_labels=ClassLabels.load,
        classifies=True,
        options=UtteranceOptions,
    ),
    "frame": HeadKind(module=FrameHead, loss=None, load_labels=ClassLabels.load, classifies=True, options=ClassOptions),
    "xvector": HeadKind(
        module=XVectorHead, loss=None, load_labels=ClassLabels.load, classifies=True, options=XVectorOptions
    ),
}


def head_kind(name: str) -> HeadKind:
    """Return a row of :data:`HEADS`.

    Raises:
        ConfigError: If there is no such kind; the message lists them.
    """
    if not isinstance(name, str) or name not in HEADS:
        raise ConfigError(f"no kind of head {shown(name)}; choose from: {', '.join(HEADS)}")
    return HEADS[name]


def head_options(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a head, checked; ``values`` are those that were given.

    Raises:
        ConfigError: If one is unknown or out of range.
    """
    try:
        return asdict(head_kind(kind).options(**values))
    except TypeError:
        known = ", ".join(field.name for field in fields(head_kind(kind).options)) or "none"
        raise ConfigError(f"options of a head of kind {kind} are {shown(dict(values))}; known are: {known}") from None


def load_labels(folder: Path, data: DataConfig, names: Collection[str] | None = None) -> dict[str, Labels]:
    """Read the vocabularies of the heads of a prepared tree, by name of the head.

    Args:
        folder: The tree.
        data: Its config.
        names: Heads to read those of; None for all.

    Raises:
        ConfigError: If a head is of no known kind, or a vocabulary is missing or malformed.
    """
    return {
        name: head_kind(head.kind).load_labels(folder / head.vocab_filename)
        for name, head in data.head_data.items()
        if names is None or name in names
    }
