"""Functions mapped over items in processes, and what is said where an engine cannot work; Ray has tests of its own."""

import os
import time

import pytest

from st.cli import main
from st.engines.engine import Died
from st.engines.local import LocalEngine
from st.engines.ray_cluster import _Place, _require
from st.errors import StError


def square(item):
    """Be slow for the first item, bring the process down for 5, and fail for 7."""
    time.sleep(0.3 * (item == 0))
    if item == 5:
        os.abort()
    if item == 7:
        raise StError("seven")
    return item * item


def test_results_come_in_order_and_what_kills_its_process_is_told_apart():
    items = [0, 1, 2, 5, 3, 4, 6, *range(8, 40)]
    with LocalEngine(2) as engine:
        found = list(engine.map(square, items, lambda _: 20))
    assert [item for item, _ in found] == items
    assert [item for item, result in found if isinstance(result, Died)] == [5]
    assert [result for item, result in found if item != 5] == [item * item for item in items if item != 5]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_is_raised_when_it_is_the_turn_of_its_item(jobs):
    found = []
    with LocalEngine(jobs) as engine, pytest.raises(StError, match=r"^seven$"):
        found.extend(result for _, result in engine.map(square, [1, 2, 7, 3]))
    assert found == [1, 4]


def test_a_process_that_does_not_see_the_files_says_which(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    _require(_Place(str(tmp_path), ("here", "here")))
    with pytest.raises(
        StError, match=r" does not see gone; all machines of the Ray cluster need the sources and the output"
    ):
        _require(_Place(str(tmp_path), ("gone", "here")))
    with pytest.raises(StError, match=r" does not see out; "):
        _require(_Place(str(tmp_path), ("here", "out/.token")))


def test_jobs_are_no_option_of_a_cluster(tmp_path, capsys):
    arguments = ["prepare", str(tmp_path), "--out", str(tmp_path / "out"), "--engine", "ray", "--jobs", "4"]
    assert main(arguments) == 2
    assert (
        "--jobs is for --engine local; with --engine ray a machine has as many processes as" in capsys.readouterr().err
    )
