from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from st.decoding.alignment.forced import LabelSpan
from st.errors import DecodingError
from st.inference.alignment.word_times import TimedText, join_words, time_words
from st.text.ctc_vocabulary import CtcVocabulary

TEXTS = {"fr": ["l'été déjà zoo"], "ja": ["今日は、いい天気です。"]}
VOCABULARY = CtcVocabulary.build(TEXTS)
CAPITALS = CtcVocabulary({symbol: n for n, symbol in enumerate(("<pad>", "<s>", "</s>", "<unk>", *"|ABC'"))})


def _spoken(path: str, vocabulary: CtcVocabulary = VOCABULARY, sharpness: float = 20.0) -> Tensor:
    """Logits ``(S, C)`` that are sure of one symbol per frame; ``_`` is the blank."""
    labels = [0 if symbol == "_" else vocabulary.symbols.index(symbol) for symbol in path]
    return torch.nn.functional.one_hot(torch.tensor(labels), len(vocabulary)).float() * sharpness


def _times(words: list[TimedText]) -> list[tuple[str, float, float]]:
    return [(word.text, word.start_s, word.end_s) for word in words]


def test_i19_words_keep_their_spelling_and_get_the_times_of_their_letters() -> None:
    logits = _spoken("__ll|_éttéé__|d_éjj_à__|zo_o_")
    words = time_words(logits, "« L'été  déjà » – Zoo!", VOCABULARY, frame_s=0.02)
    assert [word.text for word in words] == ["« L'été", "déjà » –", "Zoo!"]
    assert words[0].start_s == pytest.approx(0.04)
    assert words[0].end_s == pytest.approx(0.02 * 11)
    assert words[1].start_s == pytest.approx(0.02 * 14)
    assert all(word.confidence > 0.99 for word in words)


def test_i19_languages_without_spaces_are_timed_by_character() -> None:
    words = time_words(
        _spoken("_今_日日は|いい天気です_".replace("いい", "い_い")), "今日は、いい天気です。", VOCABULARY, frame_s=0.02
    )
    assert [word.text for word in words] == ["今", "日", "は、", "い", "い", "天", "気", "で", "す。"]
    assert words[1].end_s - words[1].start_s == pytest.approx(0.04)


def test_confidence_is_low_where_the_audio_says_something_else() -> None:
    heard = time_words(_spoken("été|zo_o"), "été zoo", VOCABULARY, frame_s=0.02)
    missed = time_words(_spoken("été|_____"), "été zoo", VOCABULARY, frame_s=0.02)
    assert missed[0].confidence == pytest.approx(heard[0].confidence, abs=1e-3)
    assert missed[1].confidence < 0.01 < 0.99 < heard[1].confidence


def test_confidence_is_the_mean_over_the_frames_of_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = (("é", 0, 1, 0.9), ("t", 2, 5, 0.5), ("|", 5, 6, 0.1), ("z", 8, 9, 0.6), ("o", 9, 10, 0.8))
    spans = [LabelSpan(VOCABULARY.symbols.index(letter), *rest) for letter, *rest in marks]
    monkeypatch.setattr("st.inference.alignment.word_times.align", lambda *_: spans)
    words = time_words(_spoken("_"), "ét zo", VOCABULARY, frame_s=1.0)
    assert _times(words) == [("ét", 0.0, 5.0), ("zo", 8.0, 10.0)]
    assert [word.confidence for word in words] == pytest.approx([0.6, 0.7])


def test_i19_capital_vocabulary_aligns_any_spelling() -> None:
    words = time_words(_spoken("AB'|_C", CAPITALS), "ab' c", CAPITALS, frame_s=0.02)
    assert _times(words) == [("ab'", 0.0, 0.06), ("c", 0.1, 0.12)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no letter"),
        (" … ", "no letter"),
        ("été ωx", "cannot align x ω"),
        ("zoo " * 9, "frames and the audio has 7"),
    ],
)
def test_i19_texts_that_cannot_be_aligned_are_errors(text: str, message: str) -> None:
    with pytest.raises(DecodingError, match=message):
        time_words(_spoken("été|zo_"), text, VOCABULARY, frame_s=0.02)


def test_i19_unknown_letters_can_be_left_out() -> None:
    words = time_words(_spoken("éé__|zo_"), "éω ωω zo", VOCABULARY, frame_s=0.02, skip_unknown=True)
    assert [word.text for word in words] == ["éω ωω", "zo"]
    with pytest.raises(DecodingError, match="no letter"):
        time_words(_spoken("été"), "ωω", VOCABULARY, frame_s=0.02, skip_unknown=True)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="éz今い、 .'«-\n\u3000", max_size=24), st.integers(0, 1000))
def test_i19_times_are_monotone_and_no_letter_is_lost(text: str, seed: int) -> None:
    logits = torch.randn(80, len(VOCABULARY), generator=torch.Generator().manual_seed(seed))
    try:
        words = time_words(logits, text, VOCABULARY, frame_s=0.02)
    except DecodingError:
        assert not VOCABULARY.spell(text)
        return
    assert VOCABULARY.spell(" ".join(word.text for word in words)).replace(" ", "") == VOCABULARY.spell(text).replace(
        " ", ""
    )
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in itertools.pairwise(words))
    assert all(0 <= word.start_s < word.end_s <= 1.6 and 0 <= word.confidence <= 1 for word in words)
    assert all(text[word.place :].startswith(word.text) for word in words)
    segments = join_words(words, text)
    assert segments[0].start_s == words[0].start_s
    assert segments[-1].end_s == words[-1].end_s


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="éz今い、 .'-", max_size=24))
def test_i19_what_is_aligned_is_what_the_head_was_taught(text: str) -> None:
    """The labels that are aligned are those that training would have used for the text."""
    seen: list[list[int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("st.inference.alignment.word_times.align", lambda _, labels: seen.append(list(labels)) or [])
        with contextlib.suppress(DecodingError, IndexError, ZeroDivisionError):
            time_words(torch.zeros(9, len(VOCABULARY)), text, VOCABULARY, frame_s=0.02)
    assert seen == ([VOCABULARY.encode(text)] if VOCABULARY.spell(text) else [])


def test_segments_break_at_pauses_and_where_a_line_is_full() -> None:
    words = [TimedText("ab", 0.0, 0.2, 1.0, 0), TimedText("cd", 0.3, 0.4, 0.5, 3), TimedText("ef", 1.2, 1.4, 0.8, 7)]
    segments = join_words(words, "ab cd, ef")
    assert segments == [TimedText("ab cd", 0.0, 0.4, 0.75, 0), TimedText("ef", 1.2, 1.4, 0.8, 7)]
    text = "word " * 40
    many = [TimedText("word", 0.1 * n, 0.1 * n + 0.05, 1.0, 5 * n) for n in range(40)]
    segments = join_words(many, text)
    assert all(len(segment.text) <= 84 for segment in segments)
    assert len(segments) == 3
