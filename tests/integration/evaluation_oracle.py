"""A decoder whose answers are known and a prepared tree for it, for tests of evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from without_provenance import compared

import st.inference
from st.audio.reading import encode_flac
from st.data.config import DataConfig
from st.data.manifest import ManifestRow, write_manifest
from st.evaluation.evaluate import EvaluationConfig
from st.text.normalisation import normalise

DIRECTIONS = ("fr_en", "en_de", "en_zh-CN")


NUM_CLIPS = 6


SENTENCES = {
    "fr": "le train numéro {} part demain matin",
    "en": "Train number {} leaves tomorrow <morning> & goes far.",
    "de": "Zug Nummer {} fährt morgen früh ab.",
    "zh-CN": "第{}次列车明天早上出发。",
}


def sentence(code: str, number: int) -> str:
    return SENTENCES[code].format(number)


@pytest.fixture(name="data")
def data_fixture(tmp_path: Path) -> Path:
    """A prepared tree of three directions; the loudness of a clip tells its number, its sign the language."""
    folder = tmp_path / "data"
    for code, sign in (("fr", 1), ("en", -1)):
        store, offset, slices = folder / "audio" / code / "test.zip", 0, []
        store.parent.mkdir(parents=True)
        with store.open("wb") as handle:
            for number in range(NUM_CLIPS):
                length = 1600 * (number % 3 + 1) + number
                content = encode_flac(np.full(length, sign * (number + 1) / 100, dtype=np.float32))
                slices.append((f"audio/{code}/test.zip:{offset}:{len(content)}", length))
                offset += handle.write(content)
        for direction in DIRECTIONS:
            source, target = direction.split("_")
            if source == code:
                rows = [
                    ManifestRow(f"{code}{n}", audio, length, sentence(target, n), "v", sentence(code, n), code, target)
                    for n, (audio, length) in enumerate(slices)
                ]
                write_manifest(folder / f"test_{direction}.tsv", rows)
    DataConfig(directions=DIRECTIONS).save(folder)
    return folder


@dataclass
class Answer:
    transcript: str | None
    translations: Mapping[str, str]


class Oracle:
    """Says the reference, except that a clip in ``wrong`` is translated into nothing."""

    ensemble = ()
    decoder_trained = True

    def __init__(self, *, wrong: Sequence[int] = (), dies_after: int = 10**9, hears: bool = True) -> None:
        self.wrong, self.dies_after, self.hears = wrong, dies_after, hears
        self.batches: list[list[tuple[str, int, int]]] = []

    def decode_batch(self, waveforms, target_languages, spoken) -> list[Answer]:
        if len(self.batches) == self.dies_after:
            raise KeyboardInterrupt
        answers, batch = [], []
        for waveform, targets, language in zip(waveforms, target_languages, spoken, strict=True):
            code, number = ("fr" if waveform[0] > 0 else "en"), round(abs(float(waveform[0])) * 100) - 1
            assert code == language
            batch.append((code, number, len(waveform)))
            said = sentence(code, number).upper() if self.hears else None
            answers.append(Answer(said, {t: "" if number in self.wrong else sentence(t, number) for t in targets}))
        self.batches.append(batch)
        return answers

    def check_languages(self, codes: Sequence[str]) -> None:
        assert set(codes) == {"en", "de", "zh-CN"}

    def untrained(self, codes: Sequence[str]) -> list[str]:
        return list(codes)[:0]


CONFIG = EvaluationConfig(normalise=normalise, batch_seconds=0.5, settings={"beam": 5})


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return compared({str(path.relative_to(folder)): path.read_bytes() for path in files})


@pytest.fixture(name="command")
def command_fixture(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of an evaluation with the oracle for a model."""
    monkeypatch.setenv("ST_NO_TUNE", "1")
    checkpoint = tmp_path / "checkpoint_best.pt"
    checkpoint.write_bytes(b"model")
    monkeypatch.setattr(st.inference, "load_translator", lambda *_args, **_options: Oracle(wrong=[1]))
    return ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(tmp_path / "out")]
