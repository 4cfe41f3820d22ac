"""Decode a list of recordings, the bad ones set aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from st.audio.reading import SAMPLE_RATE
from st.errors import AudioError, ManifestError, StError
from st.inference.audio_input import AudioLike, Waveform, load_waveform
from st.inference.results import DecodedUtterance
from st.inference.translator import Translator

STDIN = "standard input"

CHUNK = 16
"""Recordings read before they are decoded together, sorted by length."""


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """What the model made of one recording."""

    name: str
    decoded: DecodedUtterance
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SkippedRecording:
    """A recording that cannot be used, and why."""

    name: str
    error: StError


def decode_recordings(
    translator: Translator, sources: Sequence[tuple[str, AudioLike]], targets: Sequence[str]
) -> Iterator[RecordingResult | SkippedRecording]:
    """Decode recordings in the order given.

    Args:
        translator: The model.
        sources: Name and audio of each recording.
        targets: Codes of target languages; none to transcribe only.

    Yields:
        One result per recording; one that cannot be used does not stop the others.

    Raises:
        StError: If the model itself fails.
    """
    for start in range(0, len(sources), CHUNK):
        read = [(name, _read(source)) for name, source in sources[start : start + CHUNK]]
        waveforms = [found for _, found in read if not isinstance(found, StError)]
        decoded = iter(translator.decode(waveforms, [targets] * len(waveforms)))
        for name, found in read:
            if isinstance(found, StError):
                yield SkippedRecording(name, found)
            else:
                yield RecordingResult(name, next(decoded), len(found) / SAMPLE_RATE)


def _read(source: AudioLike) -> Waveform | StError:
    try:
        # An open file is read when its turn comes.
        return load_waveform(source, name=STDIN if hasattr(source, "read") else None)
    except (AudioError, ManifestError) as error:
        return error
    except OSError as error:
        return AudioError(f"{source!s}: {error.strerror or error}", reason="unreadable")
