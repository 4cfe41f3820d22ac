"""What is read aloud for what is written."""

from __future__ import annotations

import random
import re

import pytest

from covost.sample import lexicon
from covost.sample.draw import SentenceDrawer
from covost.sample.readings import spoken_text


def test_brackets_and_colons_become_pauses() -> None:
    assert spoken_text("Friday: Swedish (Finland), Dutch (Cuba)", "en") == "Friday, Swedish, Finland, Dutch, Cuba"
    assert spoken_text("lundi : Chili", "fr") == "lundi, Chili"
    assert spoken_text("الخميس: يورو، ين", "ar") == "الخميس, يورو, ين"
    assert spoken_text("6周后：泰米尔语 (巴基斯坦)，日语", "zh-CN") == "6周后, 泰米尔语, 巴基斯坦, 日语"


def test_the_dot_of_a_day_is_not_the_end_of_a_sentence() -> None:
    assert spoken_text("Freitag, 13. Juni", "de") == "Freitag, 13 Juni"


def test_welsh_and_is_said_once() -> None:
    assert spoken_text("Cymru a(c) Chile", "cy") == "Cymru ac Chile"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("4月1日(金曜日)", "しがつついたち, きんようび"),
        ("9月14日", "くがつじゅうよっか"),
        ("12月20日", "じゅうにがつはつか"),
        ("7月17日", "しちがつじゅうななにち"),
        ("20 分", "にじゅっぷん"),
        ("3 分", "さんぷん"),
        ("15 分", "じゅうごふん"),
        ("18 分", "じゅうはっぷん"),
        ("10 か月後", "じゅっかげつご"),
        ("16 か月前", "じゅうろっかげつまえ"),
        ("8 週間前", "はっしゅうかんまえ"),
        ("14 年後", "じゅうよねんご"),
        ("19 時間", "じゅうくじかん"),
        ("13円", "じゅうさんえん"),
        ("14円", "じゅうよえん"),
        ("10米ドル", "じゅうべいどる"),
        ("17ユーロ", "じゅうななゆーろ"),
        ("5 秒", "ごびょう"),
        ("アメリカ合衆国、韓国または日本", "あめりかがっしゅうこく, かんこくまたはにほん"),
        ("中国語 (中国)", "ちゅうごくご, ちゅうごく"),
        ("ノルウェー", "のるうえー"),
    ],
)
def test_japanese_is_read_in_hiragana(written: str, read: str) -> None:
    assert spoken_text(written, "ja") == read


def test_no_japanese_sentence_keeps_a_sign_that_cannot_be_read() -> None:
    drawer = SentenceDrawer(random.Random(2))
    for _ in range(2000):
        spoken = spoken_text(drawer.draw().write("ja"), "ja")
        assert re.fullmatch(r"[ぁ-ゖー, ]+", spoken), spoken


def test_every_date_of_the_corpus_can_be_read_in_japanese() -> None:
    for month in lexicon.MONTHS:
        for day in lexicon.MONTH_DAYS:
            assert re.fullmatch(
                r"[ぁ-ゖ]+がつ[ぁ-ゖ]+, げつようび", spoken_text(lexicon.date(0, month, day, "ja"), "ja")
            )
