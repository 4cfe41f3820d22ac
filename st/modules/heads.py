"""Heads: what is read off the encoder's frames beside the translation. A kind of head is one row of :data:`HEADS`.

Legend: N utterances, S frames, M model dim, L labels of a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from st.data.config import DataConfig
from st.doors.shown import shown
from st.errors import ConfigError
from st.modules.ctc_head import CtcHead, ctc_loss, required_frames
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels


@dataclass(frozen=True, kw_only=True)
class HeadKind:
    """What differs from one kind of head to another."""

    module: Callable[[int, int], nn.Module]
    """Makes the head from the encoder's width and the number of outputs. Called with frames ``(N, S, M)`` and their
    lengths ``(N,)``, it gives logits whose first dimension is N."""
    loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    """From logits, lengths of frames ``(N,)``, targets ``(N, L)`` and their lengths ``(N,)``: the losses ``(N,)``, summed
    over labels. Those of empty targets are left out afterwards, but have to be finite."""
    load_labels: Callable[[Path], Labels]
    """Reads a vocabulary file; a ConfigError if it is missing or malformed."""
    required_frames: Callable[[Tensor, Tensor], Tensor] | None = None
    """From targets and their lengths: the fewest frames that they fit into ``(N,)``. None where any number will do."""
    spells: bool = False
    """Whether logits are ``(N, S, C)``, and the best of each frame are the letters of a text, as with CTC: its labels are
    a :class:`CtcVocabulary`, and validation counts errors of words and characters."""


HEADS: dict[str, HeadKind] = {
    "ctc": HeadKind(
        module=CtcHead,
        loss=ctc_loss,
        load_labels=CtcVocabulary.load,
        required_frames=required_frames,
        spells=True,
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


def load_labels(folder: Path, data: DataConfig) -> dict[str, Labels]:
    """Read the vocabularies of all heads of a prepared tree, by name of the head.

    Raises:
        ConfigError: If a head is of no known kind, or a vocabulary is missing or malformed.
    """
    return {
        name: head_kind(head.kind).load_labels(folder / head.vocab_filename) for name, head in data.head_data.items()
    }
