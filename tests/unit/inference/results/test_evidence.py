"""Signs that a text was made up where nobody said it."""

from __future__ import annotations

import pytest

from st.inference.results.decoded import DecodedUtterance, Translation
from st.inference.results.evidence import is_invented, signs


def translated(text: str, score: float = -0.5, transcript: str | None = "word", blank: float = 0.7) -> DecodedUtterance:
    nbest = {"de": [Translation(text, score, False)]}
    return DecodedUtterance(transcript, {"de": text}, nbest, mean_blank=blank)


GOOD = "das ist ein ganz gewöhnlicher Satz"


@pytest.mark.parametrize(
    ("decoded", "speech", "expected"),
    [
        (translated(GOOD), 0.9, []),
        (translated(GOOD), None, []),
        (translated(GOOD), 0.1, ["no voice"]),
        (translated(GOOD, transcript=""), 0.1, ["no voice", "no letter"]),
        (translated(GOOD, transcript=None), 0.9, []),
        (translated(GOOD, blank=0.99), 0.9, ["no letter"]),
        (translated("ja " * 60), 0.9, ["in circles", "too much text"]),
        (translated("nein nein nein nein nein"), 0.9, ["in circles"]),
        (translated("これはとても長い文章なのでこんなに速くは話せないでしょう本当に" * 2), 0.9, ["too much text"]),
        (translated("これは短い文章です"), 0.9, []),
        (translated(GOOD, score=-3.0), 0.05, ["no voice", "unsure"]),
    ],
)
def test_signs_of_texts_that_are_made_up(decoded: DecodedUtterance, speech: float | None, expected: list[str]) -> None:
    assert signs(decoded, 3.0, speech) == expected
    assert is_invented(decoded, 3.0, speech) == (len(expected) >= 2)
