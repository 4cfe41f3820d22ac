"""Damaged files of a corpus are taken or refused in one sentence."""

from __future__ import annotations

import gzip
import random
import shutil
from pathlib import Path

import pytest
from corpora_layouts import LAYOUTS

from st.corpora.checks import check
from st.corpora.layouts.text_files import AUDIO
from st.corpora.sources import SOURCES, read_corpus
from st.errors import ManifestError


def refusal(root: Path, name: str, **given: object) -> str:
    """Return why a corpus is refused; nothing if it is not."""
    try:
        source = SOURCES[name]
        check(read_corpus(root, source, source.options(**given)).rows, min_found=0)
    except ManifestError as exc:
        return str(exc)
    return ""


JUNK = (
    b"\0",
    b"\xff",
    b"\t",
    b"\n",
    b'"',
    b"|",
    b",",
    b"[",
    b"&a ",
    b"../",
    b"nan",
    b"1e999",
    b"\\ud800",
    b"\xe2\x80\xa8",
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_changed_corpus_is_taken_or_refused_in_a_sentence(tmp_path: Path, layout: str) -> None:
    source, write, given = LAYOUTS[layout]
    write(tmp_path)
    rng = random.Random(layout)
    files = sorted(path for path in tmp_path.rglob("*.*") if path.is_file() and path.suffix not in AUDIO)
    for _ in range(15):
        path = rng.choice([path for path in files if not path.name.endswith("tar.gz")])
        content = path.read_bytes()
        plain = gzip.decompress(content) if path.suffix == ".gz" else content
        place = rng.randrange(len(plain) + 1)
        changed = plain[:place] + rng.choice(JUNK) + plain[place + rng.randrange(4) :]
        path.write_bytes(gzip.compress(changed) if path.suffix == ".gz" else changed)
        assert "\n" not in refusal(tmp_path, source, **given)
        path.write_bytes(content)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_file_among_those_of_a_corpus_is_an_error_or_no_harm(tmp_path: Path, layout: str) -> None:
    source, write, given = LAYOUTS[layout]
    write(tmp_path / "whole")
    names = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*"))
    for name in (
        name for name in names if name.suffix in (".tsv", ".gz", ".yaml", ".lst", ".jsonl", ".scp", ".parquet")
    ):
        shutil.copytree(tmp_path / "whole", tmp_path / "broken")
        (tmp_path / "broken" / name).write_bytes(b"")
        if "audio" not in name.parts:
            assert refusal(tmp_path / "broken", source, **given)
        shutil.rmtree(tmp_path / "broken")
