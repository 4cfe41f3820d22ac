"""Turn written text into what eSpeak NG can read aloud.

eSpeak NG reads most languages as CLDR writes them. Brackets and colons become commas, so that they are heard as
pauses; Japanese is given in hiragana, since eSpeak NG knows no kanji and spells katakana sign by sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from covost.sample.tables import table_rows

_PAUSE = re.compile(r"\s*[():：，、،,]+\s*(?:[():：，、،,]+\s*)*")
_ORDINAL_DOT = re.compile(r"(?<=\d)\.")

_DIGITS = ("", "いち", "に", "さん", "よん", "ご", "ろく", "なな", "はち", "きゅう")
_ROWS = table_rows("japanese.tsv")
_JAPANESE_WORDS = {written: read for kind, written, _, read in _ROWS if kind == "word"}
"""eSpeak NG takes the u in ``ウェ`` for a long vowel of the syllable before it, and stumbles over small kana."""
_COUNTERS = {written: read for kind, written, _, read in _ROWS if kind == "counter"}
_IRREGULAR = {(written, int(number)): read for kind, written, number, read in _ROWS if kind == "whole"}
"""Counters with their number."""
_DOUBLED = {(written, int(number)): read for kind, written, number, read in _ROWS if kind == "beginning"}
"""Numbers that lose their last syllable to a doubled consonant before a counter."""
_COUNTED = re.compile(r"(\d+)\s*(" + "|".join(_COUNTERS) + ")?")
_JAPANESE_WORD = re.compile("|".join(_JAPANESE_WORDS))
_TO_HIRAGANA = {code: code - 0x60 for code in range(ord("ァ"), ord("ヶ") + 1)}


def _japanese_number(number: int, counter: str | None) -> str:
    """Read a number below 100 with the counter that follows it."""
    if counter is not None and (counter, number) in _IRREGULAR:
        return _IRREGULAR[counter, number]
    tens, ones = divmod(number, 10)
    ten = "" if tens == 0 else ("" if tens == 1 else _DIGITS[tens]) + "じゅう"
    if counter is None:
        return ten + _DIGITS[ones]
    suffix = _COUNTERS[counter]
    if counter == "分" and ones in (0, 1, 3, 4, 6, 8):
        suffix = "ぷん"
    if (counter, ones) in _IRREGULAR and counter in ("年", "時間", "円"):
        return ten + _IRREGULAR[counter, ones]
    if ones == 0:
        whole = _DOUBLED.get((counter, 10), "じゅう")
        return ten.removesuffix("じゅう") + whole + suffix
    return ten + _DOUBLED.get((counter, ones), _DIGITS[ones]) + suffix


def _japanese(text: str) -> str:
    text = _JAPANESE_WORD.sub(lambda match: _JAPANESE_WORDS[match[0]], text)
    text = _COUNTED.sub(lambda match: _japanese_number(int(match[1]), match[2]), text)
    text = text.replace("後", "ご").replace("前", "まえ")
    return text.translate(_TO_HIRAGANA)


_READERS: dict[str, Callable[[str], str]] = {
    "ja": _japanese,
    # CLDR writes both forms of Welsh "and" at once.
    "cy": lambda text: text.replace("a(c)", "ac"),
    # eSpeak NG has lost the sound xiong; these two signs together come near it.
    "zh-CN": lambda text: text.replace("匈", "希用"),
}


def spoken_text(text: str, language: str) -> str:
    """Return what the voice of ``language`` is given to read for ``text``."""
    text = _READERS.get(language, str)(text)
    return _PAUSE.sub(", ", _ORDINAL_DOT.sub("", text)).strip(", ")
