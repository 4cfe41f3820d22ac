"""Recordings of any length, decoded piece by piece: memory does not grow with them, and results come as they are ready.

A recording is read twice. The first pass finds its length, its level and where somebody may speak
(:mod:`st.segmentation`); the second decodes. There are two ways:

- Transcripts by the CTC head are made of overlapping windows that are joined in the logits
  (:mod:`st.inference.long.windows`), and so do not depend on where a recording is cut.
- Translations, and transcripts that the decoder writes, are made of segments, each of which is encoded once for all
  targets and its own transcript. Segments of all recordings are gathered in pools and decoded sorted by length.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from st.audio.reading import SAMPLE_RATE, open_audio, source_name
from st.data.clips import Clips
from st.errors import AudioError, ManifestError, StError
from st.inference.audio_input import Waveform
from st.inference.long.journal import Journal, Record
from st.inference.long.pieces import Piece, Skipped, heard, seconds, skipped
from st.inference.long.transcripts import transcribe_frames
from st.inference.long.types import Begun, Event, Finished, LongModel, LongOptions, LongSource
from st.inference.long.windows import WINDOW_S, Wave, cut, measure
from st.inference.results.evidence import is_invented
from st.inference.transcription.transcriber import Transcriber
from st.segmentation.clips import cut_options
from st.segmentation.cutting import CutOptions
from st.segmentation.detectors import make_detector
from st.segmentation.levels import LevelDetector, SpeechMeter
from st.segmentation.plan import Plan, plan_all, plan_given, plan_speech
from st.segmentation.spans import Gap, Span

FIRST_POOL_S, POOL_S = 60.0, 600.0
"""Audio that is gathered before it is decoded: little at first, so that results appear soon, then twice as much each time
up to so much, so that batches are of one length."""

SHORT_CLIPS_S = WINDOW_S / 2
"""A model that learned from shorter clips transcribes segments, too, which are cut like those; windows are not."""

_Waiting: TypeAlias = tuple[Span, Waveform, float | None]
"""A segment, its samples, and the mean probability of speech in it."""


class LongDecoder:
    """Decodes recordings of any length; may be used from several threads."""

    def __init__(
        self,
        model: LongModel,
        targets: Sequence[str],
        options: LongOptions | None = None,
        *,
        journal: Journal | None = None,
    ) -> None:
        """Take a model.

        Args:
            model: It.
            targets: Codes of languages to translate into; none to transcribe only.
            options: How to cut.
            journal: What was decoded before an interruption, and where to write what is decoded now.
        """
        self._model, self._targets, self._options = model, list(targets), options or LongOptions()
        self._journal = journal or Journal()
        transcriber = model.transcriber
        self._language = None if transcriber is None else transcriber.options.language
        windows = not targets and transcriber is not None and transcriber.by_frames
        self._by_frames = transcriber if windows and not 0 < model.clips.longest_s < SHORT_CLIPS_S else None

    def decode(self, sources: Sequence[LongSource], *, unit: str = "") -> Iterator[tuple[int, Event]]:
        """Decode recordings in the order given.

        Args:
            sources: They.
            unit: What their names in the journal begin with, if it is for other recordings, too.

        Yields:
            The number of a recording, from 0, and what is found out about it: :class:`Begun`, its pieces in the order of
            time, :class:`Finished`; only the last if it cannot be read. Between those of a recording there are no others'.

        Raises:
            StError: If the model itself fails.
        """
        return joined_skips(self._all(sources, unit))

    def _all(self, sources: Sequence[LongSource], unit: str) -> Iterator[tuple[int, Event]]:
        waiting: list[tuple[int, Event | _Waiting]] = []
        pooled, pool = 0, 0
        for number, source in enumerate(sources):
            for event in self._events(f"{unit}file {number}", source):
                waiting.append((number, event))
                pooled += len(event[1]) if isinstance(event, tuple) else 0
                if pooled >= min(POOL_S, FIRST_POOL_S * 2**pool) * SAMPLE_RATE or not pooled:
                    yield from self._decoded(waiting, f"{unit}pool {pool}")
                    pool += bool(pooled)
                    waiting, pooled = [], 0
        yield from self._decoded(waiting, f"{unit}pool {pool}")

    def _decoded(self, waiting: Sequence[tuple[int, Event | _Waiting]], unit: str) -> Iterator[tuple[int, Event]]:
        """Yield what waits, its audio decoded."""
        waves = [event[1] for _, event in waiting if isinstance(event, tuple)]
        found = self._journal.get(unit) if waves else []
        if found is None or len(found) != len(waves):
            decoded = self._model.decode(waves, [self._targets] * len(waves), times=True)
            spans = [event[0] for _, event in waiting if isinstance(event, tuple)]
            found = [Record(item, span.start, span.end) for span, item in zip(spans, decoded, strict=True)]
            self._journal.put(unit, found)
        results = iter(found)
        for number, event in waiting:
            if isinstance(event, tuple):
                yield number, self._judged(event[0], next(results), event[2])
            else:
                yield number, event

    def _judged(self, span: Span, record: Record, speech: float | None) -> Piece:
        """Return what was decoded, left out if it was made up; ``speech`` as for :func:`.signs` of the evidence."""
        decoded = record.decoded
        piece = heard(span, decoded, self._language, continues=record.continues)
        duration_s = (span.end - span.start) / SAMPLE_RATE
        if self._model.keep_all or isinstance(piece, Skipped) or not is_invented(decoded, duration_s, speech):
            return piece
        return Skipped(piece.segment.start, piece.segment.end, "invented", decoded)

    def _events(self, unit: str, source: LongSource) -> Iterator[Event | _Waiting]:
        """Yield what becomes of a recording; audio that is to be decoded as a span and its samples."""
        try:
            wave, plan = self._survey(source)
        except AudioError as error:
            if error.reason != "empty_audio":
                yield Finished(error)
                return
            wave, plan = Wave(0, 0.0, 1.0, False), None
        except (ManifestError, OSError) as error:
            yield Finished(error if isinstance(error, StError) else _unreadable(source, error))
            return
        yield Begun(seconds(wave.num_samples), wave.truncated)
        try:
            if plan is not None:
                yield from self._pieces(unit, source, wave, plan)
        except (AudioError, ManifestError, OSError) as error:
            yield Finished(error if isinstance(error, StError) else _unreadable(source, error))
            return
        yield Finished()

    def _survey(self, source: LongSource) -> tuple[Wave, Plan]:
        """Go through a recording once."""
        chosen = source.segments
        finds = self._options.vad and chosen is None
        detector = make_detector() if finds else LevelDetector()
        clips = self._model.clips if chosen is None else Clips()
        cut = self._cut_options(clips, knows_voices=detector.knows_voices)
        meter = SpeechMeter(detector, steady=finds and not self._model.keep_all)
        wave = measure(source.audio, self._model.model.config.encoder.wave_epsilon, meter.push)
        levels, probabilities = meter.finish()
        if chosen is not None:
            return wave, plan_given(wave.num_samples, levels, probabilities, cut, chosen)
        plan = plan_speech if finds else plan_all
        found = plan(wave.num_samples, levels, probabilities, cut)
        return wave, dataclasses.replace(found, speech=probabilities) if detector.knows_voices else found

    def _cut_options(self, clips: Clips, *, knows_voices: bool = False) -> CutOptions:
        options = self._options
        cut = options.cut or cut_options(clips, knows_voices=knows_voices)
        return cut if options.longest_s is None else dataclasses.replace(cut, longest_s=options.longest_s)

    def _pieces(self, unit: str, source: LongSource, wave: Wave, plan: Plan) -> Iterator[Event | _Waiting]:
        """Yield what is decoded and what is left out, in order; of what cannot be read a piece, too, before the error."""
        by_frames = self._by_frames if source.segments is None else None
        found: Iterator[tuple[Span, Event | _Waiting]]
        if by_frames is None:
            spans, found = plan.segments, _waves(source, plan)
        else:
            spans, found = plan.stretches, self._of_frames(by_frames, unit, source, wave, plan)
        gaps, reached = deque(plan.gaps(spans)), 0
        try:
            for span, event in found:
                while gaps and gaps[0].start < span.start:
                    yield skipped(gaps.popleft())
                yield event
                reached = max(reached, span.end)
        except (AudioError, ManifestError, OSError):
            while gaps and gaps[0].start <= reached:
                reached = max(reached, gaps[0].end)
                yield skipped(gaps.popleft())
            if reached < plan.num_samples:
                yield skipped(Gap(reached, plan.num_samples, "unreadable"))
            raise
        yield from map(skipped, gaps)

    def _of_frames(
        self, transcriber: Transcriber, unit: str, source: LongSource, wave: Wave, plan: Plan
    ) -> Iterator[tuple[Span, Piece]]:
        """Yield pieces of what the CTC head hears in windows that overlap."""
        kept = self._journal.get(unit)
        longest_s = self._cut_options(self._model.clips).longest_s
        records = (
            transcribe_frames(self._model, transcriber, source, wave, plan, longest_s) if kept is None else iter(kept)
        )
        done = []
        for record in records:
            done.append(record)
            span = Span(record.start, record.end)
            yield span, self._judged(span, record, plan.mean_speech(span))
        if kept is None:
            self._journal.put(unit, done)


def _waves(source: LongSource, plan: Plan) -> Iterator[tuple[Span, _Waiting]]:
    """Yield the segments with their samples."""
    if not plan.segments:
        return
    with open_audio(source.audio) as stream:
        ends = [(span.start, span.end) for span in plan.segments]
        waves = cut(stream.blocks(), ends, source_name(source.audio))
        for span, wave in zip(plan.segments, waves, strict=True):
            yield span, (span, wave.copy(), plan.mean_speech(span))


def joined_skips(events: Iterable[tuple[int, Event]]) -> Iterator[tuple[int, Event]]:
    """Join pieces that are left out for the same reason, one behind the other."""
    held: tuple[int, Skipped] | None = None
    for number, event in events:
        if held and isinstance(event, Skipped) and (event.reason, event.start) == (held[1].reason, held[1].end):
            held = number, dataclasses.replace(held[1], end=event.end)
            continue
        if held:
            yield held
        held = (number, event) if isinstance(event, Skipped) else None
        if held is None:
            yield number, event


def _unreadable(source: LongSource, error: OSError) -> AudioError:
    return AudioError(f"{source.name}: {error.strerror or error}", reason="unreadable")
