"""In Python: recordings of any length as segments, one after the other, as faster-whisper yields them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import soundfile

from st.audio.reading import SAMPLE_RATE, source_name
from st.errors import AudioError, StError
from st.inference.audio_input import AudioLike, Waveform, contents_of, from_dictionary, waveform_of
from st.inference.long.decoding import LongDecoder
from st.inference.long.pieces import Heard, Piece, Skipped
from st.inference.long.segments import Segment
from st.inference.long.types import Begun, Event, Finished, LongModel, LongOptions, LongSource
from st.inference.long.windows import AudioSource
from st.segmentation.spans import Span


class LongResult:
    """Segments of one recording, decoded while one goes through them; that can be done once.

    Attributes:
        duration: Seconds of the recording.
        skipped: What has no text and why, as far as one has gone; with the segments they make up the duration.
        truncated: Whether the file ends before its own header says.
    """

    def __init__(self, events: Iterator[tuple[int, Event]]) -> None:
        """Go through the recording for the first time.

        Raises:
            StError: If it cannot be read.
        """
        self._events = events
        _, begun = next(events)
        if not isinstance(begun, Begun):
            raise _error_of(begun)
        self.duration, self.truncated = begun.duration_s, begun.truncated
        self.skipped: list[Skipped] = []

    def __iter__(self) -> Iterator[Segment]:
        """Yield the segments; see :meth:`pieces` for errors."""
        return (piece.segment for piece in self.pieces() if isinstance(piece, Heard))

    def pieces(self) -> Iterator[Piece]:
        """Yield what has text and what has none, in order.

        Raises:
            AudioError: At the end, if the recording cannot be read to its end.
            DecodingError: If the scores of the model are not finite.
        """
        for _, event in self._events:
            if isinstance(event, Finished):
                if event.error is not None:
                    raise event.error
            elif not isinstance(event, Begun):
                if isinstance(event, Skipped):
                    self.skipped.append(event)
                yield event


class LongRecordings:
    """What a :class:`st.inference.translator.Translator` can do with recordings of any length."""

    def translate_long(
        self: LongModel,
        audio: AudioLike,
        to: str | Sequence[str],
        *,
        options: LongOptions | None = None,
        segments: Sequence[tuple[float, float]] | None = None,
        sample_rate: int = SAMPLE_RATE,
    ) -> LongResult:
        """Translate a recording of any length.

        >>> for segment in translator.translate_long("talk.mp3", to=["de", "ja"]):  # doctest: +SKIP
        ...     print(segment.start, segment.end, segment.text, segment.translations["de"])

        Args:
            audio: A file, the bytes of one, or samples; see :func:`st.inference.audio_input.load_waveform`.
            to: Code of the target language, or of several.
            options: How it is cut.
            segments: Beginning and end of each segment in seconds, to have these instead.
            sample_rate: Samples per second, if ``audio`` is an array.

        Returns:
            Segments with the transcript, if the model has a CTC head, the times of its words, and the translations. They
            are decoded when one asks for them. Segments and what was skipped make up the whole recording.

        Raises:
            AudioError: If the recording cannot be read.
            ConfigError: If the model has no tag for a language.
            UsageError: If something is no code of a language.
            DecodingError: If the model cannot translate.
        """
        targets = [to] if isinstance(to, str) else list(to)
        self.check_languages(targets)
        return _decode(self, audio, targets, options, segments, sample_rate)

    def transcribe_long(
        self: LongModel,
        audio: AudioLike,
        *,
        options: LongOptions | None = None,
        segments: Sequence[tuple[float, float]] | None = None,
        sample_rate: int = SAMPLE_RATE,
    ) -> LongResult:
        """Write down a recording of any length; arguments and result as for :meth:`translate_long`.

        Raises:
            AudioError: If the recording cannot be read.
            DecodingError: If the model has no CTC head.
        """
        self.check_transcribes()
        return _decode(self, audio, [], options, segments, sample_rate)


def _decode(
    model: LongModel,
    audio: AudioLike,
    targets: Sequence[str],
    options: LongOptions | None,
    segments: Sequence[tuple[float, float]] | None,
    sample_rate: int,
) -> LongResult:
    spans = None
    if segments is not None:
        spans = [Span(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)) for start, end in segments]
    source, name = as_source(audio, sample_rate)
    return LongResult(LongDecoder(model, targets, options).decode([LongSource(name, source, spans)]))


def as_source(audio: AudioLike, sample_rate: int = SAMPLE_RATE, name: str | None = None) -> tuple[AudioSource, str]:
    """Return what can be read block by block, twice: the name of a file, or the bytes of one; and what to call it.

    Raises:
        AudioError: As for :func:`st.inference.audio_input.load_waveform`, of samples.
        TypeError: Likewise.
    """
    if isinstance(audio, Mapping):
        return as_source(*from_dictionary(audio, sample_rate), name)
    if hasattr(audio, "read"):
        return contents_of(audio, name)
    if isinstance(audio, (bytearray, memoryview)):
        audio = bytes(audio)
    if isinstance(audio, (str, Path, bytes)):
        return audio, name or source_name(audio)
    return _wav(waveform_of(audio, sample_rate)), name or "array"


def _wav(samples: Waveform) -> bytes:
    """Write samples as they are, ``(T,)``, into a file in memory."""
    handle = io.BytesIO()
    soundfile.write(handle, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    return handle.getvalue()


def _error_of(event: Event) -> StError:
    error = event.error if isinstance(event, Finished) else None
    return error or AudioError("the recording cannot be read", reason="unreadable")
