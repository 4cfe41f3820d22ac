"""Which language, emotion, accent, speaker …: what a head that classifies says of recordings of any length.

A recording up to :data:`WINDOW_S` long is heard in one piece. Of a longer one, or where a number of windows is asked for,
windows of that length, evenly spaced from its beginning to its end, are heard one by one, and the mean of their scores
counts, before they become probabilities (XLS-R on VoxLingua107 takes the mean of ten crops of 10 s). A window in which
nobody can be heard does not count. The whole recording is brought to zero mean and unit variance, as in fairseq.

Legend: N windows, T samples, S frames, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from st.audio.audible import unheard
from st.audio.reading import SAMPLE_RATE, open_audio
from st.checkpoints.bundle import ModelBundle
from st.errors import AudioError, CheckpointError, ConfigError, UsageError
from st.inference.audio_input import AudioLike, Waveform, audio_source
from st.inference.long.windows import BATCH_SECONDS, Wave, cut, measure
from st.inference.precision import autocast, choose_device, choose_dtype, prepare
from st.modules.classification_heads import probabilities

WINDOW_S = 30.0
"""Longest stretch that is heard in one piece, unless options say otherwise."""
_LEAST_WINDOW_S, _MOST_WINDOWS = 0.1, 100_000


@dataclass(kw_only=True, slots=True, frozen=True)
class IdentifyOptions:
    """How to listen."""

    top: int | None = None
    """Labels to return, the best ones; None for all."""
    window_s: float = WINDOW_S
    """Longest stretch that is heard in one piece, in seconds."""
    windows: int | None = None
    """Windows of a recording that is longer than one, evenly spaced; None for as many as cover it."""
    head: str | None = None
    """Name of the head that classifies; None where the model has one alone."""
    keep_all: bool = False
    """Whether to classify recordings in which nobody can be heard, too."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        checks = (
            ("top", self.top is None or self.top >= 1, "at least 1"),
            ("window_s", _LEAST_WINDOW_S <= self.window_s < math.inf, f"at least {_LEAST_WINDOW_S} seconds"),
            ("windows", self.windows is None or 1 <= self.windows <= _MOST_WINDOWS, f"1 to {_MOST_WINDOWS:,}"),
        )
        for name, fits, expected in checks:
            if not fits:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected {expected}")


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """A label, and how probable the model takes it to be."""

    label: str
    score: float
    """A probability; with models of measurements, such as arousal, what was measured."""


@dataclass(frozen=True, slots=True)
class Identified:
    """What a model says of one recording."""

    labels: tuple[ScoredLabel, ...]
    """The best first, but in the model's order where scores are measurements; none if there is a ``reason``."""
    duration_s: float
    windows: int
    """How many windows were heard."""
    reason: str | None = None
    """Why there is no label, one of :data:`st.inference.results.decoded.REASONS`; None otherwise."""


class Identifier:
    """A model with a head that classifies."""

    def __init__(
        self, bundle: ModelBundle, options: IdentifyOptions | None = None, *, dtype: torch.dtype = torch.float32
    ) -> None:
        """Take a model that :func:`st.load` opened.

        Raises:
            CheckpointError: If it has no head that classifies.
            UsageError: If it has several and the options name none, or another.
        """
        self.model, self.options, self.dtype = bundle.model, options or IdentifyOptions(), dtype
        self.head = choose_head(bundle, self.options.head)
        self.labels: list[str] = list(bundle.labels[self.head].symbols)
        self._module = bundle.model.get_submodule(self.head)
        self._by_frames = bundle.model.config.heads[self.head].kind == "frame"
        self._standardize = bundle.config.standardize_audio

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def __call__(self, audio: AudioLike, *, sample_rate: int = SAMPLE_RATE, name: str | None = None) -> Identified:
        """Classify one recording, of any length: a file is read window by window.

        Args:
            audio: As for :meth:`st.Translator.translate`.
            sample_rate: Samples per second of an array; files know their own.
            name: What messages call it.

        Raises:
            AudioError: If it cannot be decoded.
            ManifestError: If it is a slice of a store that is not there.
            TypeError: If ``audio`` is nothing of the kind.
        """
        source, name = audio_source(audio, sample_rate=sample_rate, name=name)
        wave = self._measured(source)
        if wave.num_samples < self.model.encoder.feature_extractor.receptive_field:
            return Identified((), wave.duration_s, 0, "too_short" if wave.num_samples else "empty_audio")
        spans = plan_spans(wave.num_samples, round(self.options.window_s * SAMPLE_RATE), self.options.windows)
        pieces = _pieces(source, spans, name)
        total, heard, reason = torch.zeros(len(self.labels)), 0, None
        batch_size = max(1, int(BATCH_SECONDS * SAMPLE_RATE / (spans[0][1] - spans[0][0])))
        while batch := list(islice(pieces, batch_size)):
            found = [None if self.options.keep_all else unheard(piece) for piece in batch]
            reason = next(filter(None, found), reason)
            audible = [piece for piece, silence in zip(batch, found, strict=True) if silence is None]
            if audible:
                total += self._scores([self._standard(piece, wave) for piece in audible]).sum(0)
                heard += len(audible)
        if not heard:
            return Identified((), wave.duration_s, 0, reason)
        return Identified(self._ranked(total / heard), wave.duration_s, heard)

    def _measured(self, source: str | Path | bytes | Waveform) -> Wave:
        epsilon = float(self.model.config.encoder.wave_epsilon)
        if isinstance(source, np.ndarray):
            return _measure_samples(source, epsilon)
        try:
            return measure(source, epsilon)
        except AudioError as error:
            if error.reason != "empty_audio":
                raise
            return _measure_samples(np.zeros(0, dtype=np.float32), epsilon)

    def _standard(self, piece: Waveform, wave: Wave) -> Waveform:
        if not self._standardize:
            return piece
        return np.asarray((piece - np.float32(wave.mean)) / np.float32(wave.deviation), dtype=np.float32)

    def _scores(self, waves: Sequence[Waveform]) -> Tensor:
        """Return scores ``(N, C)`` of windows of one length; of a head of frames the mean of their probabilities."""
        batch = torch.from_numpy(np.stack(waves)).to(self.device)
        lengths = torch.full((len(batch),), batch.size(1), device=self.device)
        with torch.inference_mode(), autocast(self.device, self.dtype):
            scores = self.model.head_logits(self.head, self.model.encode(batch, lengths))
        scores = probabilities(scores, str(self._module.scores)).mean(1) if self._by_frames else scores
        return scores.float().cpu()

    def _ranked(self, scores: Tensor) -> tuple[ScoredLabel, ...]:
        kind = str(self._module.scores)
        values = (scores if self._by_frames else probabilities(scores, kind)).tolist()
        labels = [ScoredLabel(label, value) for label, value in zip(self.labels, values, strict=True)]
        if kind != "none":
            labels.sort(key=lambda each: -each.score)
        return tuple(labels[: self.options.top])


def choose_head(bundle: ModelBundle, name: str | None = None) -> str:
    """Return the name of the head that classifies.

    Raises:
        CheckpointError: If the model has none.
        UsageError: If it has several and ``name`` is None, or none of that name.
    """
    names = bundle.model.config.classifying_heads
    if not names:
        has = " and ".join(("decoder",) * ("decoder" in bundle.model.config.parts) + tuple(bundle.model.config.heads))
        raise CheckpointError(
            f"{bundle.source}: has no head that classifies, only {has or 'an encoder'}; st transcribe and st translate use those"
        )
    if (name is None and len(names) > 1) or (name is not None and name not in names):
        found = "" if name is None else f" {name!r}; it has"
        raise UsageError(f"{bundle.source}: name one of its heads by `head`{found}: {', '.join(names)}")
    return name or names[0]


def load_identifier(
    checkpoint: Path | str,
    *,
    data_dir: Path | str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    options: IdentifyOptions | None = None,
) -> Identifier:
    """Load a model that classifies recordings.

    Args:
        checkpoint: Anything that :func:`st.load` opens and that has such a head.
        data_dir: Prepared tree to take the labels from; None for those in the checkpoint.
        device: ``cpu``, ``cuda``, ``cuda:1`` …, or ``auto``: the GPU if there is one.
        dtype: ``float32``, ``bfloat16`` or ``float16``; ``int8`` on a CPU.
        options: How to listen.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or has no such head.
        UsageError: If it has several and none is named, or there is no such device or number type.
    """
    from st.checkpoints.loading import load

    place = choose_device(device)
    number_type = choose_dtype(dtype, place)
    wanted = torch.int8 if number_type == torch.int8 else None
    bundle = load(checkpoint, data_dir=data_dir, device=place, dtype=wanted)
    return Identifier(bundle, options, dtype=prepare(bundle.model, number_type))


def plan_spans(num_samples: int, window: int, windows: int | None) -> list[tuple[int, int]]:
    """Return where windows begin and end, all of one length, evenly spaced from the beginning of a recording to its end.

    Args:
        num_samples: Of the recording (T), at least 1.
        window: Samples of a window; a recording that is no longer is one.
        windows: How many; None for as many as leave no sample out.
    """
    if num_samples <= window:
        return [(0, num_samples)]
    count = windows or -(-num_samples // window)
    room = num_samples - window
    starts = [room * number // (count - 1) for number in range(count)] if count > 1 else [room // 2]
    return [(start, start + window) for start in starts]


def _measure_samples(samples: Waveform, epsilon: float) -> Wave:
    if not len(samples):
        return Wave(0, 0.0, 1.0, truncated=False)
    deviation = math.sqrt(float(samples.var(dtype=np.float64)) + epsilon)
    return Wave(len(samples), float(samples.mean(dtype=np.float64)), deviation, truncated=False)


def _pieces(source: str | Path | bytes | Waveform, spans: Sequence[tuple[int, int]], name: str) -> Iterator[Waveform]:
    """Yield the samples of each span."""
    if isinstance(source, np.ndarray):
        yield from (source[start:stop] for start, stop in spans)
        return
    with open_audio(source) as stream:
        yield from cut(stream.blocks(), spans, name)
