"""Casing and normalisation of transcripts by language: the one place of both.

CTC labels, error rates and the spelling of language models all come from here. What every language has in common is
told by the text itself (:data:`_EVERYWHERE`); what only some languages have stands in :data:`_ORTHOGRAPHIES`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

from st.text.characters import distinct_characters, may_change
from st.text.languages import has_turkic_casing, subtags

NORMALISATION = (
    "NFC, lower case of the language, punctuation and symbols to spaces save for signs that are letters in a word, "
    "digits as written; Arabic script without vowel marks and tatweel (st.text.normalisation.normalise)"
)
"""What :func:`normalise` does, for reports."""

APOSTROPHES = "'’ʼʻ‘‛`´ʹʾʿ′＇ꞌ"
"""What people type for one."""
_APOSTROPHE = f"[{APOSTROPHES}]"
_LETTER_APOSTROPHES = "[ʼʻʹʾʿꞌ]"
"""Those that Unicode calls letters, which no punctuation rule takes away."""
_NON_JOINER, _JOINER, _MONGOLIAN_SEPARATOR = "\u200c", "\u200d", "\u180e"
_SIGNS = frozenset("·׳״་၌၍၎၏" + _NON_JOINER + _JOINER + _MONGOLIAN_SEPARATOR)
"""Signs that are letters where :data:`_EVERYWHERE` leaves them; four of them are words of Burmese."""
_STAND_INS = {"ʼ": "'’ʻ", "ʻ": "'’ʼ", "׳": "'’", "״": '"”'}
"""What alphabets may have instead of a sign."""

# Arabic script: tatweel only stretches a word; the short vowel marks are written or left out at will.
_ARABIC_DROPPED = frozenset("\u0640\u0670" + "".join(map(chr, range(0x064B, 0x0653))))
_VIRAMA = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d3b\u0d3c\u0d4d\u0dca\u1039\u103a\u17d2\ua953\ua9c0"
_LETTER = r"[^\W_\u0640]"
_ARABIC = "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff"
_HEBREW, _MONGOLIAN, _TIBETAN = r"[א-ת]", r"[\u1820-\u18aa]", r"[\u0f40-\u0f84\u0f86-\u0fbc]"
_CHILLUS = dict(zip("ണനരലളക", "ൺൻർൽൾൿ", strict=True))

_SHAPED, _CHEROKEE = "ĳŀǆǉǌﬀ-ﬆﬓ-ﬗﭐ-ﷻﹰ-ﻼ", "\u13f8-\u13fd\uab70-\uabbf"
_RARE = re.compile(f"[·•‧∙⋅\u0530-\u05ff\u0f00-\u0fff\u0d4d\u180e\u200c\u200d{_SHAPED}{_CHEROKEE}]")
"""Has a text nothing of this, :data:`_EVERYWHERE` does nothing to it."""
_Rule = tuple[str, str | Callable[[re.Match[str]], str]]

_PARTED: _Rule = (f"(?<=[{_ARABIC}])\u200c", " ")
_Compiled = Callable[[str], str]

_EVERYWHERE: tuple[_Rule, ...] = (
    # Letters in a form for one place on paper: ligatures, joined digraphs, shaped Arabic.
    (f"[{_SHAPED}]", lambda match: unicodedata.normalize("NFKC", match[0])),
    # Cherokee is written in what Unicode calls its capitals.
    (f"[{_CHEROKEE}]", lambda match: match[0].upper()),
    # Catalan col·legi, Gascon in·hèrn.
    ("(?<=l)[·•‧∙⋅](?=l)|(?<=[ns])[·•‧∙⋅](?=h)", "·"),
    ("(?<![lns])·|(?<=l)·(?!l)|(?<=[ns])·(?!h)", " "),
    # Hebrew geresh and gershayim; a prefix before a quotation is none.
    (f'(?<={_HEBREW})(?:["”“„](?={_HEBREW}+(?!["”“„א-ת]))|״(?={_HEBREW}))', "״"),
    (f"(?<={_HEBREW}){_APOSTROPHE}(?={_HEBREW})|(?<=[גזצץ]){_APOSTROPHE}(?!{_HEBREW})", "׳"),
    (f"(?<!{_HEBREW})[׳״]|״(?!{_HEBREW})", " "),
    # Tibetan: the tsheg stands between the syllables of a word.
    (f"(?<={_TIBETAN})[་༌](?={_TIBETAN})", "་"),
    (f"(?<!{_TIBETAN})་|་(?!{_TIBETAN})", " "),
    # Armenian marks of stress, call and question stand inside the word.
    ("[\u055b\u055c\u055e]", ""),
    # Malayalam as it was written before its chillu letters had code points.
    (f"([{''.join(_CHILLUS)}])\u0d4d\u200d", lambda match: _CHILLUS[match[1]]),
    # Joiners: spelling beside a virama; between the parts of a word in Arabic script; nothing anywhere else.
    _PARTED,
    (
        f"(?<![{_VIRAMA}{_ARABIC}])\u200c(?![{_VIRAMA}])|(?<![{_VIRAMA}])\u200d(?![{_VIRAMA}])"
        f"|[\u200c\u200d](?!{_LETTER}|[{_VIRAMA}])",
        "",
    ),
    (f"(?<!{_MONGOLIAN})\u180e|\u180e(?!{_MONGOLIAN})", ""),
)
"""Applied in order to text in NFC and lower case; letters of one script have these meanings in all its languages."""


@dataclass(frozen=True, slots=True)
class _Orthography:
    """What a language does otherwise."""

    dotted_i: bool = False
    """Whether ``I`` is the capital of ``ı``, and ``İ`` that of ``i``."""
    apostrophe: str | None = None
    """What an apostrophe becomes inside a word: the letter that it is there, or a space; None: as in any text."""
    begins: str = ""
    """Letters before which an apostrophe may begin a word."""
    ends: str = ""
    """Letters after which it may end one."""
    rules: tuple[_Rule, ...] = ()


_CLICKS: tuple[_Rule, ...] = tuple(
    (f"{typed}(?={_LETTER})", letter) for typed, letter in ((r"\|\|", "ǁ"), (r"\|", "ǀ"), ("!", "ǃ"), ("≠", "ǂ"))
)
_VOWELS = "aeiouāēīōūàèìòù"
_ORTHOGRAPHIES: dict[str, _Orthography] = {
    code: orthography
    for codes, orthography in (
        ("en eng fr fra de deu es spa ca cat fa fas it ita ru rus pt por zh zho ar ara", _Orthography(apostrophe=" ")),
        ("et est mn mon nl nld sv swe lv lav sl slv ta tam ja jpn id ind cy cym", _Orthography(apostrophe=" ")),
        ("tr tur az aze azj crh gag zza diq kiu lzz tt-latn tat-latn kk-latn kaz-latn", _Orthography(dotted_i=True)),
        # The apostrophe parts consonant and vowel, or is a stop, or belongs to the letter before it.
        ("uk ukr be bel rue", _Orthography(apostrophe="ʼ")),
        ("br bre vro", _Orthography(apostrophe="ʼ")),
        ("qu que quy quz ay aym ayr gn grn gug yrl", _Orthography(apostrophe="ʼ")),
        ("yua quc kek cak mam nah nv nav moh ch cha", _Orthography(apostrophe="ʼ")),
        ("so som om orm gaz sw swa swh sn sna ny nya lg lug bem luo", _Orthography(apostrophe="ʼ")),
        ("ha hau", _Orthography(apostrophe="ʼ", begins="y")),
        ("mt mlt", _Orthography(apostrophe="ʼ", ends="aeiou")),
        ("uz uzb uzn kaa", _Orthography(apostrophe="ʼ", rules=((f"(?<=[og]){_APOSTROPHE}", "ʻ"),))),
        ("haw sm smo to ton ty tah rar niu", _Orthography(apostrophe="ʻ", begins=_VOWELS)),
        # t-athair is tAthair with a capital: one word.
        ("ga gle gd gla", _Orthography(rules=((r"(?<![\w-])([tnh])[-‐‑](?=[aeiouáéíóúàèìòù])", r"\1"),))),
        # Points are written or left out at will; in Yiddish they are not.
        ("he iw heb", _Orthography(rules=(("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]", ""),))),
        # Letters that old encodings did not have.
        ("ro ron rum mo", _Orthography(rules=(("ş", "ș"), ("ţ", "ț")))),
        ("ckb", _Orthography(rules=(("ه\u200c", "ە"),))),
        ("naq ktz vaj nmn huc", _Orthography(rules=_CLICKS)),
    )
    for code in codes.split()
}


@lru_cache(maxsize=1024)
def _orthography(language: str | None) -> _Orthography:
    """Look up a language by any of its codes: ``tr``, ``tr-TR``, ``tr_TR``, ``tur``, ``tur_Latn``."""
    if language is None:
        return _Orthography()
    base, *others = subtags(language)
    found = [_ORTHOGRAPHIES[code] for code in (f"{base}-{'-'.join(others)}", base) if code in _ORTHOGRAPHIES]
    return found[0] if found else _Orthography()


def _has_dotted_i(language: str | None) -> bool:
    """Return whether a language's ``i`` and ``ı`` are two letters: one that is known here, or that a data set declares."""
    return language is not None and (_orthography(language).dotted_i or has_turkic_casing(language))


@lru_cache(maxsize=1024)
def _rules(language: str | None, apostrophe: str | None) -> tuple[_Compiled, ...]:
    """Compile what a language does before what all do."""
    spelling = _orthography(language)
    rules: list[_Rule] = []
    if apostrophe == " ":
        rules.append((_LETTER_APOSTROPHES, " "))
    elif apostrophe is not None:
        rules.append((rf"(?<=[\w\u0300-\u036f]){_APOSTROPHE}+(?=\w)", apostrophe))
        if spelling.begins:
            rules.append((rf"(?<!\w){_APOSTROPHE}(?=[{spelling.begins}])(?!\w+{_APOSTROPHE}(?!\w))", apostrophe))
        if spelling.ends:
            rules.append((rf"(?<=[{spelling.ends}]){_APOSTROPHE}(?!\w)", apostrophe))
    return _compiled([*rules, *spelling.rules])


def _compiled(rules: Iterable[_Rule]) -> tuple[_Compiled, ...]:
    return tuple(partial(re.compile(pattern).sub, became) for pattern, became in rules)


_COMMON = _compiled(_EVERYWHERE)
_COMMON_JOINED = _compiled(rule for rule in _EVERYWHERE if rule is not _PARTED)
_SOFT_DOTTED = re.compile("(?<=[ijį])\u0307")


def lower(text: str, language: str | None = None) -> str:
    """Return text in NFC and in the small letters of a language.

    Final sigma is written where a word ends; no dot stays behind that an ``i`` has anyway.
    """
    text = unicodedata.normalize("NFC", text)
    if _has_dotted_i(language):
        text = text.replace("I", "ı").replace("İ", "i")
    return unicodedata.normalize("NFC", _SOFT_DOTTED.sub("", text.lower()))


def upper(text: str, language: str | None = None) -> str:
    """Return text in NFC and in the capitals of a language."""
    if _has_dotted_i(language):
        text = text.replace("i", "İ")
    return unicodedata.normalize("NFC", text.upper())


class _CharacterMap(dict[int, str]):
    """What becomes of each code point; filled as characters are met, because the alphabet is small."""

    def __init__(self, spared: Iterable[str]) -> None:
        super().__init__()
        self._spared = frozenset(spared)

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        category = unicodedata.category(character)
        kept = (category[0] in "LMN" and character not in _ARABIC_DROPPED) or character in self._spared
        spaced = category[0] in "PSZ" or character.isspace()
        self[code_point] = character if kept else " " if spaced else ""
        return self[code_point]


class Alphabet:
    """Letters that texts are spelled with."""

    def __init__(self, letters: Collection[str] | None = None) -> None:
        """Take the letters of a vocabulary, or none for all that any language has.

        Published models have alphabets of their own: capitals only, or an apostrophe among the letters.
        """
        self._letters = letters
        known = _SIGNS if letters is None else letters
        self.upper = any(map(str.isupper, known)) and not any(map(str.islower, known))
        self._apostrophe = next((sign for sign in "'’" if sign in known), None)
        # Without a virama, it is there for Persian and its relatives.
        self._common = _COMMON_JOINED if letters and _NON_JOINER in letters and not {*_VIRAMA} & {*letters} else _COMMON
        self._map = _CharacterMap(known)
        if letters is not None:
            absent = {sign: signs for sign, signs in _STAND_INS.items() if sign not in letters}
            self._map |= {ord(sign): next(filter(known.__contains__, signs), " ") for sign, signs in absent.items()}

    def spell(self, text: str, language: str | None = None) -> str:
        """Bring a text to these letters: :func:`normalise`, in their case, with the signs that are among them."""
        return self._in_case(" ".join(self.prepare(text, language).translate(self._map).split()), language)

    def spell_word(self, word: str, language: str | None = None) -> str | None:
        """Return a single word in these letters; None if something in it is no letter, or nothing is."""
        spelled = self.prepare(word, language).translate(self._map)
        return None if not spelled or " " in spelled else self._in_case(spelled, language)

    def _in_case(self, spelled: str, language: str | None) -> str:
        if self._letters is None:
            return spelled
        if "ς" in spelled and "ς" not in self._letters:
            spelled = spelled.replace("ς", "σ")
        if not self.upper:
            return spelled
        return upper(spelled.replace("ß", "ẞ") if "ẞ" in self._letters else spelled, language)

    def prepare(self, text: str, language: str | None = None) -> str:
        """Do all that looks beyond one character, and nothing across a line end; what is left stands for itself."""
        text = lower(text, language)
        for rule in _rules(language, self._apostrophe_of(language)):
            text = rule(text)
        if _RARE.search(text) is None:
            return text
        return "\n".join(self._prepare_rare(line) if _RARE.search(line) else line for line in text.split("\n"))

    def _prepare_rare(self, line: str) -> str:
        for rule in self._common:
            line = rule(line)
        return unicodedata.normalize("NFC", line)

    def characters(self, texts: Iterable[str], language: str | None = None) -> set[str]:
        """Return the characters of many texts once they are spelled, spaces included; faster than spelling them."""
        text = "\n".join(texts)
        found = distinct_characters(text)
        # Nothing is looked at across a space. Where nothing is looked at across a character, one of each will do.
        parts = {*text.split()} if self._looks_around(found, language) else found
        return set("".join(distinct_characters(self.prepare("\n".join(parts), language))).translate(self._map))

    def _looks_around(self, characters: Collection[str], language: str | None) -> bool:
        """Return whether :meth:`prepare` may change one of these characters because of its neighbours."""
        return (
            _RARE.search("".join(characters)) is not None
            or "Σ" in characters
            or any(map(may_change, characters))
            or self._apostrophe_of(language) not in (None, " ")
            or bool(_orthography(language).rules)
        )

    def _apostrophe_of(self, language: str | None) -> str | None:
        """Return what stands for an apostrophe inside a word."""
        own = _orthography(language).apostrophe
        return self._apostrophe or own if own in (None, " ") else own


_ANY = Alphabet()


def normalise(text: str, language: str | None = None) -> str:
    """Bring a transcript to what is heard: words of letters, marks and digits, separated by single spaces.

    All scripts: NFC; lower case as the language has it (``I`` is ``ı`` in Turkish; ``ß`` stays); punctuation and
    symbols become spaces, hyphens among them, and apostrophes where they are no letters; digits stay as written; control
    and format characters go. Signs that are letters of a word stay: Catalan ``l·l``, Hebrew ``צה״ל``, the Tibetan tsheg,
    the Ukrainian or Breton apostrophe, which has one form then. Arabic script: short vowel marks and tatweel go, the
    zero-width non-joiner becomes a space. Indic scripts: vowel signs stay, and joiners beside a virama. Chinese and
    Japanese: characters stay in a row, as there are no spaces to begin with.

    Args:
        text: As people write it.
        language: Its language by any usual code (``tr``, ``tr-TR``, ``tr_TR``, ``tur``); None where it is not known.
    """
    return _ANY.spell(text, language)
