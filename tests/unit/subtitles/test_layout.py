"""Layout: no cue breaks a rule without being listed, no word is lost, times go on; against brute force and a second counter."""

import itertools
import math
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_segments import LEXICON, dice, segments_of, text_of, timed_words

from st.inference.long.segments import Segment, Word
from st.subtitles.division import Division
from st.subtitles.layers import transcript_layer, translation_layer
from st.subtitles.lines import LineDivider
from st.subtitles.rules import PRESETS, Rules, rules_for
from st.subtitles.track import lay_out

LANGUAGES = sorted(LEXICON)


def bare(text):
    return "".join(text.split())


def width(line, rules):
    """Count halves sign by sign; signs of the lexicon join others as marks, and behind the virama of Hindi."""
    total = 0
    for before, sign in itertools.pairwise(" " + line):
        category, wide = unicodedata.category(sign), unicodedata.east_asian_width(sign)
        if category in ("Mn", "Mc", "Me") or sign == "\u0e33" or before == "\u094d":
            continue
        total += 2 if wide in "WF" or (rules.full_width and wide == "A" and category[0] in "PS") else 1
    return total / 2 if rules.full_width else total


def broken(cue, following, rules, separate):
    """Say which rules a cue breaks, by figures alone."""
    first, shown = rules[0], (cue.end_ms - cue.start_ms) / 1000
    gap = math.inf if following is None else (following.start_ms - cue.end_ms) / 1000
    per_text = [len(lines) for lines in cue.texts]
    found = {
        "lines": (max(per_text) if separate else sum(per_text)) > first.max_lines,
        "short": shown < first.min_s - 0.001,
        "long": shown > first.max_s + 0.001,
        "overlap": gap < 0,
        "gap": 0 <= gap < first.min_gap_s - 0.001,
        "characters": any(
            width(line, of) > of.max_characters for lines, of in zip(cue.texts, rules, strict=True) for line in lines
        ),
        "speed": any(
            sum(width(line, of) for line in lines) > of.max_speed * (shown + 0.001)
            for lines, of in zip(cue.texts, rules, strict=True)
        ),
    }
    return {rule for rule, is_so in found.items() if is_so}


def check(cues, rules, separate=False):
    for number, cue in enumerate(cues):
        following = cues[number + 1] if number + 1 < len(cues) else None
        assert {breach.rule for breach in cue.breaches} - {"divided"} == broken(cue, following, rules, separate)
        assert 0 <= cue.start_ms < cue.end_ms
        assert following is None or cue.end_ms <= following.start_ms
        assert all(line == line.strip() and line for line in cue.lines)


@pytest.mark.parametrize("language", LANGUAGES)
@given(dice=dice)
@settings(max_examples=15)
def test_no_rule_is_broken_without_being_listed_and_no_word_is_lost(language, dice):
    found = segments_of(dice, language)
    rules = rules_for(dice.choice(sorted(PRESETS)), language)
    cues = lay_out(found, [None], [rules])
    check(cues, [rules])
    said = "".join(bare(segment.text) for segment in sorted(found, key=lambda segment: (segment.start, segment.end)))
    assert bare("".join(line for cue in cues for line in cue.lines)) == said


@pytest.mark.parametrize(("language", "target"), [("en", "ja"), ("zh", "de"), ("ar", "hi"), ("th", "ko")])
@pytest.mark.parametrize("separate", [False, True])
@given(dice=dice)
@settings(max_examples=15)
def test_both_texts_of_bilingual_cues_are_whole(language, target, separate, dice):
    found = segments_of(dice, language, target)
    rules = [rules_for("netflix", code) for code in (language, target)]
    cues = lay_out(found, [None, target], rules, separate=separate)
    check(cues, rules, separate)
    ordered = sorted(found, key=lambda segment: (segment.start, segment.end))
    for number, wanted in enumerate(["text", "translations"]):
        said = "".join(
            bare(segment.text if wanted == "text" else segment.translations.get(target, "")) for segment in ordered
        )
        assert bare("".join(line for cue in cues for line in cue.texts[number])) == said


@pytest.mark.parametrize("language", LANGUAGES)
@given(dice=dice)
@settings(max_examples=15)
def test_slow_speech_of_short_words_breaks_no_rule(language, dice):
    """Rules are obeyed, not only told: at half the greatest speed, in a segment of a sentence, nothing stands against them."""
    short = [word for word in LEXICON[language].split() if len(word) < 8 and word.isalpha() and not word[0].isupper()]
    words = dice.choices(short, k=dice.randint(4, 30))
    rules, now, timed = rules_for("netflix", language), 0.0, []
    for word in words:
        lasts = max(0.3, 2 * (width(word, rules) + 1) / rules.max_speed)
        timed.append(Word(now, now + lasts, word))
        now += lasts
    text = (" " if language not in ("zh", "ja") else "").join(words)
    cues = lay_out([Segment(0.0, now, text, tuple(timed), language=language)], [None], [rules])
    assert [cue.breaches for cue in cues if cue.breaches] == []


@given(dice=dice, language=st.sampled_from(["en", "ja", "th"]))
@settings(max_examples=15)
def test_the_division_is_the_cheapest_of_all(dice, language):
    text = text_of(dice, language)[:30].strip() or "a"
    segment = Segment(0.0, 6.0, text, timed_words(dice, text, 0.0, 6.0), language=language)
    layer = transcript_layer(segment)
    layer = type(layer)(layer.units[:8], layer.gaps[: len(layer.units[:8]) + 1], layer.spans[:8])
    rules = Rules(max_characters=8, max_speed=10, min_s=0.5, max_s=2)
    division = Division([layer], [LineDivider(layer.units, rules)], 6.2)
    count = len(layer.units)

    def cost(places):
        total = 0.0
        for first, last in itertools.pairwise([0, *places, count]):
            divider = division.dividers[0]
            if last > first + 1 and divider.length(first, last) > divider.capacity:
                return math.inf  # Only what is the next unit may be too long for a cue.
            total += division.cue_cost((first,), (last,)) + division.cut_cost((last,))
        return total

    ways = [way for size in range(count) for way in itertools.combinations(range(1, count), size)]
    found = [cut[0] for cut in division.best()][1:-1]
    assert cost(found) == pytest.approx(min(map(cost, ways)))


@given(dice=dice, lines=st.integers(1, 3))
@settings(max_examples=20)
def test_lines_are_divided_the_cheapest_way(dice, lines):
    from st.subtitles.units import divide

    units = divide(text_of(dice, "en"))[:9]
    divider = LineDivider(units, Rules(max_characters=dice.randint(6, 40), max_lines=lines))
    cost, places = divider.divide(0, len(units))
    fits = [
        way
        for size in range(lines)
        for way in itertools.combinations(range(1, len(units)), size)
        if all(
            divider.length(first, last) <= divider.rules.max_characters
            for first, last in itertools.pairwise([0, *way, len(units)])
        )
    ]
    if fits:
        assert all(
            divider.length(first, last) <= divider.rules.max_characters
            for first, last in itertools.pairwise([0, *places, len(units)])
        )
        # Text goes on one line where it can.
        assert len(places) == min(map(len, fits)) or cost > 0
    if not places:
        assert divider.lines(0, len(units)) == ([" ".join(unit.text for unit in units)] if units else [])


NUMBERS = "I paid 10 000 dollars on 3 May 2021 to Dr. Smith and 5 % to Ludwig van Beethoven, No. 9."


@pytest.mark.parametrize("characters", [22, 24, 30, 42])
def test_numbers_and_names_stay_on_a_line(characters):
    cues = lay_out(
        [Segment(0.0, 20.0, NUMBERS, language="en")], [None], [rules_for("ted", "en", max_characters=characters)]
    )
    lines = [line for cue in cues for line in cue.lines]
    for whole in ("10 000 dollars", "3 May 2021", "Dr. Smith", "5 %", "Ludwig van Beethoven", "No. 9."):
        assert sum(whole in line for line in lines) == 1, (whole, lines)


def test_what_has_to_be_divided_all_the_same_is_listed():
    text = "heute kam hier der alte Karl Theodor Maria Nikolaus Johann Jacob Philipp Franz und war nicht froh."
    cues = lay_out([Segment(0.0, 9.0, text, language="de")], [None], [rules_for("netflix", "de", max_characters=20)])
    assert any(breach.rule == "divided" for cue in cues for breach in cue.breaches)
    assert all(len(line) <= 20 for cue in cues for line in cue.lines)


def test_a_word_longer_than_a_line_is_listed_and_stays_whole():
    word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk"
    cues = lay_out([Segment(0.0, 9.0, f"Das {word} war alt.", language="de")], [None], [rules_for("netflix", "de")])
    assert any(line == word for cue in cues for line in cue.lines)
    assert [breach.rule for cue in cues for breach in cue.breaches] == ["characters"]


def test_cues_end_at_pauses_of_the_speaker_and_stay_to_be_read():
    said = [Word(0.0, 0.4, "No."), Word(4.0, 4.5, "I"), Word(4.5, 5.0, "agree.")]
    cues = lay_out([Segment(0.0, 5.0, "No. I agree.", tuple(said))], [None], [rules_for("netflix", "en")])
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(0, 834), (4000, 5000)]


def test_a_translation_without_times_follows_the_pauses_of_the_speaker():
    words = (Word(1.0, 2.0, "one"), Word(2.0, 3.0, "two."), Word(6.0, 7.0, "three"), Word(7.0, 9.0, "four."))
    segment = Segment(
        0.5, 10.0, "one two. three four.", words, {"fr": "un deux trois, quatre cinq six."}, language="en"
    )
    layer = translation_layer(segment, "fr")
    assert layer.gaps[0] == (1.0, 1.0)
    assert layer.gaps[-1] == (9.0, 9.0)
    # Of 5 seconds of speech 2 are before the pause: of 31 characters 12.
    comma = next(place for place, unit in enumerate(layer.units, start=1) if unit.text == "trois,")
    assert layer.gaps[comma] == (3.0, 6.0)
    cues = lay_out([segment], ["fr"], [rules_for("netflix", "fr")])
    assert [cue.lines for cue in cues] == [["un deux trois,"], ["quatre cinq six."]]
    assert cues[1].start_ms == 6000


def test_sentences_of_a_translation_are_those_of_the_speaker_if_there_are_as_many():
    words = (Word(0.0, 1.0, "Yes."), Word(2.0, 12.0, "Incomprehensibilities."))
    segment = Segment(0.0, 12.0, "Yes. Incomprehensibilities.", words, {"de": "Aber selbstverständlich. Ach."})
    layer = translation_layer(segment, "de")
    assert layer.gaps[2] == (1.0, 2.0)


@given(dice=dice, language=st.sampled_from(LANGUAGES))
@settings(max_examples=15)
def test_times_of_places_never_go_back(dice, language):
    for segment in segments_of(dice, language, "de"):
        for layer in (transcript_layer(segment), translation_layer(segment, "de")):
            moments = [moment for gap in layer.gaps for moment in gap]
            if len(layer.units) < 2 or layer.spans:
                assert moments == sorted(moments)
            assert all(segment.start - 1e-6 <= moment <= segment.end + 1e-6 for moment in moments)


def test_what_is_too_short_joins_its_neighbour():
    said = [Segment(0.0, 0.2, "Yes.", language="en"), Segment(0.25, 2.5, "I was there, too.", language="en")]
    cues = lay_out(said, [None], [rules_for("netflix", "en")])
    assert [cue.lines for cue in cues] == [["Yes. I was there, too."]]
    others = [said[0], Segment(0.25, 2.5, "I was there, too.", speaker="Bob", language="en")]
    apart = lay_out(others, [None], [rules_for("netflix", "en")])
    assert [cue.lines for cue in apart] == [["Yes."], ["I was there, too."]]
    assert {breach.rule for breach in apart[0].breaches} == {"short", "speed"}


def test_names_are_written_where_another_begins_and_count():
    said = [
        Segment(0.0, 2.0, "Are you there?", speaker="Anna", language="en"),
        Segment(2.1, 4.0, "Is anybody there?", speaker="Anna", language="en"),
        Segment(4.1, 9.0, "I am here and I am going to stay here.", speaker="Bob", language="en"),
    ]
    cues = lay_out(said, [None], [rules_for("netflix", "en")], names=True)
    assert [cue.lines[0].split()[0] for cue in cues] == ["Anna:", "Is", "Bob:"]
    assert all(len(line) <= 42 for cue in cues for line in cue.lines)
