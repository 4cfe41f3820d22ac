"""The words of the sample corpus are CLDR's, in every language."""

from __future__ import annotations

import re
from datetime import date

import pytest
from babel import Locale
from babel.dates import format_date

from covost.sample import lexicon
from st.evaluation.covost2 import CODES
from st.text.languages import language


@pytest.mark.parametrize("code", CODES)
def test_months_weekdays_territories_and_languages_line_up_with_cldr(code: str) -> None:
    place = Locale.parse(code.replace("-", "_"))
    for day in range(7):
        # 1 January 2024 was a Monday.
        assert lexicon.weekday(day, code) == format_date(date(2024, 1, 1 + day), "EEEE", locale=place)
    if code not in lexicon.STAND_ALONE_MONTHS:
        for number in lexicon.MONTHS:
            assert lexicon.month(number, code) == format_date(date(2024, number, 1), "MMMM", locale=place)
    for territory in lexicon.TERRITORIES:
        assert lexicon.territory(territory, code) == place.territories[territory]
    for name in lexicon.LANGUAGE_NAMES:
        assert lexicon.language_name(name, code) == Locale(name).get_language_name(place)


def test_known_translations() -> None:
    """An oracle by hand: what a speaker of the language would write."""
    assert lexicon.date(4, 6, 13, "en") == "Friday, June 13"
    assert lexicon.date(4, 6, 13, "de") == "Freitag, 13. Juni"
    assert lexicon.date(4, 6, 13, "es") == "viernes, 13 de junio"
    assert lexicon.date(4, 6, 13, "fr") == "vendredi 13 juin"
    assert lexicon.date(4, 6, 13, "ca") == "divendres, 13 de juny"
    assert lexicon.date(4, 6, 13, "fa") == "جمعه 13 ژوئن"
    assert lexicon.date(4, 6, 13, "zh-CN") == "6月13日星期五"
    assert lexicon.date(4, 6, 13, "ja") == "6月13日(金曜日)"
    assert lexicon.relative_time(("day", 1), 5, "en") == "in 5 days"
    assert lexicon.relative_time(("week", -1), 2, "sv-SE") == "för 2 veckor sedan"
    assert lexicon.relative_time(("year", -1), 5, "ru") == "5 лет назад"
    assert lexicon.amount("EUR", 5, "sl") == "5 evrov"
    assert lexicon.amount("USD", 12, "fr") == "12 dollars des États-Unis"
    assert lexicon.measure("duration-hour", 3, "ru") == "3 часа"
    assert lexicon.enumeration(["Brazil", "Norway", "Japan"], "en") == "Brazil, Norway, and Japan"
    assert lexicon.enumeration(["Brasil", "Norvegia"], "it", "or") == "Brasil o Norvegia"


@pytest.mark.parametrize("code", CODES)
def test_every_relative_time_keeps_its_span_and_direction(code: str) -> None:
    texts = {(span, sign): lexicon.relative_time((span, sign), 7, code) for span in lexicon.SPANS for sign in (-1, 1)}
    assert len(set(texts.values())) == len(texts)
    assert all("7" in text for text in texts.values())


def test_month_names_do_not_depend_on_the_language_asked_before() -> None:
    """Babel shares one alias of the stand-alone names between locales."""
    for code in ("zh-CN", "tr", "et", "ja", "tr"):
        lexicon.date(0, 6, 3, code)
    assert lexicon.date(4, 6, 3, "tr") == "3 Haziran Cuma"


@pytest.mark.parametrize("code", CODES)
def test_measures_and_amounts_are_words_without_signs(code: str) -> None:
    for number in lexicon.COUNTS:
        for text in (
            *(lexicon.measure(unit, number, code) for unit in lexicon.UNITS),
            *(lexicon.amount(currency, number, code) for currency in lexicon.CURRENCIES),
        ):
            words = re.findall(r"[^\W\d]+", text)
            assert words, text
            assert not re.search(r"[%°/$€£¥]|length-|mass-|volume-|duration-", text), text
            if language(code).script == "Latn":
                assert all(len(word) > 1 or word in ("y", "o") for word in words), text


@pytest.mark.parametrize("code", CODES)
def test_texts_are_clean(code: str) -> None:
    texts = [lexicon.territory(item, code) for item in lexicon.TERRITORIES]
    texts += [lexicon.amount(item, 12, code) for item in lexicon.CURRENCIES]
    texts += [lexicon.date(0, item, 12, code) for item in lexicon.MONTHS]
    texts.append(lexicon.enumeration(texts[:3], code))
    for text in texts:
        assert text == text.strip()
        assert not re.search('[\t\n"\u00a0\u202f\u200e\u200f]|  ', text), ascii(text)
