"""What goes into decoding long recordings, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from st.data.clips import Clips
from st.errors import StError
from st.inference.audio_input import Waveform
from st.inference.long.pieces import Piece
from st.inference.long.windows import AudioSource, FrameModel
from st.inference.results.decoded import DecodedUtterance
from st.inference.transcription.transcriber import Transcriber
from st.segmentation.cutting import CutOptions
from st.segmentation.spans import Span


class LongModel(FrameModel, Protocol):
    """What is needed of a :class:`st.inference.translator.Translator`."""

    transcriber: Transcriber | None
    keep_all: bool
    clips: Clips

    def decode(
        self,
        waveforms: Sequence[Waveform],
        target_languages: Sequence[Sequence[str]],
        *,
        times: bool | None = None,
    ) -> list[DecodedUtterance]:
        """See :meth:`st.inference.translator.Translator.decode`."""

    def check_languages(self, codes: Sequence[str]) -> None:
        """See :meth:`st.inference.translator.Translator.check_languages`."""

    def check_transcribes(self) -> None:
        """See :meth:`st.inference.translator.Translator.check_transcribes`."""


@dataclass(kw_only=True, slots=True, frozen=True)
class LongOptions:
    """How long recordings are taken apart."""

    cut: CutOptions | None = None
    """How long segments are, and which pauses count; None for segments like the clips that the model learned from, see
    :mod:`st.segmentation.clips`, and of 20 s at most where somebody brought them."""
    longest_s: float | None = None
    """The longest segment in seconds; None for that of ``cut``."""
    vad: bool = True
    """Whether stretches in which nobody speaks are found before anything is decoded; without, all of it is decoded."""


@dataclass(frozen=True, slots=True)
class LongSource:
    """A recording to decode."""

    name: str
    audio: AudioSource
    segments: Sequence[Span] | None = None
    """Those to decode, where somebody brought them."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The recording could be read to its end once; its pieces follow."""

    duration_s: float
    truncated: bool
    """Whether the file ends before its own header says."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing more comes of the recording."""

    error: StError | None = None
    """Why it, or the rest of it, cannot be read."""


Event: TypeAlias = Begun | Piece | Finished
