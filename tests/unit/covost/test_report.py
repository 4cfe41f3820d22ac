from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from st.evaluation.covost2 import SIZES
from st.preparation.rows.direction_table import DirectionTable
from st.preparation.stores.measures import HISTOGRAM_BINS, duration_histogram
from st.preparation.tree.histogram import histogram, sparkline
from st.preparation.tree.report import direction_report, markdown, store_report, transcript_report
from st.preparation.tree.report_html import html


def rows(split: str, count: int, reason: str | None = None, flag: str | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "split": [split] * count,
            "n_frames": [16_000 * (number + 1) for number in range(count)],
            "speaker": [f"s{number % 2}" for number in range(count)],
            "src_text": ["abc"] * count,
            "tgt_text": ["abcdef"] * count,
            "reason": pl.Series([reason] * count, dtype=pl.String),
            "flag": pl.Series([flag] * count, dtype=pl.String),
        }
    )


@pytest.fixture
def report() -> dict[str, Any]:
    table = pl.concat([rows("train", 4), rows("train", 2, "silent", "silent"), rows("test", 3, flag="too<long")])
    stores = table.select("split", "n_frames", pl.lit("ok").alias("status"), pl.lit("").alias("flags"))
    direction = DirectionTable(
        "fr_en", Path("covost_v2.fr_en.tsv"), table.with_columns(reason=pl.lit(None, pl.String)), 0, SIZES["fr_en"]
    )
    return {
        "vocabulary": {"text": 100, "ctc": 20},
        "directions": {"fr_en": direction_report(direction, table)},
        "languages": {"fr": {"stores": store_report(stores), "transcripts": transcript_report(table)}},
    }


def test_p33_kept_rows_are_measured_and_dropped_ones_counted(report: dict[str, Any]) -> None:
    train = report["directions"]["fr_en"]["splits"]["train"]
    assert (train["input"], train["kept"], train["dropped"], train["flagged"]) == (6, 4, {"silent": 2}, {})
    assert train["characters"] == 24
    assert train["hours"] == round(10 / 3600, 4)
    assert train["speakers"] == 2
    assert (train["found"], train["expected"]) == (6, 6)
    assert train["seconds"]["max"] == 4.0
    assert report["languages"]["fr"]["transcripts"]["train"]["characters"] == 12
    assert report["directions"]["fr_en"]["splits"]["test"]["flagged"] == {"too<long": 3}


class Page(HTMLParser):
    """Collects the cells of tables, and everything that would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.loaded: list[str] = []
        self.svgs = 0
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.svgs += tag == "svg"
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.loaded += [tag] * (tag in ("script", "link", "iframe", "img"))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "rect", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_the_page_has_the_tables_and_loads_nothing(report: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    text = html(report)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.loaded == []
    assert "@import" not in text
    assert "url(" not in text
    cells = {tuple(row[:2]): row for row in page.rows}
    direction = cells["fr_en", "train"]
    assert direction[2:5] == ["6", "100.0%", "4"]
    assert "silent 2" in direction
    assert "too<long 3" in cells["fr_en", "test"], "text is escaped, and so comes back as it was"
    assert page.svgs == 2 + 2 + 2 + 2, "one per row of the three tables, and one per store"
    assert html(report) == text


def test_markdown_and_page_show_the_same_cells(report: dict[str, Any]) -> None:
    page = Page()
    page.feed(html(report))
    lines = [line for line in markdown(report).splitlines() if line.startswith("| ") and "---" not in line]
    assert len(lines) == len(page.rows)
    for line, row in zip(lines, page.rows, strict=True):
        assert [cell.strip() for cell in line.strip("|").split(" | ")] == [cell.replace(",", "") for cell in row[:-1]]


@pytest.mark.parametrize("draw", [histogram, sparkline])
def test_bars_have_the_height_of_their_counts(draw) -> None:
    counts = [0] * HISTOGRAM_BINS
    counts[2], counts[7], counts[30] = 100, 50, 1
    picture = ET.fromstring(draw(counts, 'clips of <fr> & "en"'))
    bars = list(picture.iter("rect"))
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.1)
    assert heights[2] == 1.0, "a bin that holds anything can be seen"
    lefts = [float(bar.attrib["x"]) for bar in bars]
    assert (lefts[1] - lefts[0]) * 23 == pytest.approx((lefts[2] - lefts[1]) * 5)
    assert [bar[0].text for bar in bars] == ["1 to 1.5 s: 100", "3.5 to 4 s: 50", "15 s and more: 1"]
    assert picture.attrib["aria-label"] == 'clips of <fr> & "en"'
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    assert all(left >= 0 and left + float(bar.attrib["width"]) <= width for left, bar in zip(lefts, bars, strict=True))
    assert all(float(bar.attrib["y"]) + float(bar.attrib["height"]) <= height for bar in bars)


def test_nothing_to_draw_is_an_empty_picture() -> None:
    picture = histogram(duration_histogram(pl.Series([], dtype=pl.Int64)), "none")
    assert "<rect" not in picture
    assert re.search(r">15\+ s<", picture)
