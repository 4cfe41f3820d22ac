"""Whether a batch of waveforms can be decoded: as many as what is given beside them, of finite samples, long enough, heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from st.audio.audible import unheard
from st.errors import AudioError
from st.inference.audio_input import Waveform


def require_as_many(
    waveforms: Sequence[Waveform], given: Sequence[object], what: str = "lists of target languages"
) -> None:
    """Raise ValueError unless there are as many of ``what`` as recordings."""
    if len(waveforms) != len(given):
        raise ValueError(f"found {len(waveforms)} recordings and {len(given)} {what}; expected as many")


def require_finite(number: int, waveform: Waveform) -> None:
    """Raise AudioError if a sample of utterance ``number`` of a batch is NaN or infinite."""
    if not np.isfinite(waveform).all():
        raise AudioError(f"utterance {number} of the batch holds NaN or infinite samples", reason="non_finite")


def why_unusable(waveform: Waveform, min_samples: int, *, keep_all: bool) -> str | None:
    """Return why there is no text to expect of a recording; None if it is decoded.

    Args:
        waveform: Mono samples at 16 kHz, ``(T,)``.
        min_samples: What the model needs for one frame.
        keep_all: Whether recordings in which nobody can be heard are decoded too.
    """
    if len(waveform) < min_samples:
        return "too_short" if len(waveform) else "empty_audio"
    return None if keep_all else unheard(waveform)
