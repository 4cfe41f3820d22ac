"""Casing and normalisation by language."""

from __future__ import annotations

import unicodedata

import pytest

from st.text.ctc_vocabulary import CtcVocabulary
from st.text.normalisation import Alphabet, lower, normalise, upper

ZWNJ, ZWJ = "\u200c", "\u200d"


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        *(
            (code, "Işık IRMAK İzmir I\u0307", "ışık ırmak izmir i")
            for code in ("tr", "tr-TR", "tr_TR", "tur", "tur_Latn")
        ),
        *((code, "QIZIL İlham", "qızıl ilham") for code in ("az", "aze", "az_AZ", "az-Latn-AZ", "azj_Latn")),
        ("en", "IT İzmir", "it izmir"),
        ("tt-Latn", "QIZ", "qız"),
        ("tt", "IT", "it"),
        ("lt", "I\u0307\u0300 į\u0307\u0301", unicodedata.normalize("NFC", "i\u0300 į\u0301")),
        ("el", "ΟΔΟΣ ΣΑΣ.", "οδος σας"),
        ("de", "STRAẞE Auf\u200clage", "straße auflage"),
        ("nl", "ĲS ĳs", "ijs ijs"),
        (
            "ga",
            "an tAthair, an t-athair; nÉireann n-éireann T-léine",
            "an tathair an tathair néireann néireann t léine",
        ),
        ("ka", "ᲗᲑᲘᲚᲘᲡᲘ", "თბილისი"),
        ("chr", "ᏣᎳᎩ \uab83", "ᏣᎳᎩ Ꮃ"),
        ("ca", "Col·legi coŀlegi COL•LEGI, a · b", "col·legi col·legi col·legi a b"),
        ("oc", "in·hèrn", "in·hèrn"),
        ("zh-CN", "约翰·史密斯", "约翰 史密斯"),
        *((code, "П'ять п’ять пʼять 'п' « п»", "пʼять пʼять пʼять п п") for code in ("uk", "ukr_Cyrl", "be")),
        ("br", "C'hoar c’hoar", "cʼhoar cʼhoar"),
        ("uz", "O'zbek ma'no TOG' to‘g‘ri", "oʻzbek maʼno togʻ toʻgʻri"),
        ("haw", "'Ōlelo Hawai‘i Hawaiʻi", "ʻōlelo hawaiʻi hawaiʻi"),
        ("haw", "'aloha'", "aloha"),
        ("mt", "Ta' f'Malta", "taʼ fʼmalta"),
        ("ha", "'Yan sana'a", "ʼyan sanaʼa"),
        ("so", "Go'aan", "goʼaan"),
        ("qu", "P’unchay", "pʼunchay"),
        ("gn", "Ñe'ẽ ñe’e\u0303", "ñeʼẽ ñeʼẽ"),
        ("en", "don't don’t donʼt", "don t don t don t"),
        ("he", 'צה"ל צה״ל ג\'ירפה קולג׳ "שלום" ב"הארץ" שָׁלוֹם', "צה״ל צה״ל ג׳ירפה קולג׳ שלום ב הארץ שלום"),
        ("yi", "אַ", "אַ"),
        ("hy", "Ինչո՞ւ։", "ինչու"),
        ("bo", "བོད་ཡིག་ རེད་།", "བོད་ཡིག རེད"),
        ("am", "ሰላም፡ልዑል።", "ሰላም ልዑል"),
        ("my", "မြန်မာ၏။", "မြန်မာ၏"),
        ("th", "กรุง\u200bเทพ", "กรุงเทพ"),
        ("si", f"ශ්{ZWJ}රී {ZWJ}", f"ශ්{ZWJ}රී"),
        ("kn", f"ಸಾಫ್ಟ್{ZWNJ}ವೇರ್{ZWNJ}", f"ಸಾಫ್ಟ್{ZWNJ}ವೇರ್"),
        ("ml", f"അവന്{ZWJ} അവൻ", "അവൻ അവൻ"),
        ("bn", f"র{ZWJ}্যাব", f"র{ZWJ}্যাব"),
        ("fa", f"می{ZWNJ}خواهم", "می خواهم"),
        ("ckb", f"ئه{ZWNJ}مه", "ئەمه"),
        ("ar", "\ufefb ﷺ كـــتاب", "لا صلى الله عليه وسلم كتاب"),
        ("mn-Mong", "ᠡᠷ\u180eᠡ \u180e", "ᠡᠷ\u180eᠡ"),
        ("ro", "Ştiinţă ştiinţa", "știință știința"),
        ("yo", "O\u0323\u0301mo\u0323", "ọ́mọ"),
        ("naq", "!gâ ||a |î", "ǃgâ ǁa ǀî"),
    ],
)
def test_fault_04_casing_and_letters_of_each_language(language: str, text: str, expected: str) -> None:
    assert normalise(text, language) == unicodedata.normalize("NFC", expected)
    assert normalise(normalise(text, language), language) == normalise(text, language)


def test_fault_04_capitals_come_back() -> None:
    assert upper("ışık iz", "tr_TR") == "IŞIK İZ"
    assert lower(upper("ışık iz", "az"), "az") == "ışık iz"
    assert upper("iz") == "IZ"


@pytest.mark.parametrize(
    ("letters", "language", "text", "expected"),
    [
        ("ABCDEFGHIİJKLMNOPRSTUYZÇĞÖŞÜ", "tr", "Işık iz", "IŞIK İZ"),
        ("DONTISHE'", "en", "Don’t ‘he’ donʼt", "DON'T HE DON'T"),
        ("dont", "en", "don’t", "don t"),
        ("пять'", "uk", "п’ять пʼять", "п'ять п'ять"),
        ("пять", "uk", "п’ять", "п ять"),
        ("colegi", "ca", "col·legi", "col legi"),
        ("colegi·", "ca", "col·legi · o", "col·legi o"),
        ("STRAẞE", "de", "Straße", "STRAẞE"),
        ("STRAE", "de", "Straße", "STRASSE"),
        ("οδσ", "el", "ΟΔΟΣ", "οδοσ"),
        ('צהל"', "he", "צה״ל", 'צה"ל'),
        ("ميخواه" + ZWNJ, "fa", f"مي{ZWNJ}خواه", f"مي{ZWNJ}خواه"),
        ("ಸಾಫ್ಟ್ವೇರ", "kn", f"ಫ್ಟ್{ZWNJ}ವೇ", "ಫ್ಟ್ವೇ"),
    ],
)
def test_fault_04_a_vocabulary_keeps_its_own_letters(letters: str, language: str, text: str, expected: str) -> None:
    """Heads trained before, and other people's, have other signs: what they lack is spelled as they learned it."""
    assert Alphabet(set(letters)).spell(text, language) == expected


def test_fault_04_labels_know_the_language() -> None:
    texts = {"tr": ["Işık"], "ca": ["col·legi"], "uk": ["п’ять"]}
    vocabulary = CtcVocabulary.build(texts)
    assert set(vocabulary.symbols[5:]) == {*"ışkcol·egiпʼять"}
    assert vocabulary.decode(vocabulary.encode("IŞIK", "tr"), collapse=False) == "ışık"
    assert vocabulary.decode(vocabulary.encode("Col·legi", "ca"), collapse=False) == "col·legi"
    # Another language with the same head has no such letters.
    assert vocabulary.spell("约翰·史密斯 l'col", "zh-CN") == "约翰 史密斯 l col"
