"""Partial results with lines of another kind: decoded again, never an error."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from st.evaluation.partial import PartialResults, StoredItem

GOOD = {"audio": "a.wav", "transcript": None, "translations": {"de": "gut"}}


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        "3",
        json.dumps(GOOD | {"audio": 3}),
        json.dumps(GOOD | {"audio": ["a"]}),
        json.dumps(GOOD | {"transcript": {}, "translations": ["x"]}),
        json.dumps(GOOD | {"transcript": 5}),
        json.dumps(GOOD | {"translations": {"de": None}}),
        json.dumps(GOOD | {"translations": [1, 2]}),
        json.dumps(GOOD | {"translations": {"de": "\ud800"}}),
        json.dumps({"audio": "b.wav"}),
        '{"audio": "b.wav", "transcript": null, "translations": {"de": ' + "9" * 5000 + "}}",
    ],
    ids=range(11),
)
def test_fault_17_a_line_of_another_kind_is_decoded_again(line: str, tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"
    results = PartialResults(path, "key")
    results.add([SimpleNamespace(audio="a.wav")], [SimpleNamespace(transcript=None, translations={"de": "gut"})])
    with path.open("a", encoding="utf-8") as handle:
        handle.write(f"{line}\n")
    (tmp_path / "partial2.jsonl").write_bytes(path.read_bytes())
    assert PartialResults(path, "key").items == {"a.wav": StoredItem(None, {"de": "gut"})}


def test_fault_17_a_result_without_a_wanted_translation_is_decoded_again(tmp_path: Path) -> None:
    path = tmp_path / "partial.jsonl"
    utterances = [SimpleNamespace(audio=audio, targets=("de", "ja")) for audio in ("a.wav", "b.wav")]
    results = PartialResults(path, "key", utterances=utterances)
    for item, said in zip(utterances, ({"de": "gut", "ja": "a"}, {"de": "gut"}), strict=True):
        results.add([item], [SimpleNamespace(transcript=None, translations=said)])
    assert PartialResults(path, "key", utterances=utterances).items.keys() == {"a.wav"}
