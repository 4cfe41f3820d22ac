"""Output that is not segmented as its references are, cut to fit them before it is scored.

The cuts are those with the fewest word errors against the references (Matusov et al. 2005, AS-WER), as mweralign finds
them. Its licence is the GPL, so that it runs as a program of its own, and is never imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

from st.data.manifest import clean_field
from st.errors import EvaluationError
from st.evaluation.scoring.hypotheses import name_ids
from st.evaluation.scoring.segment_formats import Segments
from st.files import write_text
from st.segmentation.segment_files import ANY, read_rows
from st.text.languages import language

PACKAGE = "mweralign"
_PROGRAM = "from mweralign.mweralign import main; main()"
_ALTERNATIVES = "###"
"""Stands between references of one segment there."""


def resegment(hypotheses: Segments, references: Segments, segmentation: Path, target: str) -> tuple[Segments, str]:
    """Cut the texts of whole recordings into segments.

    Args:
        hypotheses: Texts by the name of their recording, one or several of each in the order of time; without names one
            for each recording in the order of ``segmentation``, or any number of the only one.
        references: A text for each segment, in the order of ``segmentation``.
        segmentation: Segments, in a format of :mod:`st.segmentation.segment_files`.
        target: Language of the texts.

    Returns:
        A hypothesis for each reference, and what to add to signatures.

    Raises:
        EvaluationError: If the package is not there, or recordings or numbers of segments differ.
        ManifestError: If the segmentation cannot be read.
        OSError: Likewise.
        UsageError: If ``target`` is not the code of a language.
    """
    spaced, used = language(target).spaced, _version()
    rows = [(_stem(name), start, number) for number, (name, start, *_) in enumerate(read_rows(segmentation))]
    if len(rows) != len(references.rows):
        raise EvaluationError(
            f"{segmentation}: {len(rows)} segments for the {len(references.rows)} references of {references.path}; expected "
            "one for each, in the same order"
        )
    said = _by_recording(hypotheses, list(dict.fromkeys(name for name, _, _ in rows)), str(segmentation), spaced)
    texts: dict[int, str] = {}
    aligned: list[tuple[str, int]] = []
    for name in said:
        numbers = [number for _, number in sorted((start, number) for other, start, number in rows if other == name)]
        # The program loses empty lines: whatever is said belongs to references with text, if there are any.
        written = [number for number in numbers if references.rows[number][1].strip()]
        aligned += [(name, number) for number in written]
        texts |= dict.fromkeys(numbers, "") | ({} if written else {numbers[0]: said[name]})
    expected = [(name, references.rows[number][1]) for name, number in aligned]
    cut = _align(said, expected, hypotheses.path, spaced=spaced) if expected else []
    texts |= dict(zip((number for _, number in aligned), cut, strict=True))
    found = [(key, texts[number]) for number, (key, _) in enumerate(references.rows)]
    signed = f"segments:{PACKAGE}-{used}-{_tokenizer(spaced)}"
    return replace(references, path=hypotheses.path, rows=found, sources=None), signed


def _by_recording(hypotheses: Segments, names: Sequence[str], where: str, spaced: bool) -> dict[str, str]:
    """Return what was written of each recording.

    Raises:
        EvaluationError: If it is not known of which recording a text is, or of one there is none.
    """
    texts = [clean_field(text) for _, text in hypotheses.rows]
    keys = [_stem(key) for key, _ in hypotheses.rows]
    if hypotheses.numbered and len(names) not in (1, len(texts)):
        raise EvaluationError(
            f"{hypotheses.path}: {len(texts)} texts without names of recordings for {len(names)} recordings of {where}; "
            "give a text for each recording in that order, or hypotheses with names, as `st translate --format tsv` writes them"
        )
    if hypotheses.numbered:
        keys = [names[0]] * len(texts) if len(names) == 1 else list(names)
    elif names == [ANY] and len({*keys}) == 1:
        keys = [ANY] * len(texts)
    missing, unknown = (
        [key for key in dict.fromkeys(some) if key not in other] for some, other in ((names, keys), (keys, names))
    )
    if missing or unknown:
        parts = [f"no text of {name_ids(missing)}"] if missing else []
        parts += [f"no segments of {name_ids(unknown)}"] if unknown else []
        raise EvaluationError(f"{hypotheses.path} against {where}: {'; '.join(parts)}; expected the same recordings")
    found: dict[str, list[str]] = {name: [] for name in names}
    for key, text in zip(keys, texts, strict=True):
        found[key].append(text)
    return {name: (" " if spaced else "").join(parts) for name, parts in found.items()}


def _align(said: dict[str, str], expected: Sequence[tuple[str, str]], path: str, *, spaced: bool) -> list[str]:
    """Return the part of what was said that belongs to each reference.

    Args:
        said: All texts, by recording.
        expected: Recording and text of each reference, recordings in the order of ``said``.
        path: What messages call the hypotheses.
        spaced: Whether there are spaces between words.
    """
    names = list(dict.fromkeys(name for name, _ in expected))
    lines = {
        "references": [clean_field(text).replace(_ALTERNATIVES, "#") for _, text in expected],
        "hypotheses": [said[name] for name in names],
        "documents": [str(names.index(name)) for name, _ in expected],
    }
    with tempfile.TemporaryDirectory() as folder:
        files = {name: str(Path(folder) / name) for name in (*lines, "segments")}
        for name, texts in lines.items():
            write_text(Path(files[name]), "".join(f"{text}\n" for text in texts))
        options = [
            "-r",
            files["references"],
            "-t",
            files["hypotheses"],
            "-d",
            files["documents"],
            "-o",
            files["segments"],
        ]
        options += ["-m", _tokenizer(spaced), *([] if spaced else ["-w"])]
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *options],
            env=os.environ | {"PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        found = Path(files["segments"]).read_text("utf-8").split("\n")[:-1] if done.returncode == 0 else []
    cut = [" ".join(text.split(" ")).strip() for text in found]
    if len(cut) != len(expected) or _letters(cut) != _letters(lines["hypotheses"]):
        told = done.stderr.strip().rpartition("\n")[2][:200]
        raise EvaluationError(
            f"{path}: {PACKAGE} {_version()} failed with exit code {done.returncode} or lost words: {told}; try another "
            "version of it"
        )
    return cut


def _letters(texts: Iterable[str]) -> str:
    return "".join("".join(texts).split())


def _tokenizer(spaced: bool) -> str:
    """Return mweralign's name of what it counts errors of: words, or characters where no spaces stand between words."""
    return "none" if spaced else "cj"


def _stem(name: str) -> str:
    return PurePath(name).stem


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        raise EvaluationError(
            f"texts are cut by the package {PACKAGE}, which is not installed; pip install 'xlsr-st[resegment]' brings it"
        ) from None
