"""A folder of recordings with texts beside them: ``a.wav``, ``a.txt``, and ``a.de.txt`` or ``a.de`` for translations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.rows import TRANSLATION, Corpus, as_corpus, split_in
from st.doors.readers import read_bounded
from st.errors import ManifestError
from st.options import option
from st.text.languages import is_code

AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aiff")
_MAX_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFileOptions:
    """What the files do not say."""

    language: str = option("", "code of the spoken language; a.<code>.txt is the transcript, too")
    speakers: bool = option(False, "the folder of a recording is its speaker")


def read_text_files(folder: Path, options: TextFileOptions) -> Corpus:
    """Read a folder of recordings, and folders in it. A folder ``train``, ``dev`` or ``test`` is a split.

    Raises:
        ManifestError: If no recording has a text, a text is not UTF-8 or has more than a megabyte, or as for
            :func:`st.corpora.rows.as_corpus`.
    """
    rows = list(_rows(folder, options))
    texts = [row for row, texts in rows if texts]
    alone = len(rows) - len(texts)
    frame = pl.DataFrame(texts, infer_schema_length=None)
    return as_corpus([frame], folder, skipped={"recordings without a text beside them": alone} if alone else None)


def _rows(folder: Path, options: TextFileOptions) -> Iterator[tuple[dict[str, str | None], dict[str, str]]]:
    """Yield what each recording's name tells, together with its texts, and the texts alone."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    texts: dict[Path, dict[str, Path]] = {}
    for path in files:
        for stem, kind in _kinds(path.name):
            texts.setdefault(path.with_name(stem), {})[kind] = path
    for path in files:
        if path.suffix.lower() in AUDIO:
            name = path.relative_to(folder)
            names = {"": "transcript", options.language: "transcript"}
            files_of_texts = texts.get(path.with_suffix(""), {})
            found = {names.get(kind, TRANSLATION + kind): _text(text) for kind, text in files_of_texts.items()}
            row = {
                "audio": name.as_posix(),
                "split": split_in(name.parent.as_posix()),
                "src_lang": options.language or None,
                "speaker": name.parent.as_posix() if options.speakers else None,
            }
            yield {**row, **found}, found


def _kinds(name: str) -> Iterator[tuple[str, str]]:
    """Yield whose text a file can be, and in which language: empty for the spoken one."""
    if name.endswith(".txt"):
        yield name.removesuffix(".txt"), ""
    stem, _, code = name.removesuffix(".txt").rpartition(".")
    if stem and is_code(code) and f".{code.lower()}" not in AUDIO and code != "txt":
        yield stem, code


def _text(path: Path) -> str:
    content = read_bounded(path, ManifestError, expected="the text of a recording", most=_MAX_TEXT_BYTES)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ManifestError(f"{path}: byte 0x{content[exc.start]:02x} is not UTF-8; re-encode the file") from None
