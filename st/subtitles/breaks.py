"""How good a place between two words is for a break: between lines, and between cues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import regex

from st.subtitles.function_words import FunctionWords, function_words
from st.text.languages import is_code, language, subtags


class Break(IntEnum):
    """Places for a break, from the best to the worst."""

    SENTENCE = 0
    """After a sentence."""
    CLAUSE = 1
    """At a semicolon, a colon, a dash."""
    COMMA = 2
    """At a comma, a quotation mark, a bracket."""
    PHRASE = 3
    """Before a conjunction or a preposition; between phrases of scripts without spaces."""
    WORD = 4
    """Between two words."""
    TIGHT = 5
    """Between words that belong together, such as an article and its noun."""
    PART = 6
    """In what may be a word, in scripts without spaces."""
    INSIDE = 7
    """Inside a number or a name."""


COSTS: tuple[float, ...] = (0, 1.5, 2.5, 4, 7, 14, 30, 400)
"""What a break costs, by its place. The last is more than any rule of time, and less than a line that is too long."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# The space is that between a word and a sign that belongs to it, as French has it.
_CLOSING = " \"'”’»›)]}）］｝」』】》〉"
_OPENING = " \"'“‘„«‹([{（［｛「『【《〈¿¡"
_CLAUSE = frozenset(";:；：؛—–፤፥")
_COMMA = frozenset(",，、،፣")
_OPENS_ALONE = "“‘„«‹([{（［｛「『【《〈¿¡"
_CLOSES_ALONE = "”’»›)]}）］｝」』】》〉.,;:!?…،؛؟।॥"
_ENDS = ".!?…。！？؟।॥۔።‼⁇⁈⁉"
_NUMBER_END = regex.compile(r"(?:^|.*[^\p{L}])\d(?:[\d.,:/]*\d)?", regex.DOTALL)
_LONGEST = 40
"""Letters of a word that are looked at for a number."""
_NUMBER_START = regex.compile(r"[-+−±]?\d")
_BEFORE_NUMBERS = _set("no. nr. nº n° № § §§ p. pp. s. fig. abb. art. vol. kap. $ € £ ¥ ₽ ₹ us$ ca. approx.")
_UNITS = _set(
    """% ‰ ° °c °f km m cm mm kg g mg t l ml km/h mph h min s ms hz khz mhz ghz kb mb gb tb w kw mw v € $ £ ¥ ₽ ₹
    eur usd gbp euro euros dollars million millions billion billions thousand hundred trillion millionen
    milliarden milliard milliards millones mil milhões bilhões milioni miliardi miljoen miljard miljoner тысяч
    тысячи миллион миллиона миллионов миллиард миллиардов uhr heures prozent percent"""
)
"""What follows a number and belongs to it, in small letters."""
_ABBREVIATIONS = _set(
    """mr. mrs. ms. dr. prof. st. sr. sra. jr. hr. fr. frl. herr. m. mme. mlle. sig. dott. gen. col. lt. sgt. rev.
    hon. e.g. i.e. z.b. d.h. u.a. bzw. usw. etc. vs. cf. vol. ca. approx. inc. ltd. co. corp. bd. hl. г. т.е.
    т.д. ул. им. dhr. mevr. drs. ir. mag. dipl. ing."""
)
"""Words whose full stop ends no sentence, in small letters."""
_DOTTED_ORDINALS = _set("cs da de et fi hr hu is lb lv nb nn no pl sk sl sr tr lt")
"""Languages that write ordinal numbers with a full stop."""
_PARTICLES = _set("van von der den de da di du del della dos das la le bin ibn al el ter ten zu af")
"""Small words inside names."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What is known of a text before it is divided."""

    words: FunctionWords
    cased: bool
    """Whether small letters and capitals tell where sentences begin."""
    names: bool
    """Whether capitals tell names; not if nearly every word has one."""
    dotted_ordinals: bool

    @classmethod
    def of(cls, tokens: Sequence[str], code: str | None) -> Writing:
        """Look at a text, given as its words, and its language."""
        cased = [token for token in map(_bare, tokens) if token[:1].isupper() or token[:1].islower()]
        capitals = sum(token[0].isupper() for token in cased)
        base = subtags(language(code).code)[0] if code is not None and is_code(code) else ""
        names = len(cased) < 4 or capitals < 0.6 * len(cased)
        return cls(function_words(code), 0 < capitals < len(cased), names, base in _DOTTED_ORDINALS)


def between(tokens: Sequence[str], place: int, writing: Writing) -> Break:
    """Return what kind of place the space behind a word is.

    Args:
        tokens: The words of the text, with their punctuation.
        place: Number of the word; not the last.
        writing: That of the text.
    """
    word, following = tokens[place], tokens[place + 1]
    bare, mark = _split_end(word)
    if _is_number_with(word, following, writing):
        return Break.INSIDE
    small = writing.cased and following[:1].islower()
    abbreviated = mark == "." and _is_abbreviation(word)
    if mark and not abbreviated and not (small and set(mark) <= {".", "…"}):
        return Break.SENTENCE
    if _is_in_name(tokens, place, writing):
        return Break.INSIDE
    if mark and len(mark) > 1:
        return Break.CLAUSE  # an ellipsis, and the sentence goes on
    if abbreviated:
        return Break.TIGHT
    return _at_sign(word, following) or _at_small_words(bare.lower(), _bare(following).lower(), writing.words)


def with_signs(tokens: Sequence[str]) -> list[str]:
    """Join signs that stand alone, as French writes them, to the word that they belong to, with the space between them."""
    joined: list[str] = []
    opened = ""
    for token in tokens:
        if not token.strip(_OPENS_ALONE):
            opened += token + " "
        elif joined and not opened and not token.strip(_CLOSES_ALONE):
            joined[-1] += " " + token
        else:
            joined.append(opened + token)
            opened = ""
    return [*joined, opened.rstrip()] if opened else joined


def at_end(word: str) -> Break:
    """Return what kind of place is behind the last word of a segment, where the speaker paused."""
    return Break.SENTENCE if _split_end(word)[1] else Break.CLAUSE


def _at_sign(word: str, following: str) -> Break | None:
    last = word.rstrip(_CLOSING)[-1:]
    if last in _CLAUSE or following[0] in "—–" or following == "-":
        return Break.CLAUSE
    quoted = len(word) > 1 and word[-1] in _CLOSING
    if last in _COMMA or quoted or (len(following) > 1 and following[0] in _OPENING):
        return Break.COMMA
    return None


def _at_small_words(word: str, following: str, words: FunctionWords) -> Break:
    if word in words.openers or word in words.leaning:
        return Break.TIGHT
    return Break.PHRASE if following in words.openers else Break.WORD


def _split_end(word: str) -> tuple[str, str]:
    """Return a word without signs around it, and the signs of a sentence's end behind it."""
    inner = word.rstrip(_CLOSING)
    return _bare(inner), inner[len(inner.rstrip(_ENDS)) :]


def _bare(word: str) -> str:
    return word.strip(_OPENING + _CLOSING + ".,;:!?…，、。！？；：،؛؟।")


def _is_abbreviation(word: str) -> bool:
    lower = word.lstrip(_OPENING).lower()
    return lower in _ABBREVIATIONS or regex.fullmatch(r"(?:\p{L}\.)+", lower) is not None


def _is_number_with(word: str, following: str, writing: Writing) -> bool:
    """Return whether a number goes on behind the space, or has its unit there."""
    first, second = word[-_LONGEST:].lstrip(_OPENING), following[:_LONGEST].rstrip(_CLOSING + ".,;:!?…")
    if _NUMBER_START.match(following) and (first.lower() in _BEFORE_NUMBERS or _NUMBER_END.fullmatch(first)):
        return True
    if _NUMBER_END.fullmatch(first):
        return second.lower() in _UNITS or (writing.names and _is_capital(second))
    if _NUMBER_START.match(following) and writing.names and word[-1].isalnum() and _is_capital(first):
        return True  # a month and its year, a room and its number
    ordinal = writing.dotted_ordinals and regex.fullmatch(r"\d{1,2}\.", first) is not None
    return ordinal and following[:1].isalpha()


def _is_in_name(tokens: Sequence[str], place: int, writing: Writing) -> bool:
    """Return whether words with capitals, and at most two particles between them, stand around the space."""
    if not writing.names:
        return False
    first, last = place, place + 1
    while first > 0 and place - first < 2 and tokens[first] in _PARTICLES:
        first -= 1
    while last + 1 < len(tokens) and last - place < 3 and tokens[last] in _PARTICLES:
        last += 1
    joined = all(_goes_on(token) for token in tokens[first:last])
    if not joined or last - first > 3 or tokens[last][0] in _OPENING:
        return False
    if last - first > 1 and tokens[first + 1] in writing.words.leaning:
        return False  # an article
    return all(_may_be_name(tokens[end], writing.words) for end in (first, last))


def _goes_on(word: str) -> bool:
    """Return whether no sign behind a word parts it from the next; an initial or a title may have its full stop."""
    return word[-1].isalnum() or (word[-1] == "." and _is_abbreviation(word))


def _may_be_name(word: str, words: FunctionWords) -> bool:
    bare = _bare(word)
    return bare[:1].isupper() and bare.lower() not in words.openers | words.leaning


def _is_capital(word: str) -> bool:
    """Return whether a word of several letters begins with a capital."""
    return word[:1].isupper() and len(word) > 1
