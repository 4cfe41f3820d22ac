"""Turn written text into what eSpeak NG can read aloud.

eSpeak NG reads most languages as CLDR writes them. Brackets and colons become commas, so that they are heard as
pauses; Japanese is given in hiragana, since eSpeak NG knows no kanji and spells katakana sign by sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PAUSE = re.compile(r"\s*[():：，、،,]+\s*(?:[():：，、،,]+\s*)*")
_ORDINAL_DOT = re.compile(r"(?<=\d)\.")

_DIGITS = ("", "いち", "に", "さん", "よん", "ご", "ろく", "なな", "はち", "きゅう")
_JAPANESE_WORDS: dict[str, str] = {
    "アメリカ合衆国": "あめりかがっしゅうこく",
    "中国人民元": "ちゅうごくじんみんげん",
    "中国": "ちゅうごく",
    "韓国": "かんこく",
    "日本": "にほん",
    "英国": "えいこく",
    "英語": "えいご",
    "米ドル": "べいどる",
    "月曜日": "げつようび",
    "火曜日": "かようび",
    "水曜日": "すいようび",
    "木曜日": "もくようび",
    "金曜日": "きんようび",
    "土曜日": "どようび",
    "日曜日": "にちようび",
    "語": "ご",
    # eSpeak NG takes the u for a long vowel of the syllable before it and stumbles over the small kana.
    "ウェ": "うえ",
    "ウォ": "うお",
    "ティ": "ち",
}
_COUNTERS: dict[str, str] = {
    "か月": "かげつ",
    "週間": "しゅうかん",
    "時間": "じかん",
    "月": "がつ",
    "日": "にち",
    "年": "ねん",
    "分": "ふん",
    "秒": "びょう",
    "円": "えん",
}
_IRREGULAR: dict[tuple[str, int], str] = {
    ("月", 4): "しがつ",
    ("月", 7): "しちがつ",
    ("月", 9): "くがつ",
    ("日", 1): "ついたち",
    ("日", 2): "ふつか",
    ("日", 3): "みっか",
    ("日", 4): "よっか",
    ("日", 5): "いつか",
    ("日", 6): "むいか",
    ("日", 7): "なのか",
    ("日", 8): "ようか",
    ("日", 9): "ここのか",
    ("日", 10): "とおか",
    ("日", 14): "じゅうよっか",
    ("日", 20): "はつか",
    ("年", 4): "よねん",
    ("時間", 4): "よじかん",
    ("時間", 9): "くじかん",
    ("円", 4): "よえん",
}
# Before these counters some numbers lose their last syllable to a doubled consonant.
_DOUBLED: dict[str, dict[int, str]] = {
    "か月": {1: "いっ", 6: "ろっ", 8: "はっ", 10: "じゅっ"},
    "週間": {1: "いっ", 8: "はっ", 10: "じゅっ"},
    "分": {1: "いっ", 6: "ろっ", 8: "はっ", 10: "じゅっ"},
}
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
    doubled = _DOUBLED.get(counter, {})
    if counter == "分" and ones in (0, 1, 3, 4, 6, 8):
        suffix = "ぷん"
    if (counter, ones) in _IRREGULAR and counter in ("年", "時間", "円"):
        return ten + _IRREGULAR[counter, ones]
    if ones == 0:
        return (ten.removesuffix("じゅう") + doubled[10] if 10 in doubled else ten) + suffix
    return ten + doubled.get(ones, _DIGITS[ones]) + suffix


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
