"""Words go to the speaker whose turns overlap them most; segments and their translations are divided where another begins."""

import pytest
from hypothesis import given, settings
from spoken_segments import dice, segments_of

from st.errors import DecodingError
from st.inference.long.segments import Segment, Word
from st.subtitles.speakers import Turn, assign_speakers, read_rttm, split_by_speaker


def test_rttm_is_read_and_other_lines_are_left_out(tmp_path):
    path = tmp_path / "a.rttm"
    path.write_text(
        "SPKR-INFO talk 1 <NA> <NA> <NA> unknown anna <NA> <NA>\n"
        "SPEAKER talk 1 2.50 1.25 <NA> <NA> bob <NA> <NA>\n\n"
        "SPEAKER talk 1 0.00 2.00 <NA> <NA> anna <NA>\n",
        encoding="utf-8",
    )
    assert read_rttm(path) == [Turn(0.0, 2.0, "anna"), Turn(2.5, 3.75, "bob")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SPEAKER a 1 x 1 <NA> <NA> b <NA> <NA>\n", ":1:"),
        ("SPEAKER a 1 -1 1 <NA> <NA> b <NA> <NA>\n", "expected seconds from 0"),
        ("SPEAKER a 1 nan 1 <NA> <NA> b <NA> <NA>\n", "expected seconds from 0"),
        ("SPEAKER a 1 0 1\n", "expected `SPEAKER"),
        ("SPEAKER a 1 0 1 <NA> <NA> <NA> <NA>\n", "no name of a speaker"),
        ("hello\n", "no SPEAKER lines"),
        ("SPEAKER a 1 0 1 x x b\nSPEAKER b 1 0 1 x x b\n", "2 recordings, a, b"),
    ],
    ids=["letters", "negative", "nan", "short", "unnamed", "none", "several"],
)
def test_damaged_rttm_is_refused(tmp_path, text, found):
    path = tmp_path / "a.rttm"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DecodingError, match=found):
        read_rttm(path, "other")


@given(dice=dice)
@settings(max_examples=40)
def test_each_word_goes_to_whom_it_overlaps_most(dice):
    turns = [
        Turn(start, start + dice.choice([0.1, 1.0, 5.0]), dice.choice("abc"))
        for start in (dice.uniform(0, 20) for _ in range(dice.randint(0, 6)))
    ]
    for segment in assign_speakers(segments_of(dice, "en"), turns):
        for word in segment.words:
            shares = dict.fromkeys("abc", 0.0)
            for turn in turns:
                shares[turn.speaker] += max(0.0, min(turn.end, word.end) - max(turn.start, word.start))
            if max(shares.values()) > 0:
                assert shares[word.speaker] == pytest.approx(max(shares.values()))


@given(dice=dice)
@settings(max_examples=30)
def test_dividing_loses_no_word_and_no_translation(dice):
    before = segments_of(dice, "en", "ja")
    turns = [Turn(0.7 * number, 0.7 * (number + 1), dice.choice("ab")) for number in range(60)]
    marked = assign_speakers(before, turns)
    after = split_by_speaker(marked)
    for kind in (lambda item: item.text, lambda item: item.translations.get("ja", "")):
        assert "".join("".join(map(kind, after)).split()) == "".join("".join(map(kind, before)).split())
    assert [word for segment in after for word in segment.words] == [word for item in marked for word in item.words]
    for segment in after:
        assert segment.end >= segment.start
        # Words may be parts of units here, and signs that stand alone are parts of the unit before them.
        whole = all(word.word in segment.text.split() and word.word != "…" for word in segment.words)
        assert not whole or {word.speaker for word in segment.words} <= {segment.speaker, None}


def test_a_translation_is_divided_between_sentences():
    words = (Word(0.0, 1.0, "Are"), Word(1.0, 2.0, "you?"), Word(2.2, 3.0, "Yes,"), Word(3.0, 4.0, "sure."))
    segment = Segment(0.0, 4.0, "Are you? Yes, sure.", words, {"de": "Bist du das? Ja, sicher."}, language="en")
    turns = [Turn(0.0, 2.1, "Anna"), Turn(2.1, 4.0, "Bob")]
    first, second = split_by_speaker(assign_speakers([segment], turns))
    assert (first.speaker, first.text, first.translations["de"]) == ("Anna", "Are you?", "Bist du das?")
    assert (second.speaker, second.text, second.translations["de"]) == ("Bob", "Yes, sure.", "Ja, sicher.")
    assert (second.start, second.end) == (2.2, 4.0)


def test_words_without_a_text_belong_to_whom_begins():
    words = (Word(0.0, 1.0, "a", speaker="Anna"), Word(1.0, 2.0, "b", speaker="Bob"))
    assert [part.speaker for part in split_by_speaker([Segment(0.0, 2.0, "", words)])] == ["Anna"]
