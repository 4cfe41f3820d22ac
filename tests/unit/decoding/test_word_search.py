from __future__ import annotations

import itertools
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ngram_oracle import Arpa, stand_in
from pyctcdecode_cases import SETTINGS, alphabet, arpa, given, words_of

from st.decoding.language_model.hotwords import Hotwords
from st.decoding.language_model.word_folder import WordFolder, WordScoring
from st.decoding.language_model.word_model import WordModel
from st.decoding.language_model.word_search import WordOptions, word_search
from st.errors import ConfigError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "pyctcdecode.json").read_text(encoding="utf-8"))
LABELS = ("", " ", "a", "b")
WORDS = """\\data\\
ngram 1=7
ngram 2=4

\\1-grams:
-1.5\t<unk>\t0
-99\t<s>\t-0.3
-0.8\t</s>\t0
-0.6\tab\t-0.2
-0.7\tba\t-0.4
-0.3\ta\t-0.1
-0.4\tbb\t-0.1

\\2-grams:
-0.2\t<s> ab
-0.9\tab ba
-0.1\tba </s>
-0.5\ta ab

\\end\\
"""
EVERYTHING = {"beam": 10**6, "nbest": 10**6, "beam_floor": -math.inf, "label_floor": -math.inf}


@pytest.fixture(params=["flashlight", "stand-in"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "flashlight":
        pytest.importorskip("flashlight.lib.text.decoder.kenlm", exc_type=ImportError)
    else:
        stand_in(monkeypatch)
    return request.param


def _write(folder: Path, text: str) -> Path:
    path = folder / "lm.arpa"
    path.write_text(text, encoding="utf-8")
    return path


# -- against all paths ------------------------------------------------------------------------------------------------


def _oracle(
    frames: np.ndarray, lm: Arpa | None, unigrams: list[str], scoring: WordScoring, hot: dict, *, empty_word: bool
) -> dict[str, float]:
    """The score of every text: all paths listed, pyctcdecode's formula written down."""
    ends: dict[tuple[str, bool, str], float] = defaultdict(float)
    for path in itertools.product(range(len(LABELS)), repeat=len(frames)):
        letters = [LABELS[label] for before, label in zip((None, *path), path, strict=False) if label != before]
        probability = math.exp(sum(float(frames[t, label]) for t, label in enumerate(path)))
        text = "".join(letters)
        ends[" ".join(text.split()), text.endswith(" ") or not text.strip(), letters[-1]] += probability

    def whole(words: list[str], end: bool) -> float:
        value, history = 0.0, ("<s>",) if scoring.score_boundary else ()
        for number, word in enumerate(words):
            value += hot["weight"] * (word in hot["words"])
            if lm is None:
                continue
            known = (word,) in lm.table
            log10 = lm.log10(history, word) + scoring.unk_score_offset * (
                not known or (bool(unigrams) and word not in unigrams)
            )
            history = (*history, word if known else "<unk>")
            if end and number == len(words) - 1 and scoring.score_boundary:
                log10 += lm.log10(history, "</s>")
            value += scoring.alpha * math.log(10) * log10 + scoring.beta
        return value

    def part(letters: str) -> float:
        begun = [len(word) for word in hot["words"] if word.startswith(letters)]
        if begun:
            return hot["weight"] * len(letters) / min(begun)
        known = lm is None or any(word.startswith(letters) for word in unigrams)
        return 0.0 if known else scoring.unk_score_offset * (1 if len(letters) < 7 else len(letters) / 6)

    def rank(end: tuple[str, bool, str]) -> float:
        words, closed = end[0].split(), end[1]
        grown = whole(words, False) if closed else whole(words[:-1], False) + part(words[-1])
        return math.log(ends[end]) + grown

    found: dict[str, float] = {}
    worst: dict[str, bool] = {}
    for text, closed, last in sorted(ends, key=rank, reverse=True):
        worst[text] = closed
        found[text] = found.get(text, 0.0) + ends[text, closed, last]
    # A text whose worst paths end between words has an empty word behind it.
    scores = {}
    for text, total in found.items():
        words = [*text.split(), *([""] if worst[text] and empty_word else [])]
        scores[text] = math.log(total) + whole(words, True)
        if not words and lm is not None and scoring.score_boundary:
            scores[text] += scoring.alpha * math.log(10) * lm.log10(("<s>",), "</s>")
    return scores


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "weights": {"scoring": WordScoring(alpha=1.4, beta=-0.5)},
    "no boundary": {"scoring": WordScoring(unk_score_offset=-3.0, score_boundary=False)},
    "fewer unigrams than words": {"unigrams": ["ab", "bb"]},
    "no unigrams": {"unigrams": []},
    "no empty word": {"empty_word": False},
    "hotwords": {"hotwords": ["aab", "b ba"], "weight": 2.0},
    "hotwords alone": {"hotwords": ["bb"], "weight": 3.0, "model": False},
    "neither": {"model": False},
}


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("name", CASES)
def test_i18_every_text_has_the_score_of_pyctcdecodes_formula(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path, scoring = _write(tmp_path, WORDS), case.get("scoring", WordScoring())
    unigrams = case.get("unigrams", ["ab", "ba", "a", "bb"])
    hot = {"words": {word for phrase in case.get("hotwords", ()) for word in phrase.split()}}
    hot["weight"] = case.get("weight", 10.0)
    model = None
    if case.get("model", True):
        model = WordModel(WordFolder(path, scoring, tuple(unigrams)), LABELS[2:])
    for seed in range(3):
        logits = 1.5 * torch.randn(5, len(LABELS), generator=torch.Generator().manual_seed(seed))
        frames = logits.log_softmax(-1).numpy()
        empty_word = case.get("empty_word", True)
        expected = _oracle(frames, Arpa(path) if model else None, unigrams, scoring, hot, empty_word=empty_word)
        hotwords = Hotwords(case.get("hotwords", ()), hot["weight"])
        options = WordOptions(**EVERYTHING, empty_word=empty_word)
        found = word_search(frames, LABELS, options, model=model, hotwords=hotwords)
        assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-4)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_long_beginnings_of_unknown_words_cost_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    model = WordModel(WordFolder(_write(tmp_path, WORDS), WordScoring(), ("ab", "ba")), LABELS[2:])
    parts = {"a": 0.0, "ab": 0.0, "abb": -10.0, "b": 0.0, "bbbbbb": -10.0, "bbbbbbbbb": -15.0, "bb": -10.0}
    assert {part: model.score_part(part) for part in parts} == parts


def test_hotwords_count_each_word_of_a_phrase() -> None:
    hotwords = Hotwords(["new york", " yorkshire ", ""], 3.0)
    assert hotwords.score("new york new yorks") == 9.0
    assert [hotwords.score_part(part) for part in ("yor", "yorks", "yorkshires", "k")] == [9 / 4, 15 / 9, None, None]


# -- against pyctcdecode ----------------------------------------------------------------------------------------------


def _found(texts: dict[str, Any], setting: str, folder: Path, number: slice) -> list[tuple[str, float]]:
    """Decode what pyctcdecode has decoded."""
    options = dict(SETTINGS[setting])
    labels = alphabet(texts["learned"] + texts["said"])
    weights = {name: options[name] for name in WordScoring.__dataclass_fields__ if name in options}
    unigrams = tuple(words_of(texts["learned"])) if options.get("unigrams", True) else ()
    model = None
    if options.get("model", True):
        files = WordFolder(_write(folder, arpa(texts["learned"])), WordScoring(**weights), unigrams)
        model = WordModel(files, labels[5:])
    hotwords = Hotwords(options.get("hotwords", ()), options.get("hotword_weight", 10.0))
    search = WordOptions(**{name: options[name] for name in ("beam", "beam_floor", "label_floor") if name in options})
    found = []
    for seed, text in list(enumerate(texts["said"]))[: len(texts["found"][setting])][number]:
        frames = torch.tensor(given(setting, text, labels, seed)).log_softmax(-1).numpy()
        best = word_search(frames, labels, search, model=model, hotwords=hotwords)[0]
        found.append((best.text, best.score))
    return found


FEW = 5
"""Utterances that are not left to the slow tests."""
ALL = [(language, setting) for language, texts in GOLDEN.items() for setting in texts["found"]]


def _compare(language: str, setting: str, folder: Path, number: slice) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", exc_type=ImportError)
    texts = GOLDEN[language]
    expected = texts["found"][setting][number]
    found = _found(texts, setting, folder, number)
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-3)


@pytest.mark.parametrize(("language", "setting"), ALL)
def test_i18_texts_and_scores_are_those_of_pyctcdecode(tmp_path: Path, language: str, setting: str) -> None:
    _compare(language, setting, tmp_path, slice(0, FEW))


@pytest.mark.slow
@pytest.mark.parametrize(("language", "setting"), ALL)
def test_i18_all_texts_are_those_of_pyctcdecode(tmp_path: Path, language: str, setting: str) -> None:
    _compare(language, setting, tmp_path, slice(FEW, None))


def test_settings_that_pyctcdecode_was_given_all_matter() -> None:
    found = GOLDEN["en"]["found"]
    best = {setting: [text for text, _ in results[:15]] for setting, results in found.items()}
    assert all(best[setting] != best["defaults"] for setting in SETTINGS if setting != "defaults")
    assert sum(len(texts["found"]["defaults"]) for texts in GOLDEN.values()) >= 200


# -- words that the head cannot spell ---------------------------------------------------------------------------------


def test_fault_06_words_of_another_case_are_folded_and_it_is_said(tmp_path: Path, monkeypatch, caplog) -> None:
    stand_in(monkeypatch)
    capitals = re.sub(r"\b(ab|ba|bb|a)\b", lambda match: match[0].upper(), WORDS)
    with caplog.at_level("INFO"):
        folded = WordModel(WordFolder(_write(tmp_path, capitals), WordScoring(), ("AB", "BA", "BB")), LABELS[2:])
    assert folded.folded
    assert "can spell 3 of the language model's 3 words" in caplog.text
    assert "scored otherwise than by pyctcdecode" in caplog.text
    plain = WordModel(WordFolder(_write(tmp_path, WORDS), WordScoring(), ("ab", "ba", "bb")), LABELS[2:])
    assert not plain.folded
    for word in ("ab", "bb", "aab"):
        assert folded.score(folded.start(), word)[0] == pytest.approx(plain.score(plain.start(), word)[0])
        assert folded.score_part(word) == plain.score_part(word)


@pytest.mark.parametrize(
    ("unigrams", "letters", "message"),
    [
        (("ab", "ba"), ("ж", "ы"), "can spell 0 of the language model's 2 words.*expected at least 10%"),
        (("x", "y"), ("a", "b"), "has none of the 2 unigrams beside it; they belong to different models"),
    ],
)
def test_fault_06_a_model_of_other_words_is_refused(tmp_path: Path, monkeypatch, unigrams, letters, message) -> None:
    stand_in(monkeypatch)
    with pytest.raises(ConfigError, match=message):
        WordModel(WordFolder(_write(tmp_path, WORDS), WordScoring(), unigrams), letters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "`beam` is 0; expected at least 1"),
        ({"label_floor": 1.0}, "`label_floor` is 1.0; expected 0 or less"),
        ({"word_bonus": math.nan}, "`word_bonus` is nan; expected a finite number"),
    ],
)
def test_impossible_options_are_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WordOptions(**options)
