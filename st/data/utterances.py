"""Utterances: each recording of a manifest once, with its transcript and all its translations, or without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from st.data.manifest import ManifestRow
from st.errors import ManifestError

MAX_TARGETS = 62
"""The targets of an item of an epoch are the bits of one number."""


@dataclass(slots=True)
class Utterance:
    """One recording with its transcript and its translations."""

    audio: str
    num_samples: int
    src_text: str
    src_lang: str
    targets: list[tuple[int, str, str]]
    """Each (number of the target in the subset, language, text); none for a recording without a translation."""
    id: str = ""
    """The manifest's name of it."""
    speaker: str = ""
    more: tuple[str, ...] = ()
    """Further texts, for heads: those of :attr:`ManifestRow.more`."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of all heads, the transcript first."""
        return (self.src_text, *self.more)


def group_rows(rows: Sequence[ManifestRow], *, empty_targets: bool = True) -> list[Utterance]:
    """Join manifest rows that share a recording into utterances, in order of first appearance.

    A row without a ``tgt_lang`` is no target. Of each further text the first that is not empty counts.

    Args:
        rows: Of all manifests of a subset.
        empty_targets: Whether a row with a ``tgt_lang``, but an empty ``tgt_text``, is a target. An evaluation scores it;
            a training would teach to say nothing.

    Raises:
        ManifestError: If one has more than :data:`MAX_TARGETS`.
    """
    by_audio: dict[str, Utterance] = {}
    for number, row in enumerate(rows):
        utterance = by_audio.get(row.audio)
        if utterance is None:
            utterance = by_audio[row.audio] = Utterance(
                row.audio, row.n_frames, row.src_text, row.src_lang, [], row.id, row.speaker, row.more
            )
        elif row.more != utterance.more:
            utterance.more = tuple(known or new for known, new in zip(utterance.more, row.more, strict=True))
        if row.tgt_lang and (row.tgt_text or empty_targets):
            utterance.targets.append((number, row.tgt_lang, row.tgt_text))
        if len(utterance.targets) > MAX_TARGETS:
            raise ManifestError(f"{row.audio}: has more than {MAX_TARGETS} targets; expected one per language")
    return list(by_audio.values())
