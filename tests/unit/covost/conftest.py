"""A tiny corpus in the layout of Common Voice and CoVoST 2, with real recordings, made to order."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from release_files import files_of, write_tar


@cache
def recording(seed: int, seconds: float = 0.6, rate: int = 48_000, container: str = "MP3") -> bytes:
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate))
    sink = io.BytesIO()
    soundfile.write(sink, noise, rate, format=container)
    return sink.getvalue()


@dataclass
class Corpus:
    """Rows and recordings; :meth:`write` puts them on disk."""

    root: Path
    source: str = "fr"
    sentences: list[tuple[str, str, str]] = field(default_factory=list)
    translations: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)

    @property
    def clips(self) -> Path:
        folder = self.root / self.source / "clips"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def add(
        self,
        clip: str,
        split: str = "train",
        *,
        text: str = "bonjour à tous",
        translations: dict[str, str] | None = None,
        audio: bytes | None = b"",
        speaker: str = "s1",
    ) -> None:
        """Add a clip; ``audio`` None leaves the recording out, empty makes one."""
        self.sentences.append((speaker, clip, text))
        for target, translation in (translations or {"en": "hello everybody"}).items():
            self.translations.setdefault(target, []).append((clip, translation, split))
        if audio is not None:
            (self.clips / clip).write_bytes(audio or recording(len(self.sentences)))

    def write(self) -> Path:
        folder = self.clips.parent
        self._table(folder / "validated.tsv", ("client_id", "path", "sentence"), self.sentences)
        for target, rows in self.translations.items():
            self._table(folder / f"covost_v2.{self.source}_{target}.tsv", ("path", "translation", "split"), rows)
        return self.root

    @staticmethod
    def _table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "cv")


@pytest.fixture
def full_corpus(corpus: Corpus) -> Corpus:
    """Twelve train, three dev and three test clips of English with two targets."""
    corpus.source = "en"
    for number in range(18):
        split = {15: "dev", 16: "dev", 17: "dev", 12: "test", 13: "test", 14: "test"}.get(number, "train")
        corpus.add(
            f"clip{number:02}.mp3",
            split,
            text=f'Sentence "{number}" of many, {number * 7}.',
            translations={"de": f"Satz {number} von vielen.", "ca": f"Frase {number} de moltes."},
            speaker=f"s{number % 4}",
        )
    corpus.write()
    return corpus


@pytest.fixture
def make_recording() -> Callable[..., bytes]:
    return recording


@pytest.fixture
def archive(full_corpus, tmp_path: Path) -> Callable[..., Path]:
    """Return a root that holds the tables of CoVoST 2 and an archive of Common Voice."""

    def make(name: str = "cv-corpus-4-en.tar.gz", prefix: str = "cv-corpus-4-2019-12-10/en/") -> Path:
        root = tmp_path / "archives"
        (root / "en").mkdir(parents=True, exist_ok=True)
        for table in full_corpus.clips.parent.glob("covost_v2.*"):
            (root / "en" / table.name).write_bytes(table.read_bytes())
        write_tar(root / name, files_of(full_corpus), prefix)
        return root

    return make
