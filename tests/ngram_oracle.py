"""Back-off n-gram models in plain Python: the oracle of the tests, and a stand-in for flashlight where it is missing."""

from __future__ import annotations

import gzip
import sys
import types
from pathlib import Path

import pytest

State = tuple[str, ...]


class Arpa:
    """An ARPA file; probabilities are powers of ten, as in the file."""

    def __init__(self, path: Path | str) -> None:
        content = Path(path).read_bytes()
        text = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        self.table: dict[State, tuple[float, float]] = {}
        self.order = 0
        for line in text.decode("utf-8").splitlines():
            if line.endswith("-grams:"):
                self.order = int(line[1])
            elif self.order and "\t" in line:
                probability, gram, *backoff = line.split("\t")
                self.table[tuple(gram.split(" "))] = (float(probability), float(backoff[0]) if backoff else 0.0)

    def log10(self, state: State, word: str) -> float:
        if (word,) not in self.table:
            word = "<unk>"
        state = state[max(0, len(state) - self.order + 1) :]
        if (*state, word) in self.table:
            return self.table[*state, word][0]
        return self.table.get(state, (0.0, 0.0))[1] + self.log10(state[1:], word)

    def sentence(self, words: list[str]) -> float:
        """Log10 of the probability of a whole sentence."""
        history, total = ("<s>",), 0.0
        for word in [*words, "</s>"]:
            total += self.log10(history, word)
            history = (*history, word if (word,) in self.table else "<unk>")
        return total


class _KenLM:
    def __init__(self, path: str, dictionary: list[str]) -> None:
        try:
            self.arpa, self.words = Arpa(path), dictionary
        except UnicodeDecodeError as error:
            raise RuntimeError("somewhere.cc:1\nnot a language model") from error

    def start(self, start_with_nothing: bool) -> State:
        return () if start_with_nothing else ("<s>",)

    def score(self, state: State, number: int) -> tuple[State, float]:
        word = self.words[number] if (self.words[number],) in self.arpa.table else "<unk>"
        return (*state, word), self.arpa.log10(state, word)

    def finish(self, state: State) -> tuple[State, float]:
        return state, self.arpa.log10(state, "</s>")


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``flashlight.lib.text`` be imported."""
    names = ("flashlight", "flashlight.lib", "flashlight.lib.text", "flashlight.lib.text.decoder")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    reader, dictionary = types.ModuleType("kenlm"), types.ModuleType("dictionary")
    reader.KenLM, dictionary.Dictionary = _KenLM, list
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder.kenlm", reader)
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.dictionary", dictionary)
