"""The words of the sample corpus, as CLDR writes them in the 22 languages of CoVoST 2.

Every function returns the text of one small thing (a weekday, an amount of money) in one language. Because CLDR
translates the same thing into every language, the texts are true translations of each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

from babel import Locale
from babel.dates import format_timedelta
from babel.lists import format_list
from babel.numbers import get_currency_name, get_currency_unit_pattern
from babel.units import format_unit

from covost.sample.tables import table_rows

ListStyle = Literal["standard", "or"]
Span = Literal["day", "week", "month", "year"]

WEEKDAYS: tuple[int, ...] = tuple(range(7))
"""Monday is 0, as in CLDR through Babel."""
MONTHS: tuple[int, ...] = tuple(range(1, 13))
COUNTS: tuple[int, ...] = tuple(range(2, 21))
"""Numbers of things. They stay small: digits are one sign to write and one or more words to read."""
MONTH_DAYS: tuple[int, ...] = tuple(range(1, 21))
_CODES = {what: tuple(codes.split()) for what, codes in table_rows("words.tsv")}
TERRITORIES = _CODES["territory"]
"""ISO 3166 codes."""
LANGUAGE_NAMES = _CODES["language"]
"""ISO 639 codes of the languages that sentences speak about."""
CURRENCIES = _CODES["currency"]
"""ISO 4217 codes."""
UNITS = _CODES["unit"]
"""CLDR units whose names are words, not signs, in all 22 languages."""
SPANS: dict[Span, int] = {"day": 86400, "week": 7 * 86400, "month": 30 * 86400, "year": 365 * 86400}
"""Units of relative time and their seconds, as Babel counts them."""

COLONS: dict[str, str] = {"fr": " : ", "zh-CN": "：", "ja": "："}
"""What stands between a topic and the rest; ``": "`` elsewhere."""
COMMAS: dict[str, str] = {"zh-CN": "，", "ja": "、", "ar": "، ", "fa": "، "}
"""What stands between two statements; ``", "`` elsewhere."""
# Babel shares one cached alias of the stand-alone names between locales, so that `tr` may answer with the names of
# `zh`, whichever was read first. Only Persian needs them (its format names carry an ezafe) and has its own.
STAND_ALONE_MONTHS = frozenset({"fa"})

_SPACES = re.compile(r"[\u00a0\u202f\u2009\s]+")
_MARKS = re.compile(r"[\u200e\u200f\u061c\u2066-\u2069]")
_DATE_FIELDS = re.compile(r"'([^']*)'|E+|c+|M+|L+|d+")


def clean(text: str) -> str:
    """Turn no-break and narrow spaces into plain ones and drop the marks of writing direction."""
    return _SPACES.sub(" ", _MARKS.sub("", text)).strip()


@cache
def locale(language: str) -> Locale:
    """Return CLDR's data for a CoVoST language code."""
    return Locale.parse(language.replace("-", "_"))


def weekday(day: int, language: str) -> str:
    """Name a day of the week, such as ``Friday``."""
    return clean(str(locale(language).days["format"]["wide"][day]))


def month(number: int, language: str) -> str:
    """Name a month in the form that stands beside a day."""
    form = "stand-alone" if language in STAND_ALONE_MONTHS else "format"
    return clean(str(locale(language).months[form]["wide"][number]))


@cache
def _date_pattern(language: str) -> str:
    """Return the pattern of weekday, day and month; CLDR says to widen the fields of the nearest one it has."""
    skeletons = locale(language).datetime_skeletons
    return str((skeletons.get("MMMMEd") or skeletons["MMMEd"]).pattern)


def date(day: int, month_number: int, month_day: int, language: str) -> str:
    """Write a full date without a year, such as ``Friday, June 13``."""

    def field(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1] or "'"
        letter = match[0][0]
        if letter == "d":
            return str(month_day)
        if letter in "Ec":
            return weekday(day, language)
        # Chinese and Japanese patterns hold the word for month themselves: M is the bare number there.
        return str(month_number) if len(match[0]) < 3 else month(month_number, language)

    return clean(_DATE_FIELDS.sub(field, _date_pattern(language)))


def territory(code: str, language: str) -> str:
    """Name a country."""
    return clean(locale(language).territories[code])


def language_name(code: str, language: str) -> str:
    """Name a language."""
    return clean(locale(language).languages[code])


def language_in(code: str, place: str, language: str) -> str:
    """Name a language as it is spoken in a country, such as ``Swedish (Finland)``.

    It never stands alone: in Indonesian and others many languages bear the name of their country.
    """
    return f"{language_name(code, language)} ({territory(place, language)})"


@cache
def measure(unit: str, number: int, language: str) -> str:
    """Write a number of units, such as ``5 kilometers``."""
    text = format_unit(number, unit, length="long", locale=locale(language))
    short = format_unit(number, unit, length="short", locale=locale(language))
    if unit in text:
        # CLDR leaves out a long form that equals the short one; Babel then falls back to the unit's own id.
        return clean(short)
    if language == "cy" and text == short:
        # CLDR has abbreviations for three and six in Welsh, where the noun after a number is as after four.
        return clean(format_unit(4, unit, length="long", locale=locale(language))).replace("4", str(number))
    return clean(text)


@cache
def amount(currency: str, number: int, language: str) -> str:
    """Write an amount of money, such as ``5 euros``."""
    place = locale(language)
    pattern = get_currency_unit_pattern(currency, number, place)
    return clean(pattern.format(str(number), get_currency_name(currency, number, place)))


@cache
def relative_time(span: tuple[Span, int], number: int, language: str) -> str:
    """Write a relative time: ``in 5 days``, or ``5 days ago`` where the number with the span is -1."""
    unit, sign = span
    delta = sign * number * SPANS[unit]
    return clean(
        format_timedelta(delta, granularity=unit, threshold=10_000, add_direction=True, locale=locale(language))
    )


def enumeration(items: Sequence[str], language: str, style: ListStyle = "standard") -> str:
    """Join items as the language writes a list: with *and* (``standard``) or with *or* (``or``)."""
    return clean(format_list(list(items), style=style, locale=locale(language)))


def territories(codes: Sequence[str], style: ListStyle, language: str) -> str:
    """Join countries, such as ``Brazil, Norway, and Japan``."""
    return enumeration([territory(code, language) for code in codes], language, style)
