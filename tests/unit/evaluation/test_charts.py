from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as values

from st.report.charts import Bar, BarChart, Line, LineChart, nice_ticks, standalone, thin_out

SVG = "{http://www.w3.org/2000/svg}"


@given(high=values.floats(min_value=1e-6, max_value=1e9))
def test_ticks_are_few_and_reach_the_highest_value(high: float) -> None:
    ticks = nice_ticks(high)
    assert ticks[0] == 0.0
    assert ticks[-1] >= high * (1 - 1e-9)
    assert 2 <= len(ticks) <= 7


def test_ticks_are_round() -> None:
    assert nice_ticks(63.8) == [0, 20, 40, 60, 80]
    assert nice_ticks(2000) == [0, 500, 1000, 1500, 2000]


@given(count=values.integers(1, 2000), limit=values.integers(2, 300))
def test_thinning_keeps_the_last_point_and_the_limit(count: int, limit: int) -> None:
    points = [(float(x), 1.0) for x in range(count)]
    thinned = thin_out(points, limit)
    assert len(thinned) <= limit or len(thinned) == count
    assert thinned[-1] == points[-1]
    assert all(y == pytest.approx(1.0) for _, y in thinned)


def test_bars_are_as_long_as_their_values() -> None:
    chart = BarChart(
        bars=[Bar("fr → en", 40.0), Bar("<b>", 20.0), Bar("x", math.nan)], name="b", title="BLEU & more"
    ).svg()
    root = ElementTree.fromstring(chart)
    lengths = [float(path.attrib["d"].split("h")[1].split("a")[0]) + 3 for path in root.iter(f"{SVG}path")][:2]
    assert lengths[0] == pytest.approx(2 * lengths[1], rel=0.01)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"40.0", "20.0", "no score", "<b>"} <= set(texts)
    described = root.attrib["aria-labelledby"].split()
    assert {element.attrib.get("id") for element in root} >= set(described)


def test_curves_are_cut_at_stages_and_one_point_is_a_dot() -> None:
    line = Line("train", [(10.0, 5.0), (20.0, 4.0), (30.0, 3.0), (40.0, 2.0), (50.0, 1.0)])
    stages = [("one", 0.0), ("two", 20.0), ("three", 40.0)]
    root = ElementTree.fromstring(LineChart(lines=[line], name="c", title="Loss", stages=stages).svg())
    pieces = [element.attrib["points"].split() for element in root.iter(f"{SVG}polyline")]
    assert [len(piece) for piece in pieces] == [2, 2]
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert {"one", "two", "three"} <= {element.text for element in root.iter(f"{SVG}text")}


def test_values_above_the_ceiling_stay_inside_the_plot() -> None:
    line = Line("train", [(1.0, 1000.0), (2.0, 1.0)])
    root = ElementTree.fromstring(LineChart(lines=[line], name="c", title="Loss", y_max=2.0).svg())
    heights = [float(place.split(",")[1]) for place in next(root.iter(f"{SVG}polyline")).attrib["points"].split()]
    assert min(heights) >= 0


def test_a_chart_file_stands_alone() -> None:
    text = standalone(BarChart(bars=[Bar("a", 1.0)], name="b", title="t").svg())
    root = ElementTree.fromstring(text)
    assert root.find(f"{SVG}style") is not None
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_loss_of_zero_can_be_drawn() -> None:
    ElementTree.fromstring(LineChart(lines=[Line("dev", [(0.0, 0.0)])], name="c", title="t").svg())
