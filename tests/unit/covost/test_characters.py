import sys
import unicodedata

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from st.preparation.rows.characters import characters_of
from st.text.characters import may_change
from st.text.sentencepiece_training import normalise_as_model

# Letters, marks that join with them in either order, signs that are only marks, Hangul, and what NFC replaces.
MESSY = (
    "ab \n\te\u0301\u0323\u0302\u0327\u0f71\u0f72\u0bc6\u0bbe\u0bd7\u09c7\u1100\u1161\u11a8\uac00\u212b\u0958\u3099\u304b"
    "\U0001f600]^-\\[&&~"
)


def naive(texts: list[str]) -> set[str]:
    return {character for text in texts for character in unicodedata.normalize("NFC", text) if not character.isspace()}


@settings(deadline=None)
@given(st.lists(st.text(MESSY) | st.text()))
def test_characters_are_those_of_all_texts_composed(texts: list[str]) -> None:
    found = characters_of(pl.Series(texts, dtype=pl.String))
    seen = {character for text in texts for character in normalise_as_model(text) if not character.isspace()}
    # The model knows no rule for a mark between a letter and another mark that joins it; what it leaves is covered.
    assert found == naive(texts) | seen


def test_p17_what_the_rules_of_the_model_leave_uncomposed_is_found() -> None:
    assert characters_of(pl.Series(["r\u0301\u0323", "abc"])) == set("abc\u1e5b\u0301\u0155\u0323")


def test_a_character_that_is_met_late_is_found() -> None:
    texts = ["abc"] * 5000 + ["d"] + ["abc"] * 5000 + ["e\u0301"]
    assert characters_of(pl.Series(texts)) == set("abcdé")


def test_all_characters_that_take_part_in_compositions_are_looked_at() -> None:
    for code_point in range(sys.maxunicode + 1):
        character = chr(code_point)
        parts = unicodedata.normalize("NFD", character)
        if unicodedata.normalize("NFC", parts) != parts:
            assert all(map(may_change, parts[1:])), hex(code_point)
