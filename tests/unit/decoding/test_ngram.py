from __future__ import annotations

import base64
import gzip
import itertools
import math
import struct
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from decoding_models import collapse
from ngram_oracle import Arpa, stand_in

from st.decoding.ctc_prefix import PrefixOptions, ctc_prefix_search
from st.decoding.language_model.kenlm import read_words
from st.decoding.language_model.ngram import NgramModel
from st.errors import ConfigError

SYMBOLS, DELIMITER = ("<pad>", "a", "b", "|"), 3

WORDS = """\\data\\
ngram 1=5
ngram 2=4

\\1-grams:
-1.0\t<unk>\t0
-99\t<s>\t-0.3
-0.8\t</s>\t0
-0.6\tab\t-0.2
-0.7\tba\t-0.4

\\2-grams:
-0.2\t<s> ab
-0.9\tab ba
-0.1\tba </s>
-0.5\tba ab

\\end\\
"""
# The same file as KenLM's build_binary writes it, gzipped.
BINARIES = {
    "probing": (
        "H4sIAAAAAAACA8vNTSxQyMlVyCgpKbDS18/OSE1My0zNSdFLzs/VT85PSVVIyy/KTSxRKEstKs7Mz1Mw5WJAgAZ7ILGfEUj8BwKQ"
        "CCNUhglMHrBHFmOF0iwMqAAkXlCnuNeyrRSulhDgyvn+sbb4QTbInh8Xg/9tat2XxAxk369i7f6nLXoQYkfDfhDBwHDs0KyZM/ed"
        "PeMDck/DrJmS9kD2PmNjYyB9Zh/MTI5PTBktG42F09LS9jcWvf1QW13TClK3pve2CHNi2hqQX3G5R7PN/MKeQ80KQPP22pTmZdsx"
        "2BQDsT6QSExiSEpkAAA9PdtmaQEAAA=="
    ),
    "trie": (
        "H4sIAAAAAAACA8vNTSxQyMlVyCgpKbDS18/OSE1My0zNSdFLzs/VT85PSVVIyy/KTSxRKEstKs7Mz1Mw5WJAgAZ7ILGfEUj8BwKQ"
        "CCNUhglMHrBngoqBMCtUjgXJBBi7oE5xr2VbKcOPi8H/NrXuS+LK+f6xtvhB9v0q1u5/2qIHkezcDyIQ/GOHZs2cuQ/GmzVTcv/Z"
        "Mz5wPpANVs8E5RsbGwPlz+xjZkAFLAzYQWZa2idBBoYHx9PSns07c+ZMHYqsTWleth2DTbEdQ2ISg40+kE5KZAAAClPaxFMBAAA="
    ),
}
LETTERS = """\\data\\
ngram 1=6
ngram 2=4

\\1-grams:
-1.5\t<unk>\t0
-99\t<s>\t-0.3
-0.8\t</s>\t0
-0.6\ta\t-0.2
-0.7\tb\t-0.4
-0.9\t|\t-0.1

\\2-grams:
-0.2\ta b
-1.9\ta a
-0.1\tb </s>
-1.5\t<s> a

\\end\\
"""


@pytest.fixture(params=["flashlight", "stand-in"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "flashlight":
        pytest.importorskip("flashlight.lib.text.decoder.kenlm", exc_type=ImportError)
    else:
        stand_in(monkeypatch)
    return request.param


def _write(folder: Path, text: str, name: str = "lm.arpa") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def _texts(path: tuple[int, ...]) -> str:
    return "".join(SYMBOLS[label] for label in collapse(list(path)))


def _units(text: str, by_letter: bool) -> list[str]:
    return list(text) if by_letter else [word for word in text.split("|") if word]


def _brute_force(logits: torch.Tensor, arpa: Arpa, by_letter: bool, weight: float) -> dict[str, float]:
    """The score of every text, all paths listed, whole sentences looked up."""
    log_probs = logits.log_softmax(-1).double()
    totals: dict[str, float] = defaultdict(float)
    for path in itertools.product(range(len(SYMBOLS)), repeat=len(log_probs)):
        totals[_texts(path)] += math.exp(sum(float(log_probs[t, label]) for t, label in enumerate(path)))
    scores = {}
    for text, total in totals.items():
        language = arpa.sentence(_units(text, by_letter)) * math.log(10)
        scores[text] = math.log(total) + weight * language
    return scores


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("content", [WORDS, LETTERS], ids=["words", "letters"])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.5])
def test_i18_language_model_changes_the_winner_as_brute_force_says(tmp_path: Path, content: str, weight: float) -> None:
    path = _write(tmp_path, content)
    model = NgramModel(path, SYMBOLS, DELIMITER)
    assert model.by_letter == (content == LETTERS)
    winners = set()
    for seed in range(4):
        logits = 1.5 * torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
        expected = _brute_force(logits, Arpa(path), model.by_letter, weight)
        options = PrefixOptions(beam=3000, nbest=3000, labels_per_frame=4, model_weight=weight)
        [found] = ctc_prefix_search(logits[None], torch.tensor([5]), options, model=model)
        scores = {"".join(SYMBOLS[label] for label in one.labels): one.score for one in found}
        assert scores == pytest.approx(expected, abs=1e-3)
        best = max(expected, key=lambda text: expected[text])
        assert "".join(SYMBOLS[label] for label in found[0].labels) == best
        winners.add((seed, best))
    plain = {(seed, _winner_without_model(seed)) for seed in range(4)}
    assert (winners == plain) == (weight == 0.0), "the model must matter, or the test shows nothing"


def _winner_without_model(seed: int) -> str:
    logits = 1.5 * torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(seed))
    [[best]] = ctc_prefix_search(logits, torch.tensor([5]), PrefixOptions(beam=3000, labels_per_frame=4))
    return "".join(SYMBOLS[label] for label in best.labels)


@pytest.mark.usefixtures("reader")
def test_forgetting_what_was_scored_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, LETTERS)
    logits = torch.randn(1, 20, 4, generator=torch.Generator().manual_seed(0))
    options = PrefixOptions(beam=16, nbest=16, model_weight=0.7)
    remembering = ctc_prefix_search(logits, torch.tensor([20]), options, model=NgramModel(path, SYMBOLS, DELIMITER))
    monkeypatch.setattr("st.decoding.language_model.ngram._MAX_REMEMBERED", 3)
    forgetful = ctc_prefix_search(logits, torch.tensor([20]), options, model=NgramModel(path, SYMBOLS, DELIMITER))
    assert remembering == forgetful


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(("symbols", "content"), [(("<pad>", "A", "B", "|"), WORDS), (SYMBOLS, WORDS.upper())])
def test_case_of_the_letters_follows_the_file(tmp_path: Path, symbols: tuple[str, ...], content: str) -> None:
    content = content.replace("\\DATA\\", "\\data\\").replace("NGRAM", "ngram").replace("-GRAMS", "-grams")
    content = content.replace("<UNK>", "<unk>").replace("<S>", "<s>").replace("</S>", "</s>").replace("\\END", "\\end")
    model = NgramModel(_write(tmp_path, content), symbols, DELIMITER)
    assert model.score((1, 2), DELIMITER) == pytest.approx(-0.2 * math.log(10), abs=1e-5)


def test_i18_missing_language_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.arpa: no such language model"):
        NgramModel(tmp_path / "none.arpa", SYMBOLS, DELIMITER)
    with pytest.raises(ConfigError, match="no such language model"):
        NgramModel(tmp_path, SYMBOLS, DELIMITER)


def test_i18_missing_library_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder.kenlm", None)
    with pytest.raises(ConfigError, match=r"pip install 'xlsr-st\[lm\]'"):
        NgramModel(_write(tmp_path, WORDS), SYMBOLS, DELIMITER)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe\x00", b"\x1f\x8b broken", b"\\data\\\nngram 1=1\n"])
def test_i18_files_that_are_no_language_model_are_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lm.bin"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"lm\.bin: neither an ARPA file nor a KenLM binary"):
        NgramModel(path, SYMBOLS, DELIMITER)


def test_words_of_all_forms_of_a_file(tmp_path: Path) -> None:
    expected = ["<unk>", "<s>", "</s>", "ab", "ba"]
    path = _write(tmp_path, WORDS)
    assert read_words(path) == expected
    zipped = tmp_path / "lm.arpa.gz"
    zipped.write_bytes(gzip.compress(WORDS.encode()))
    assert read_words(zipped) == expected
    for name in ("probing", "trie"):
        binary = tmp_path / f"{name}.bin"
        binary.write_bytes(gzip.decompress(base64.b64decode(BINARIES[name])))
        assert sorted(read_words(binary)) == sorted(expected)


def test_binary_and_text_score_alike(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", exc_type=ImportError)
    text = NgramModel(_write(tmp_path, WORDS), SYMBOLS, DELIMITER)
    for name in ("probing", "trie"):
        path = tmp_path / f"{name}.bin"
        path.write_bytes(gzip.decompress(base64.b64decode(BINARIES[name])))
        binary = NgramModel(path, SYMBOLS, DELIMITER)
        for labels in ((1, 2), (2, 1), (1, 1), (1, 2, 3, 2, 1)):
            assert binary.score(labels, DELIMITER) == pytest.approx(text.score(labels, DELIMITER), abs=1e-5)
            assert binary.finish(labels) == pytest.approx(text.finish(labels), abs=1e-5)


def test_binary_without_its_words_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lm.bin"
    path.write_bytes(gzip.decompress(base64.b64decode(BINARIES["probing"]))[:-22])
    with pytest.raises(ConfigError, match="without its words"):
        read_words(path)


def _unigrams(folder: Path, probabilities: dict[str, float]) -> Path:
    """KenLM reads nothing below bigrams, so that there is one that says nothing of words."""
    units = {"<unk>": -9, "<s>": -99, "</s>": -1} | probabilities
    lines = [f"{value}\t{word}\t0" for word, value in units.items()]
    head = ["\\data\\", f"ngram 1={len(units)}", "ngram 2=1", "", "\\1-grams:"]
    return _write(folder, "\n".join([*head, *lines, "", "\\2-grams:", "-1\t<s> </s>", "", "\\end\\", ""]))


def _score_of(model: NgramModel, symbols: tuple[str, ...], word: str) -> float:
    return model.score(tuple(map(symbols.index, word)), DELIMITER) / math.log(10)


@pytest.mark.usefixtures("reader")
def test_fault_06_words_are_found_in_the_case_and_form_of_the_head(tmp_path: Path, caplog) -> None:
    small, large = ("<pad>", *"ab|goiıé’"), ("<pad>", *"AB|GOÉI'")
    words = {"Go": -1, "GO": -2, "AB": -4, "ab": -5, "e\u0301": -3, "Ib": -6, "o'b": -7, "b,": -8, "ця": -8}
    path = _unigrams(tmp_path, words)
    with caplog.at_level("INFO"):
        model = NgramModel(path, small, DELIMITER, "tr")
    assert "can spell 7 of the language model's 9 words, not 'b,' 'ця'" in caplog.text
    assert (model.num_spelled, model.num_units) == (7, 9)
    # Written as the head writes it, or else the most probable.
    expected = {"go": -1, "ab": -5, "é": -3, "ıb": -6, "ib": -9, "o’b": -7}
    assert {word: _score_of(model, small, word) for word in expected} == pytest.approx(expected, abs=1e-4)
    model = NgramModel(path, large, DELIMITER)
    expected = {"GO": -2, "AB": -4, "É": -3, "IB": -6, "O'B": -7, "A": -9}
    assert {word: _score_of(model, large, word) for word in expected} == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["слово", "и", "дело", "не"],
            "can spell 0 of the language model's 4 words, not 'слово'.*expected at least 10%",
        ),
        (["ab,", "(ab", "ab.", '"b"'], "0 of the language model's 4 words"),
        (["▁ab", "▁b", "a", "ab", "ba"], "pieces of words"),
        (["a@@", "b@@", "ab", "ba"], "pieces of words"),
        (["<space>", *map(chr, range(0x0430, 0x0450))], "1 of the language model's 33 letters"),
    ],
)
def test_fault_06_a_model_of_other_words_is_refused(tmp_path: Path, monkeypatch, words, message) -> None:
    stand_in(monkeypatch)
    with pytest.raises(ConfigError, match=message):
        NgramModel(_unigrams(tmp_path, dict.fromkeys(words, -1.0)), SYMBOLS, DELIMITER)


def test_fault_06_few_words_are_warned_of(tmp_path: Path, monkeypatch, caplog) -> None:
    stand_in(monkeypatch)
    path = _unigrams(tmp_path, dict.fromkeys(["ab", "cd", "ce"], -1.0))
    NgramModel(path, SYMBOLS, DELIMITER)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "1 of the language model's 3 words, not 'cd' 'ce'" in record.message
    # A letter that the language cannot have is none.
    with pytest.raises(ConfigError, match="0 of"):
        NgramModel(path, ("<pad>", "a", "", "|"), DELIMITER)


def test_fault_03_a_language_model_of_nans_scores_nothing(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", exc_type=ImportError)
    path = tmp_path / "lm.bin"
    content = gzip.decompress(base64.b64decode(BINARIES["probing"]))
    for number in (0.7, 0.8):  # of "ba", and of the end; the table uses the sign for something else
        old = struct.pack("<f", number)
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, struct.pack("<f", math.nan)))
        model = NgramModel(path, SYMBOLS, DELIMITER)
        with pytest.raises(ConfigError, match=r"lm\.bin: the language model holds NaN"):
            _ = model.score((2, 1), DELIMITER), model.finish((1, 1))
    with pytest.raises(ConfigError, match="nan"):
        NgramModel(_write(tmp_path, WORDS.replace("-0.7", "nan")), SYMBOLS, DELIMITER)


def test_fault_17_a_line_of_an_arpa_file_without_a_word_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither an ARPA file nor"):
        NgramModel(_write(tmp_path, WORDS.replace("-0.7", "-0.7\n-1.1")), SYMBOLS, DELIMITER)


def test_fault_17_a_word_that_an_arpa_file_has_twice_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", exc_type=ImportError)
    with pytest.raises(ConfigError, match="cannot read it: Duplicate"):
        NgramModel(_unigrams(tmp_path, {"ab": -1, "ab\t": -1}), SYMBOLS, DELIMITER)
