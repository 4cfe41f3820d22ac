"""A text divided into what is never broken: words, or characters of scripts without spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from st.subtitles.breaks import Break, Writing, at_end, between, with_signs
from st.subtitles.measure import length
from st.subtitles.unspaced import UNSPACED, pieces


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest part of a text that stands on one line."""

    text: str
    space: bool
    """Whether a space stands before it when it does not begin a line."""
    after: Break
    """What kind of place for a break is behind it."""


def plain(text: str) -> str:
    """Return a text on one line, with single spaces, without characters that control a terminal or a parser."""
    kept = "".join(sign if unicodedata.category(sign) not in ("Cc", "Cs") or sign.isspace() else "" for sign in text)
    return " ".join(kept.split())


def divide(text: str, language: str | None = None) -> list[Unit]:
    """Divide a text into units; joined, with their spaces, they are the text as :func:`plain` writes it.

    Args:
        text: A segment's.
        language: Its code, for the small words that lines should not end with; None where it is not known.
    """
    tokens = with_signs(plain(text).split())
    writing = Writing.of(tokens, language)
    units: list[Unit] = []
    for place, token in enumerate(tokens):
        *inner, (last, _) = pieces(token)
        units += [Unit(piece, number == 0 and place > 0, after) for number, (piece, after) in enumerate(inner)]
        final = place + 1 == len(tokens)
        after = at_end(token) if final else _behind(tokens, place, writing)
        units.append(Unit(last, not inner and place > 0, after))
    return units


def _behind(tokens: Sequence[str], place: int, writing: Writing) -> Break:
    """Return what kind of place a space is; in scripts that have none between words, it parts phrases."""
    found = between(tokens, place, writing)
    ends = tokens[place][-2:], tokens[place + 1][0]  # The last sign may be a mark on a letter.
    unspaced = sum(UNSPACED.search(end) is not None for end in ends)
    if found != Break.WORD or not unspaced:
        return found
    if unspaced == 2:
        return Break.COMMA
    return Break.TIGHT if ends[0][-1].isdigit() or ends[1].isdigit() else found


def join(units: Sequence[Unit]) -> str:
    """Write units on one line."""
    return "".join(" " * (unit.space and number > 0) + unit.text for number, unit in enumerate(units))


def follows_space(before: str, behind: str) -> bool:
    """Return whether a space belongs between two texts that were segments of their own."""
    full_width = not before[-1:].isalnum() and length(before[-1:]) == 2
    return not (full_width or UNSPACED.search(before[-1:]) or UNSPACED.search(behind[:1]))
