"""The CTC head over a recording of any length: overlapping windows, of which each frame is taken where it has context.

The encoder attends to all of a window and has been trained on clips. So a long recording is encoded in windows of
:data:`WINDOW_S`, with :data:`CONTEXT_S` more on both sides, whose frames are dropped. Frames are addressed from the
beginning of the recording: frame i sees the samples from ``stride * i``, in whichever window it is, and there is no drift.
The whole recording is brought to zero mean and unit variance, as a clip would be, so that silence stays silent. (Bands of a
mel spectrogram, where a model reads one, are normalised over their window.)

Legend: T samples, S frames, N windows, C columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from st.audio.reading import SAMPLE_RATE, Samples, open_audio, source_name
from st.data.dataset import pad_rows
from st.errors import AudioError
from st.inference.ensemble import ctc_logits
from st.inference.precision import autocast
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary

WINDOW_S = 20.0
"""Audio that a window keeps the frames of, at most."""
CONTEXT_S = 2.0
SINGLE_S = 30.0
"""A recording up to this long is one window."""
BATCH_SECONDS = 60.0
"""Audio that is encoded at one go."""

AudioSource: TypeAlias = str | Path | bytes
FrameRange: TypeAlias = tuple[int, int]
"""First frame, and the one after the last."""


class FrameModel(Protocol):
    """What is needed of a :class:`st.inference.translator.Translator` to have the logits of its CTC head."""

    model: SpeechTranslator
    ctc: CtcVocabulary | None
    device: torch.device
    dtype: torch.dtype
    standardize_audio: bool

    @property
    def ensemble(self) -> Sequence[FrameModel]:
        """Models that hear together with it."""


@dataclass(frozen=True, slots=True)
class Wave:
    """What one pass over a recording tells."""

    num_samples: int
    mean: float
    deviation: float
    """Square root of the variance and the epsilon of the model."""
    truncated: bool
    """Whether the file ends before its own header says."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Window:
    """Frames ``first`` to ``last - 1`` are encoded, ``start`` to ``stop - 1`` of them kept."""

    first: int
    start: int
    stop: int
    last: int


def measure(source: AudioSource, epsilon: float, watch: Callable[[Samples], object] | None = None) -> Wave:
    """Decode a recording once, for its length and its level.

    Args:
        source: The recording.
        epsilon: Added to the variance, as the model has it.
        watch: Shown each block of samples, which the next one overwrites.

    Raises:
        AudioError: As for :func:`st.audio.reading.open_audio`.
        ManifestError: Likewise.
    """
    count, total, squares = 0, 0.0, 0.0
    with open_audio(source) as stream:
        for block in stream.blocks():
            count += len(block)
            total += float(block.sum(dtype=np.float64))
            squares += float(np.square(block, dtype=np.float64).sum())
            if watch is not None:
                watch(block)
        truncated = stream.is_truncated()
    mean = total / count
    return Wave(count, mean, math.sqrt(max(0.0, squares / count - mean * mean) + epsilon), truncated)


def plan_windows(num_frames: int, single: int, kept: int, context: int, part: FrameRange | None = None) -> list[Window]:
    """Divide frames into windows of about the same length.

    Args:
        num_frames: Of the recording (S).
        single: Frames up to which what is asked for is one window.
        kept: Frames that a window keeps, at most.
        context: Frames encoded on either side of those, where there are any.
        part: Which frames are asked for; None for all.
    """
    begin, end = part or (0, num_frames)
    count = 1 if end - begin <= single else -(-(end - begin) // kept)
    seams = [begin + (end - begin) * number // count for number in range(count + 1)]
    return [
        Window(max(0, start - context), start, stop, min(num_frames, stop + context)) for start, stop in pairwise(seams)
    ]


def cut(blocks: Iterable[Samples], spans: Sequence[tuple[int, int]], name: str) -> Iterator[Samples]:
    """Yield the samples of each span, which may overlap; their beginnings rise. No more is held than a span and a block.

    Raises:
        AudioError: If the blocks end before a span does.
    """
    left = iter(blocks)
    held, offset = np.zeros(0, dtype=np.float32), 0
    for start, stop in spans:
        while offset + len(held) < stop:
            block = next(left, None)
            if block is None:
                raise AudioError(f"{name}: changed while it was read", reason="unreadable")
            past = min(len(held), max(0, start - offset))
            held, offset = np.concatenate([held[past:], block]), offset + past
        yield held[start - offset : stop - offset]


class LongEncoder:
    """The CTC head of a model over recordings of any length."""

    def __init__(self, translator: FrameModel, *, batch_seconds: float = BATCH_SECONDS) -> None:
        """Take a model that transcribes."""
        self._translator = translator
        encoder = translator.model.encoder
        self._field, self._stride = encoder.receptive_field, encoder.hop
        self._batch = max(1, int(batch_seconds / (WINDOW_S + 2 * CONTEXT_S)))

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next."""
        return self._stride / SAMPLE_RATE

    @property
    def stride(self) -> int:
        """Samples from one frame to the next."""
        return self._stride

    def num_frames(self, num_samples: int) -> int:
        """Return how many frames so many samples have."""
        return max(0, (num_samples - self._field) // self._stride + 1)

    def frames_of(self, start: int, end: int, num_samples: int) -> FrameRange:
        """Return the frames that begin in the samples ``start`` to ``end - 1`` of a recording; none is an empty range."""
        stop = min(self.num_frames(num_samples), -(-end // self._stride))
        return min(-(-start // self._stride), stop), stop

    def logits(
        self,
        source: AudioSource,
        wave: Wave,
        track: Callable[[Sequence[Window]], Iterable[Window]] = iter,
        parts: Sequence[FrameRange] | None = None,
    ) -> Iterator[Tensor]:
        """Yield the logits of the recording's frames ``(S', V)``, window by window.

        Args:
            source: The recording.
            wave: Result of :func:`measure`.
            track: Told the windows; for a progress bar.
            parts: Frames that are asked for, in order, none of them empty; None for all.

        Raises:
            AudioError: If it cannot be decoded, or is too short for a frame.
        """
        windows = self._windows(source, wave, parts)
        ends = [self._samples(window, wave.num_samples) for window in windows]
        with open_audio(source) as stream:
            pieces = cut(stream.blocks(), ends, source_name(source))
            pairs = zip(track(windows), pieces, strict=True)
            while batch := list(islice(pairs, self._batch)):
                logits = self._encode([piece for _, piece in batch], wave)
                for (window, _), row in zip(batch, logits, strict=True):
                    yield row[window.start - window.first : window.stop - window.first]

    def _windows(self, source: AudioSource, wave: Wave, parts: Sequence[FrameRange] | None) -> list[Window]:
        if wave.num_samples < self._field:
            raise AudioError(
                f"{source_name(source)}: too short for one frame of the encoder ({self._field / SAMPLE_RATE:g} s)",
                reason="too_short",
            )
        frames = self.num_frames(wave.num_samples)
        single, kept, context = (round(seconds / self.frame_s) for seconds in (SINGLE_S, WINDOW_S, CONTEXT_S))
        asked = [(0, frames)] if parts is None else parts
        return [window for part in asked for window in plan_windows(frames, single, kept, context, part)]

    def _samples(self, window: Window, num_samples: int) -> tuple[int, int]:
        """Return the samples that the frames of a window see."""
        return window.first * self._stride, min(num_samples, (window.last - 1) * self._stride + self._field)

    def _encode(self, pieces: Sequence[npt.NDArray[np.float32]], wave: Wave) -> Tensor:
        members, device = (self._translator, *self._translator.ensemble), self._translator.device
        lengths = torch.tensor([len(piece) for piece in pieces], device=device)
        even = [(piece - np.float32(wave.mean)) / np.float32(wave.deviation) for piece in pieces]
        with torch.inference_mode(), autocast(device, self._translator.dtype):
            padded = {
                flag: pad_rows(each, 0.0, torch.float32).to(device) for flag, each in ((True, even), (False, pieces))
            }
            encoded = [member.model.encode(padded[member.standardize_audio], lengths) for member in members]
            return ctc_logits(members, encoded)
