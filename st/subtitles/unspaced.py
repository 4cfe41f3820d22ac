"""Where words written without spaces may be broken: Chinese, Japanese, Thai, Lao, Khmer, Burmese.

No dictionary is used. What may not begin or end a line follows Unicode's Annex 14; which of the other places is better is
told by the kind of letters: in Japanese a phrase ends where kana gives way to kanji, in Chinese before and after small words.
"""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import regex

from st.subtitles.breaks import Break
from st.subtitles.measure import clusters

UNSPACED = regex.compile(r"[\p{LB=ID}\p{LB=CJ}\p{LB=SA}\p{LB=NS}&&[\p{L}\p{Nl}\p{Lm}ー々〆]]", regex.V1)
"""A letter of a script that writes no space between words."""
_SOUTH_EAST = regex.compile(r"\p{LB=SA}")
_KANA = regex.compile(r"\p{Hiragana}")
_KATAKANA = regex.compile(r"[\p{Katakana}ー・＝]")
_HAN = regex.compile(r"[\p{Han}]")
_NO_START = regex.compile(
    r"[\p{LB=CL}\p{LB=CP}\p{LB=EX}\p{LB=IS}\p{LB=SY}\p{LB=NS}\p{LB=CJ}\p{LB=IN}\p{LB=PO}”’»、。，．]"
)
_NO_END = regex.compile(r"[\p{LB=OP}\p{LB=PR}“‘«]")
_SENTENCE = regex.compile(r"[。！？!?．]")
_CLAUSE = regex.compile(r"[；：;:…—]")
_COMMA = regex.compile(r"[、，,」』】》〉）)”’]")
_NUMERALS = regex.compile(r"[\d〇零一二三四五六七八九十百千万萬億亿兆两兩]")
_COUNTED = regex.compile(r"[\p{Han}\p{LB=PO}]")
_NAME_POINT = regex.compile(r"[·・]")
# Small words of Chinese: a break before the first kind is good, after the second.
_OPENS = frozenset("和与與但而因所如若在是把被从從对對为為并並或就也都还還要会會能可当當虽雖让讓跟向给給由")
_CLOSES = frozenset("的了着著过過们們吗嗎吧呢啊地得说說")
_PARTICLES = frozenset("はがをにでともへのやかねよてばしらり")
_THAI_LEADING = regex.compile(r"[เแโใไເແໂໃໄ]")
_STACKS = ("\u17d2", "\u1039")
"""Behind them the next consonant stands below: of Khmer and of Burmese."""
_ASAT = "\u103a"
"""It closes a syllable of Burmese."""
_THAI_FOLLOWING = regex.compile(r"[ะาำๅๆฯะາຳໆຯ។៕၊။]")


def pieces(word: str) -> list[tuple[str, Break]]:
    """Divide what stands between two spaces, each piece with the kind of place behind it; of the last it means nothing.

    What has no letter of such a script is one piece.
    """
    if not UNSPACED.search(word):
        return [(word, Break.WORD)]
    japanese = _KANA.search(word) is not None
    found: list[tuple[str, Break]] = []
    piece = ""
    for cluster, following in pairwise([*clusters(word), ""]):
        piece += cluster
        place = _between(cluster, following, japanese) if following else Break.WORD
        if place is not None:
            found.append((piece, place))
            piece = ""
    return found


def _between(first: str, second: str, japanese: bool) -> Break | None:
    """Return what kind of place is between two characters; None if there may be no break."""
    if not (UNSPACED.match(first) or UNSPACED.match(second) or _COMMA.match(first) or _SENTENCE.match(first)):
        return None  # in a word of letters, or a number
    if _NO_START.match(second) or _NO_END.match(first):
        return None
    if _SOUTH_EAST.match(first) or _SOUTH_EAST.match(second):
        return _in_south_east(first, second)
    for sign, place in ((_SENTENCE, Break.SENTENCE), (_CLAUSE, Break.CLAUSE), (_COMMA, Break.COMMA)):
        if sign.match(first):
            return place
    if _is_inside(first, second):
        return Break.INSIDE
    return _in_japanese(first, second) if japanese else _in_chinese(first, second)


def _is_inside(first: str, second: str) -> bool:
    """Return whether both are of one number, or of one name or loanword in katakana."""
    if _NUMERALS.match(first) and (_NUMERALS.match(second) or (first[0].isdigit() and _COUNTED.match(second))):
        return True
    katakana = _KATAKANA.match(first) is not None and _KATAKANA.match(second) is not None
    return katakana or _NAME_POINT.match(first) is not None or first == "第"


def _in_japanese(first: str, second: str) -> Break:
    if _KANA.match(second):
        return Break.PART
    if _KANA.match(first):
        return Break.PHRASE if first in _PARTICLES else Break.WORD
    return Break.PART if _HAN.match(first) and _HAN.match(second) else Break.TIGHT


def _in_chinese(first: str, second: str) -> Break:
    if second in _CLOSES:
        return Break.PART
    if second in _OPENS or first in _CLOSES:
        return Break.WORD
    return Break.PART if _HAN.match(first) and _HAN.match(second) else Break.WORD


def _in_south_east(first: str, second: str) -> Break | None:
    if _THAI_FOLLOWING.match(second) or _THAI_LEADING.match(first):
        return None
    if first.endswith(_STACKS) or _ASAT in second or unicodedata.category(second[0]).startswith("M"):
        return None
    if not (_SOUTH_EAST.match(first) and _SOUTH_EAST.match(second)):
        return Break.TIGHT
    return Break.TIGHT if _THAI_LEADING.match(second) else Break.PART
