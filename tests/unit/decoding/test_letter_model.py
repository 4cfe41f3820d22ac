"""The language model of letters that is made of a prepared tree."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from st.data.manifest import ManifestRow, write_manifest
from st.decoding.ctc_prefix import Labels
from st.decoding.language_model import letters
from st.decoding.language_model.letters import LetterModel, has_transcripts
from st.errors import ConfigError
from st.text.ctc_vocabulary import CtcVocabulary

LABELS = 7
START, END = -1, LABELS


class Counted:
    """Interpolated Witten-Bell, letter by letter out of tables of all histories."""

    def __init__(self, texts: Sequence[Sequence[int]], order: int) -> None:
        self.order = order
        self.tables: defaultdict[Labels, Counter[int]] = defaultdict(Counter)
        for text in texts:
            padded = (*[START] * (order - 1), *text, END)
            for place in range(order - 1, len(padded)):
                for size in range(order):
                    self.tables[padded[place - size : place]][padded[place]] += 1

    def probability(self, history: Labels, label: int) -> float:
        shorter = self.probability(history[1:], label) if history else 1 / (LABELS + 1)
        table = self.tables.get(history)
        return shorter if table is None else (table[label] + len(table) * shorter) / (table.total() + len(table))

    def after(self, labels: Labels, label: int) -> float:
        padded = (*[START] * (self.order - 1), *labels)
        return math.log(self.probability(padded[len(padded) - self.order + 1 :], label))


@pytest.mark.parametrize("order", [1, 2, 5])
def test_probabilities_are_those_of_the_formula(order: int) -> None:
    chance = np.random.default_rng(order)
    texts = [chance.integers(1, LABELS, chance.integers(0, 12)).tolist() for _ in range(30)] + [[], [3, 3, 3, 3]]
    found, expected = LetterModel(texts, LABELS, order), Counted(texts, order)
    for text in [*texts[:8], [6, 6, 6, 1, 1, 2], [0, 3]]:
        for size in range(len(text) + 1):
            before = tuple(text[:size])
            scores = [found.score(before, label) for label in range(LABELS)]
            assert scores == pytest.approx([expected.after(before, label) for label in range(LABELS)], abs=1e-9)
            assert found.finish(before) == pytest.approx(expected.after(before, END), abs=1e-9)
            assert sum(map(math.exp, [*scores, found.finish(before)])) == pytest.approx(1)


def row(number: int, text: str, language: str) -> ManifestRow:
    return ManifestRow(f"clip{number}", f"audio/a.zip:{number}:10", 16_000, text, "", text, language, language)


def test_a_tree_gives_the_transcripts_of_a_language_or_of_all(tmp_path: Path) -> None:
    ctc = CtcVocabulary({symbol: number for number, symbol in enumerate(["<pad>", "<unk>", "|", "a", "b"])})
    assert not has_transcripts(tmp_path)
    write_manifest(tmp_path / "asr_train_fr.tsv", [row(1, "aa", "fr"), row(2, "", "fr")])
    write_manifest(tmp_path / "asr_train_de.tsv", [row(3, "bb", "de")])
    write_manifest(tmp_path / "asr_dev_de.tsv", [row(4, "ab", "de")])
    assert has_transcripts(tmp_path)
    likes = {code: LetterModel.from_tree(tmp_path, ctc, code) for code in ("fr", "de", None)}
    a, b = ctc.encode("a")[0], ctc.encode("b")[0]
    assert likes["fr"].score((), a) > likes[None].score((), a) == likes[None].score((), b) > likes["fr"].score((), b)
    assert likes["de"].score((), b) == likes["fr"].score((), a)
    with pytest.raises(ConfigError, match=", es: no transcripts to make a language model of"):
        LetterModel.from_tree(tmp_path, ctc, "es")


def test_of_very_much_text_a_file_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "MOST_LETTERS", 100)
    with pytest.raises(
        ConfigError, match="more than 100 letters for a language model made in memory; make a file with KenLM"
    ):
        LetterModel([[1, 2, 3, 4]] * 30, LABELS)
