"""Decode a list of recordings, the bad ones set aside, and write the results line by line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from st.audio.reading import SAMPLE_RATE
from st.errors import AudioError, ManifestError, StError
from st.inference.audio_input import AudioLike, Waveform, load_waveform
from st.inference.results import DecodedUtterance, Translation
from st.inference.translator import Translator
from st.inference.word_times import TimedText, join_words

STDIN = "standard input"

CHUNK = 16
"""Recordings read before they are decoded together, sorted by length."""


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """One recording: its result, or why there is none."""

    name: str
    decoded: DecodedUtterance | None
    duration_s: float = 0.0
    error: StError | None = None


def decode_recordings(
    translator: Translator, sources: Sequence[tuple[str, AudioLike]], targets: Sequence[str]
) -> Iterator[RecordingResult]:
    """Decode recordings in the order given.

    Args:
        translator: The model.
        sources: Name and audio of each recording.
        targets: Codes of target languages; none to transcribe only.

    Yields:
        One result per recording; one that cannot be used carries its error and does not stop the others.

    Raises:
        StError: If the model itself fails.
    """
    for start in range(0, len(sources), CHUNK):
        read = [(name, *_read(source)) for name, source in sources[start : start + CHUNK]]
        waveforms = [waveform for _, waveform, _ in read if waveform is not None]
        decoded = iter(translator.decode(waveforms, [targets] * len(waveforms)))
        for name, waveform, error in read:
            if waveform is None:
                yield RecordingResult(name, None, error=error)
            else:
                yield RecordingResult(name, next(decoded), len(waveform) / SAMPLE_RATE)


def _read(source: AudioLike) -> tuple[Waveform | None, StError | None]:
    try:
        # An open file is read when its turn comes.
        return load_waveform(source, name=STDIN if hasattr(source, "read") else None), None
    except (AudioError, ManifestError) as error:
        return None, error
    except OSError as error:
        return None, AudioError(f"{source!s}: {error.strerror or error}", reason="unreadable")


Formatter = Callable[[RecordingResult, Sequence[str], bool], str]
"""Turns a result that has been decoded into whole lines; told the target languages and whether it is the only one."""


def one_line(text: str) -> str:
    """Escape what would break a line or a column, and what UTF-8 cannot hold (odd file names)."""
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escape)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _texts(result: RecordingResult, targets: Sequence[str]) -> list[tuple[str, str]]:
    """Return (language, text) for each target, or ("", transcript)."""
    decoded = result.decoded
    if decoded is None:
        return []
    if targets:
        return [(code, decoded.translations[code]) for code in targets]
    return [("", decoded.transcript or "")]


def format_text(result: RecordingResult, targets: Sequence[str], single: bool) -> str:
    """Return the bare text; with the file's name before it if there are several, the language if there are several."""
    lines = []
    for code, text in _texts(result, targets):
        columns = [] if single else [result.name]
        columns += [code] if len(targets) > 1 else []
        lines.append("\t".join([*map(one_line, columns), " ".join(text.split())]) + "\n")
    return "".join(lines)


def format_tsv(result: RecordingResult, targets: Sequence[str], single: bool) -> str:  # noqa: ARG001
    """Return rows of audio, language (of a translation) and text."""
    names = [one_line(result.name)]
    rows = [[*names, *([code] if targets else []), " ".join(text.split())] for code, text in _texts(result, targets)]
    return "".join("\t".join(row) + "\n" for row in rows)


def format_json(result: RecordingResult, targets: Sequence[str], single: bool) -> str:  # noqa: ARG001
    """Return one JSON object on one line, with the keys ``text``, ``segments`` and ``words`` as Whisper calls them."""
    return json_line(json_content(result, targets))


def json_line(content: Mapping[str, object]) -> str:
    """Write one JSON object on one line."""
    line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    # File names may hold bytes that are no UTF-8; JSON has the same escapes for them as Python.
    return line.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def json_content(result: RecordingResult, targets: Sequence[str]) -> dict[str, object]:
    """Return what the JSON of a result that has been decoded says; docs/decoding.md explains the keys."""
    decoded = result.decoded
    if decoded is None:
        return {}
    text = decoded.translations[targets[0]] if targets else decoded.transcript or ""
    whole = [TimedText(text, 0.0, result.duration_s, 1.0)] if text else []
    content: dict[str, object] = {"audio": result.name, "text": text, "transcript": decoded.transcript}
    segments = whole if decoded.words is None else join_words(decoded.words, text)
    content["segments"] = [{**_span(segment), "text": segment.text} for segment in segments]
    if decoded.words is not None:
        content["words"] = [{"word": word.text, **_span(word)} for word in decoded.words]
    if targets:
        content["translations"] = dict(decoded.translations)
        content["nbest"] = {code: [_json_of(item) for item in items] for code, items in decoded.nbest.items()}
    else:
        content |= {"truncated": decoded.truncated, "repetition": decoded.repetition}
    content["empty_because"] = decoded.reason
    return content


def _span(timed: TimedText) -> dict[str, float]:
    return {"start": round(timed.start_s, 3), "end": round(timed.end_s, 3)}


def _json_of(item: Translation) -> dict[str, object]:
    pieces = [[piece, round(score, 4)] for piece, score in zip(item.pieces, item.piece_scores, strict=True)]
    return {
        "text": item.text,
        "score": round(item.score, 6),
        "truncated": item.truncated,
        "repetition": item.repetition,
        "pieces": pieces,
    }


FORMATS: dict[str, Formatter] = {"text": format_text, "tsv": format_tsv, "json": format_json}


def header(output_format: str, targets: Sequence[str]) -> str:
    """Return the first line of a format, empty for those without one."""
    if output_format != "tsv":
        return ""
    return "audio\tlanguage\ttext\n" if targets else "audio\ttext\n"
