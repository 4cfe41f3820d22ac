from __future__ import annotations

import json
from pathlib import Path

import pytest

from st.cli import main
from st.errors import EvaluationError
from st.evaluation.scoring.latency import Instance, lagging, score_latency


def line(delays: list[float], source: float = 1000, words: int | None = None, **more: object) -> str:
    record = {
        "index": 0,
        "delays": delays,
        "source_length": source,
        "prediction": " ".join("w" * (words or len(delays))),
    }
    return json.dumps(record | more) + "\n"


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_wait_k_lags_by_k_units(tmp_path: Path) -> None:
    """Of n units over n steps of the source, wait-k writes unit i at step i + k - 1: AL is k steps (Ma et al.)."""
    for k in (1, 3, 5):
        delays = [min(100.0 * (i + k), 1000.0) for i in range(10)]
        result = score_latency(write(tmp_path / "log", line(delays)), "en")
        assert result.average_lagging == pytest.approx(100.0 * k)
        assert result.length_adaptive_average_lagging == pytest.approx(100.0 * k)
        assert result.start_offset == pytest.approx(100.0 * k)


def test_writing_everything_at_the_end_lags_by_the_whole_source(tmp_path: Path) -> None:
    result = score_latency(write(tmp_path / "log", line([1000.0] * 7)), "en")
    assert result.average_lagging == pytest.approx(1000.0)
    assert result.average_proportion == pytest.approx(1.0)


def test_too_long_an_output_improves_al_but_not_laal(tmp_path: Path) -> None:
    """By hand: X = 1000, d = 200, 400, 600, 1000, |Y| = 4, |Y*| = 2."""
    log = write(tmp_path / "log", line([200, 400, 600, 1000], reference="a b"))
    result = score_latency(log, "en")
    assert result.average_lagging == pytest.approx((200 + (400 - 500) + (600 - 1000) + (1000 - 1500)) / 4)
    assert result.length_adaptive_average_lagging == pytest.approx((200 + 150 + 100 + 250) / 4)
    assert result.average_proportion_of_output == pytest.approx(2200 / 4000)


def test_units_after_the_end_of_the_source_do_not_count() -> None:
    short, long = Instance((500, 1000), 1000, 4), Instance((500, 1000, 1000, 1000), 1000, 4)
    assert lagging(short, 4) == lagging(long, 4) == (500 + 750) / 2


def test_characters_are_units_where_no_spaces_are_written(tmp_path: Path) -> None:
    log = write(tmp_path / "log", line([100, 200], prediction="你好", reference="你好吗"))
    assert score_latency(log, "zh-CN").n == 1
    with pytest.raises(EvaluationError, match="2 delays for 1 units"):
        score_latency(log, "en")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (line([100, 90]), "log:1: delay 2 is 90 ms after 100 ms; delays never run back"),
        (line([100, 200], words=3), "log:1: 2 delays for 3 units"),
        (line([100, 200], prediction_length=1), "log:1: 2 delays for 1 units"),
        (line([100, 1200]), "1200 ms lies beyond the source of 1000 ms"),
        (line([100, 200]) + "no json\n", "log:2: not a JSON object"),
        (line([100, 200], source=0), "source_length is 0"),
        (line(["100"], words=1), "delays is"),
        (line([-5], words=1), "delays is"),
        (line([10**400], words=1), "delays is"),
        (line([float("nan")], words=1), "delays is"),
        (line([100], words=1, source=10**400), "source_length is 1000"),
        (line([100], words=1, source=5e-324, past_source=True), "source_length is 5e-324"),
        (line([100], prediction_length=10**400), "1 delays for 1000"),
        ("[" * 200_000, "log:1: not a JSON object"),
        (line([], prediction=""), "no instance with any output"),
        ("", "no instance with any output"),
    ],
)
def test_e17_a_log_that_contradicts_itself_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        score_latency(write(tmp_path / "log", content), "en")


def test_e17_delays_beyond_the_source_are_allowed_where_flagged(tmp_path: Path) -> None:
    log = write(tmp_path / "log", line([100, 1200], past_source=True), line([], prediction=""), "\n")
    result = score_latency(log, "en")
    assert (result.n, result.empty) == (1, 1)
    # A first unit later than the whole source lags by its own delay.
    late = score_latency(write(tmp_path / "log", line([1500, 1600], past_source=True)), "en")
    assert late.average_lagging == 1500


def test_e17_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write(tmp_path / "log", line([500, 1000]), line([1000, 1000]))
    assert main(["score", "--latency", str(log), "--target", "de", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "average_lagging_ms": 750.0,
        "length_adaptive_average_lagging_ms": 750.0,
        "differentiable_average_lagging_ms": 750.0,
        "average_proportion": 0.875,
        "average_proportion_of_output": 0.875,
        "start_offset_ms": 750.0,
        "n": 2,
        "empty": 0,
    }
    assert main(["score", "--latency", str(log), "--target", "de"]) == 0
    assert "LAAL, ms" in capsys.readouterr().out
    assert main(["score", "--latency", str(log), "--hyp", str(log), "--target", "de"]) == 2


@pytest.mark.parametrize(
    ("delays", "reference", "expected"),
    [
        # AL, LAAL, DAL, AP by the reference, AP by the output; by hand, and by SimulEval 1.1.4.
        ([200, 400, 600, 1000], "a b", (-200, 175, 212.5, 1.1, 0.55)),
        ([200, 400, 600, 1000], "a b c d e f g h", (362.5, 362.5, 212.5, 0.275, 0.55)),
        ([1000, 1000], None, (1000, 1000, 1000, 1.0, 1.0)),
        ([300, 300, 300, 300], "a b c d", (-75, -75, 300, 0.3, 0.3)),
    ],
)
def test_fault_09_definitions_are_those_of_simuleval(tmp_path: Path, delays, reference, expected) -> None:
    result = score_latency(write(tmp_path / "log", line(delays, reference=reference)), "de")
    found = (
        result.average_lagging,
        result.length_adaptive_average_lagging,
        result.differentiable_average_lagging,
        result.average_proportion,
        result.average_proportion_of_output,
    )
    assert found == pytest.approx(expected)
