"""A corpus with one recording of each kind that is worth a look: what is kept, counted and listed."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora_planted import Row, put
from corpora_tables import as_tsv

from st.cli import main
from st.preparation.rows.policy import AUDIO_FINDINGS
from st.preparation.tree.corpus_index import read_index
from st.text import languages

RATE = 16_000
TONE = 0.3 * np.sin(np.arange(2 * RATE) / 9)


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "_declared", {})


def wav(samples: np.ndarray, promised: int = 0) -> bytes:
    """Return a WAV whose header says that there are some samples more."""
    sink = io.BytesIO()
    soundfile.write(sink, samples, RATE, subtype="PCM_16", format="WAV")
    data = sink.getvalue()
    return data[:40] + struct.pack("<I", len(data) - 44 + 2 * promised) + data[44:]


PLANTED: dict[str, Callable[[], tuple[bytes, str]]] = {
    "good": lambda: (wav(TONE), "bonjour"),
    "undecodable": lambda: (b"<html>", "bonjour"),
    "truncated": lambda: (wav(TONE, 3000), "bonjour"),
    "cut_short": lambda: (wav(TONE, 300), "bonjour"),
    "silent": lambda: (wav(0 * TONE), "bonjour"),
    "clipped": lambda: (wav((TONE * 5).clip(-1, 1)), "bonjour"),
    "inverted": lambda: (wav(np.stack([TONE, -TONE], axis=1)), "bonjour"),
    "too_many_characters": lambda: (wav(TONE), "bonjour, " * 12),
    "transcript_too_long": lambda: (wav(TONE[:1000]), "aab"),
}
"""By what is found: a recording and its transcript."""
KEPT = {"cut_short", "clipped", "inverted"}


def corpus(root: Path) -> Path:
    rows = []
    for split in ("train", "dev", "test"):
        for finding, make in PLANTED.items():
            data, text = make()
            name = f"{finding}-{split}"
            put(root / f"wav/{name}.wav", data)
            rows.append(Row(f"wav/{name}.wav", name, None, None, split, split, "fr", text, {"en": "hello"}))
    return as_tsv(root, rows)


def prepare(tmp_path: Path, *options: str) -> Path:
    out = tmp_path / "data"
    more = ("--vocab-type", "char", "--jobs", "1", "--max-skipped", "1")
    assert main(["prepare", str(corpus(tmp_path)), "--out", str(out), *more, *options]) == 0
    assert main(["verify", str(out)]) == 0
    return out


def listed(tree: Path) -> list[list[str]]:
    header, *lines = (tree / "findings.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["language", "split", "finding", "kept", "clip"]
    return [line.split("\t") for line in lines]


def names(path: Path) -> set[str]:
    return {line.split("\t")[0].rsplit("/", 1)[-1] for line in path.read_text(encoding="utf-8").splitlines()[1:]}


def test_each_finding_is_listed_counted_and_kept_or_dropped_as_the_policy_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = prepare(tmp_path)
    told = capsys.readouterr().err
    found = [finding for finding in AUDIO_FINDINGS if finding in PLANTED]
    expected = [
        ["fr", split, finding, "yes" if finding in KEPT or (split != "train" and finding != "undecodable") else "no",
         f"wav/{finding}-{split}.wav"]
        for finding in found
        for split in ("train", "dev", "test")
    ]  # fmt: skip
    order = {"train": 0, "dev": 1, "test": 2}
    assert sorted(listed(tree), key=lambda row: (found.index(row[2]), order[row[1]])) == expected
    assert [row[2] for row in listed(tree)] == [finding for finding in found for _ in range(3)]
    assert names(tree / "train_fr_en.tsv") == {f"{name}-train" for name in ("good", *KEPT)}
    assert names(tree / "asr_test_fr.tsv") == {f"{name}-test" for name in PLANTED if name != "undecodable"}
    report = json.loads((tree / "report.json").read_text(encoding="utf-8"))["recordings"]
    assert {name: (item["clips"], item["kept"]) for name, item in report.items()} == {
        name: (3, 3 if name in KEPT else 0 if name == "undecodable" else 2) for name in found
    }
    assert all(name in item["example"] for name, item in report.items())
    text = (tree / "report.md").read_text(encoding="utf-8")
    assert "| clipped | 3 | 3 | wav/clipped-" in text
    assert "cut_short 3, silent 3, clipped 3, inverted 3" in told
    assert f"{tree}/findings.tsv lists them" in told
    flags = dict(read_index(tree).filter(split="train").select("clip", "flags").iter_rows())
    assert flags["wav/inverted-train.wav"] == ["inverted"]


def test_what_is_kept_is_dropped_from_train_where_it_is_asked_for(tmp_path: Path) -> None:
    tree = prepare(tmp_path, "--also-drop", "clipped,inverted")
    assert names(tree / "train_fr_en.tsv") == {"good-train", "cut_short-train"}
    kept = {(finding, split): word for _, split, finding, word, _ in listed(tree)}
    assert (kept["clipped", "train"], kept["clipped", "test"], kept["cut_short", "train"]) == ("no", "yes", "yes")
    report = json.loads((tree / "report.json").read_text(encoding="utf-8"))
    splits = report["directions"]["fr_en"]["splits"]
    assert splits["train"]["dropped"]["inverted"] == splits["test"]["flagged"]["inverted"] == 1


def test_an_unknown_finding_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(corpus(tmp_path)), "--out", str(tmp_path / "data"), "--also-drop", "loud"]) != 0
    assert "'loud'; expected some of: cut_short clipped inverted" in capsys.readouterr().err
