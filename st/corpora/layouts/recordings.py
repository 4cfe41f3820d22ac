"""A folder of recordings without any text: speech for pre-training, as VoxPopuli's and VoxLingua107's folders have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.layouts.text_files import AUDIO
from st.corpora.rows import Corpus, as_corpus, split_in
from st.errors import ManifestError
from st.options import option
from st.text.languages import is_code


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingOptions:
    """What the files do not say."""

    language: str = option("", "code of the spoken language")
    speakers: bool = option(False, "the folder of a recording is its speaker")
    packed: tuple[str, ...] | None = None
    """Names below the folder of recordings that are not there but in archives; None looks for them in the folder."""


def read_recordings(folder: Path, options: RecordingOptions) -> Corpus:
    """Read a folder of recordings, and folders in it. A folder ``train``, ``dev`` or ``test`` is a split.

    Without a language the uppermost folders are codes of languages: ``fr/2009/a.ogg``.

    Raises:
        ManifestError: If there is no recording, no language is given and an uppermost folder is no code of one, or as for
            :func:`st.corpora.rows.as_corpus`.
    """
    if options.packed is None:
        found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    else:
        found = [Path(name) for name in options.packed]
    names = sorted(path for path in found if path.suffix.lower() in AUDIO and not path.name.startswith("."))
    rows = [
        {
            "audio": name.as_posix(),
            "split": split_in(name.parent.as_posix()),
            "src_lang": options.language or _language(folder, name),
            "speaker": name.parent.as_posix() if options.speakers else None,
        }
        for name in names
    ]
    return as_corpus([pl.DataFrame(rows, infer_schema_length=None)], folder)


def _language(folder: Path, name: Path) -> str:
    code = name.parts[0]
    if len(name.parts) < 2 or not is_code(code):
        raise ManifestError(
            f"{folder / name}: nothing tells the spoken language; give `language`, or put the recordings into folders that are "
            "called by codes of languages, such as fr"
        )
    return code
