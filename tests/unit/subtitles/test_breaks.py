"""Places for breaks, rules of presets, and how characters are counted."""

import pytest

from st.errors import ConfigError
from st.subtitles.breaks import Break
from st.subtitles.measure import clusters, length
from st.subtitles.rules import Rules, rules_for
from st.subtitles.units import divide, follows_space, join


def places(text, language=None):
    """Write ``|`` where a break is good, ``_`` where it is bad, ``~`` where it is inside a number or a name."""
    signs = {Break.PART: "_", Break.TIGHT: "_", Break.INSIDE: "~"}
    return "".join(unit.text + signs.get(unit.after, "|") for unit in divide(text, language))[:-1]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Mr. Smith saw the red car.", "en", "Mr.~Smith|saw|the_red|car."),
        ("in New York on 3 May 2021 at noon", "en", "in_New~York|on_3~May~2021|at_noon"),
        ("he paid 10 000 dollars and 5 % of it", "en", "he_paid|10~000~dollars|and_5~%|of_it"),
        ("der Brief von Ursula von der Leyen ging", "de", "der_Brief~von~Ursula~von~der~Leyen|ging"),
        ("am 3. Mai ging er", "de", "am_3.~Mai|ging|er"),
        ("It was 3. Maybe not.", "en", "It_was_3.|Maybe|not."),
        ("well... maybe so", "en", "well...|maybe|so"),
        ("« Vive Charles de Gaulle ! » dit-il : oui", "fr", "« Vive~Charles~de~Gaulle ! »|dit-il :|oui"),
        ("ในปี 2016 เรา", "th", "ใน_ปี_2016_เรา"),
        ("ALL OF THIS IS NEW", "en", "ALL|OF_THIS_IS_NEW"),
        ("東京タワーへ行く。", "ja", "東_京_タ~ワー_へ|行_く。"),
        ("約三百五十人が、「はい」と", "ja", "約_三~百~五~十_人_が、|「は_い」|と"),
        ("2024年的约翰·史密斯", "zh", "2024~年_的|约_翰·~史_密_斯"),
        ("เราไปบ้าน", "th", "เรา_ไป_บ้า_น"),
    ],
    ids=[
        "title",
        "name",
        "number",
        "particles",
        "ordinal",
        "sentence",
        "ellipsis",
        "french",
        "thai-number",
        "capitals",
        "ja",
        "ja-sign",
        "zh",
        "th",
    ],
)
def test_where_a_text_may_be_broken(text, language, expected):
    assert places(text, language) == expected
    assert join(divide(text, language)) == text


def test_characters_are_those_that_people_count():
    family, hindi = "👨‍👩‍👧", "क्षि"
    assert clusters(f"e\u0301{family}{hindi}") == ["e\u0301", family, hindi]
    assert length("e\u0301a\u200b") == 2
    assert length("漢字ab") == 6
    assert length("漢字ab", full_width=True) == 3
    assert length("…“", full_width=True) == 2
    assert length("…“") == 2


@pytest.mark.parametrize(
    ("preset", "language", "figures"),
    [
        ("netflix", "en", (42, 20)),
        ("netflix", "pt-BR", (42, 17)),
        ("netflix", None, (42, 17)),
        ("netflix", "zh-TW", (16, 9)),
        ("netflix", "jpn", (13, 4)),
        ("bbc", "en-GB", (37, 15)),
        ("ted", "fr", (42, 21)),
        ("ted", "ko", (16, 12)),
    ],
    ids=str,
)
def test_presets_follow_the_language(preset, language, figures):
    rules = rules_for(preset, language)
    assert (rules.max_characters, rules.max_speed) == figures
    assert rules_for(preset, language, max_speed=5, min_s=None).max_speed == 5


@pytest.mark.parametrize(
    "change",
    [{"max_characters": 0}, {"max_lines": 1.5}, {"max_speed": float("nan")}, {"min_s": -1}, {"min_s": 9}, {"max_s": 0}],
    ids=str,
)
def test_impossible_rules_are_refused(change):
    with pytest.raises(ConfigError, match=f"`{next(iter(change))}`"):
        Rules(**change)
    with pytest.raises(ConfigError, match="netflix, bbc, ted"):
        rules_for("nobody", "en")


def test_segments_are_joined_as_their_script_is():
    assert follows_space("one", "two")
    assert follows_space("하나", "둘")
    assert not follows_space("一", "二")
    assert not follows_space("一。", "two")
