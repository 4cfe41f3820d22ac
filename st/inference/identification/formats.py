"""What ``st identify`` writes: results of a list of recordings as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from st.errors import AudioError, ManifestError
from st.inference.audio_input import AudioLike
from st.inference.identification.identifier import Identified, Identifier
from st.inference.recordings import STDIN, SkippedRecording
from st.inference.results.formats import json_line, one_line


@dataclass(frozen=True, slots=True)
class IdentifiedRecording:
    """What the model says of one recording."""

    name: str
    found: Identified


def identify_recordings(
    identifier: Identifier, sources: Sequence[tuple[str, AudioLike]]
) -> Iterator[IdentifiedRecording | SkippedRecording]:
    """Classify recordings in the order given; one that cannot be used does not stop the others."""
    for name, audio in sources:
        try:
            found = identifier(audio, name=STDIN if hasattr(audio, "read") else None)
        except (AudioError, ManifestError) as error:
            yield SkippedRecording(name, error)
        except OSError as error:
            yield SkippedRecording(name, AudioError(f"{name}: {error.strerror or error}", reason="unreadable"))
        else:
            yield IdentifiedRecording(name, found)


def _text(result: IdentifiedRecording, single: bool) -> str:
    name = "" if single else one_line(result.name) + "\t"
    labels = "\t".join(f"{one_line(each.label)} {each.score:.4f}" for each in result.found.labels)
    return f"{name}{labels}\n"


def _tsv(result: IdentifiedRecording, _: bool) -> str:
    name = one_line(result.name)
    return "".join(
        f"{name}\t{rank}\t{one_line(each.label)}\t{each.score:.6f}\n"
        for rank, each in enumerate(result.found.labels, start=1)
    )


def _json(result: IdentifiedRecording, _: bool) -> str:
    found = result.found
    return json_line(
        {
            "audio": result.name,
            "labels": [{"label": each.label, "score": round(each.score, 6)} for each in found.labels],
            "duration": round(found.duration_s, 3),
            "windows": found.windows,
            "empty_because": found.reason,
        }
    )


FORMATS: dict[str, Callable[[IdentifiedRecording, bool], str]] = {"text": _text, "tsv": _tsv, "json": _json}
"""What turns a result into whole lines; told whether it is the only one of its file."""
HEADERS = {"tsv": "audio\trank\tlabel\tscore\n"}
