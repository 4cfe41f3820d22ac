"""What an evaluation needs from a model: waveforms in, transcripts and translations out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]


class Decoded(Protocol):
    """What the model made of one utterance."""

    @property
    def transcript(self) -> str | None:
        """Return what was said, or None if the model does not transcribe."""

    @property
    def translations(self) -> Mapping[str, str]:
        """Return the translation by target language (its code)."""


class Decoder(Protocol):
    """A loaded model with its decoding options; every utterance is encoded once for all its targets."""

    def decode_batch(
        self, waveforms: Sequence[Waveform], target_languages: Sequence[Sequence[str]], spoken: Sequence[str]
    ) -> Sequence[Decoded]:
        """Decode a batch.

        Args:
            waveforms: Mono samples at 16 kHz, one array of shape ``(T,)`` per utterance, float32 in [-1, 1].
            target_languages: For each utterance the codes of languages to translate it into.
            spoken: For each utterance the code of what is said.

        Returns:
            One result per utterance, in the order given, with a translation for each of its targets.
        """
