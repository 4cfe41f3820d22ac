"""Decode a list of recordings of any length, the bad ones set aside.

Short ones are decoded several at a time, each in one piece; long ones piece by piece, see
:mod:`st.inference.long.decoding`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from st.audio.reading import SAMPLE_RATE
from st.errors import AudioError, ManifestError, StError
from st.inference.audio_input import MAX_SECONDS, AudioLike, Waveform, contents_of, load_waveform
from st.inference.long.decoding import LongDecoder
from st.inference.long.journal import Journal, Record
from st.inference.long.pieces import Heard, Piece
from st.inference.long.results import join_pieces
from st.inference.long.types import Begun, Finished, LongOptions, LongSource
from st.inference.results.decoded import DecodedUtterance
from st.inference.translator import Translator
from st.segmentation.clips import single_s
from st.segmentation.spans import Span

STDIN = "standard input"

CHUNK = 16
"""Recordings read before they are decoded together, sorted by length."""


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """What the model made of one recording."""

    name: str
    decoded: DecodedUtterance
    duration_s: float = 0.0
    pieces: tuple[Piece, ...] | None = None
    """What a long recording was taken apart into; None if it was decoded in one piece."""


@dataclass(frozen=True, slots=True)
class RecordingPiece:
    """A piece of a long recording, as soon as it is there; the result follows."""

    name: str
    piece: Piece


@dataclass(frozen=True, slots=True)
class LongRecordingBegun:
    """A long recording is decoded from now on."""

    name: str
    duration_s: float
    truncated: bool


@dataclass(frozen=True, slots=True)
class SkippedRecording:
    """A recording that cannot be used, and why."""

    name: str
    error: StError
    partly: bool = False
    """Whether there is a result all the same, of what comes before."""


Outcome: TypeAlias = RecordingResult | SkippedRecording | RecordingPiece | LongRecordingBegun


@dataclass(kw_only=True, slots=True, frozen=True)
class LongWork:
    """How the long ones among some recordings are decoded."""

    options: LongOptions | None = None
    journal: Journal | None = None
    """Keeps what is decoded, of short ones too if they are many."""
    segments: Callable[[str], Sequence[Span] | None] | None = None
    """Returns the segments that somebody brought for a recording of this name; None for none."""
    all_long: bool = False
    """Whether short ones are taken apart, too."""
    times: bool = False
    """Whether results tell when each word was said."""


def decode_recordings(
    translator: Translator,
    sources: Sequence[tuple[str, AudioLike]],
    targets: Sequence[str],
    work: LongWork | None = None,
) -> Iterator[Outcome]:
    """Decode recordings in the order given.

    Args:
        translator: The model.
        sources: Name and audio of each recording.
        targets: Codes of target languages; none to transcribe only.
        work: How those are decoded that are longer than :data:`st.inference.audio_input.MAX_SECONDS`, or much longer than the
            clips that the model learned from.

    Yields:
        One result per recording; one that cannot be used does not stop the others. That of a long one comes behind its
        pieces, and behind what is wrong if it is cut off.

    Raises:
        StError: If the model itself fails.
    """
    work = work or LongWork()
    journal = work.journal or Journal()
    decoder = LongDecoder(translator, targets, work.options, journal=journal)
    several, single = len(sources) > CHUNK, round(single_s(translator.clips, MAX_SECONDS) * SAMPLE_RATE)
    for start in range(0, len(sources), CHUNK):
        read = [(name, _read(name, source, work, single)) for name, source in sources[start : start + CHUNK]]
        waveforms = [found for _, found in read if not isinstance(found, (StError, LongSource))]
        results = iter(_short(translator, waveforms, targets, f"short {start}", journal if several else Journal()))
        events = decoder.decode([found for _, found in read if isinstance(found, LongSource)], unit=f"{start}: ")
        for name, found in read:
            if isinstance(found, StError):
                yield SkippedRecording(name, found)
            elif isinstance(found, LongSource):
                yield from _long(name, (event for _, event in events), targets, work.times)
            else:
                yield RecordingResult(name, next(results), len(found) / SAMPLE_RATE)


def _short(
    translator: Translator, waveforms: Sequence[Waveform], targets: Sequence[str], unit: str, journal: Journal
) -> Sequence[DecodedUtterance]:
    """Decode what is short, unless that was done before an interruption."""
    kept = journal.get(unit)
    if kept is not None and len(kept) == len(waveforms):
        return [record.decoded for record in kept]
    decoded = translator.decode(waveforms, [targets] * len(waveforms))
    journal.put(unit, [Record(found, 0, len(wave)) for found, wave in zip(decoded, waveforms, strict=True)])
    return decoded


def _long(name: str, events: Iterator[object], targets: Sequence[str], times: bool) -> Iterator[Outcome]:
    """Yield the pieces of the next recording, and its result."""
    pieces: list[Piece] = []
    duration_s = 0.0
    for event in events:
        if isinstance(event, Begun):
            duration_s = event.duration_s
            yield LongRecordingBegun(name, event.duration_s, event.truncated)
        elif isinstance(event, Finished):
            usable = event.error is None or any(isinstance(piece, Heard) for piece in pieces)
            if event.error is not None:
                yield SkippedRecording(name, event.error, partly=usable)
            if usable:
                yield RecordingResult(name, join_pieces(pieces, targets, times=times), duration_s, tuple(pieces))
            return
        else:
            pieces.append(event)  # type: ignore[arg-type]
            yield RecordingPiece(name, pieces[-1])


def _read(name: str, source: AudioLike, work: LongWork, single: int) -> Waveform | LongSource | StError:
    """Return a recording of at most ``single`` samples, what a longer one is read from, or why it cannot be read."""
    called = None
    try:
        if hasattr(source, "read"):  # An open file is read when its turn comes.
            source, called = contents_of(source, STDIN)
        segments = None if work.segments is None else work.segments(name)
        if (work.all_long or segments is not None) and isinstance(source, (str, Path, bytes)):
            return LongSource(called or name, source, segments)
        waveform = load_waveform(source, name=called)
        if len(waveform) > single and isinstance(source, (str, Path, bytes)):
            return LongSource(called or name, source)
        return waveform
    except (AudioError, ManifestError) as error:
        if isinstance(error, AudioError) and error.reason == "too_long" and isinstance(source, (str, Path, bytes)):
            return LongSource(called or name, source, segments)
        return error
    except OSError as error:
        return AudioError(f"{source!s}: {error.strerror or error}", reason="unreadable")
