"""Utterances: each recording of a manifest once, with all its translations."""

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
    """Each (number of the target in the subset, language, text)."""
    id: str = ""
    """The manifest's name of it."""
    speaker: str = ""


def group_rows(rows: Sequence[ManifestRow]) -> list[Utterance]:
    """Join manifest rows that share a recording into utterances, in order of first appearance.

    Raises:
        ManifestError: If one has more than :data:`MAX_TARGETS`.
    """
    by_audio: dict[str, Utterance] = {}
    for number, row in enumerate(rows):
        utterance = by_audio.get(row.audio)
        if utterance is None:
            utterance = by_audio[row.audio] = Utterance(
                row.audio, row.n_frames, row.src_text, row.src_lang, [], row.id, row.speaker
            )
        utterance.targets.append((number, row.tgt_lang, row.tgt_text))
        if len(utterance.targets) > MAX_TARGETS:
            raise ManifestError(f"{row.audio}: has more than {MAX_TARGETS} targets; expected one per language")
    return list(by_audio.values())
