"""Intervals and tests against sacreBLEU's own, which hold all resamples in memory at once."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from st.evaluation.scoring import resampling
from st.evaluation.scoring.resampling import approximate_randomisation, confidence_intervals, paired_bootstrap
from st.evaluation.scoring.scores import score_translations, translation_statistics

METRICS = ("bleu", "chrf", "ter")


def corpus(num_segments: int = 45, changed: float = 0.3, seed: int = 1) -> list[str]:
    """Sentences of which some words are replaced; ``changed=0`` gives the references."""
    words = [f"w{number}x" for number in range(40)]
    chosen, noise = random.Random(1), random.Random(seed)
    sentences = [[chosen.choice(words) for _ in range(chosen.randint(3, 12))] for _ in range(num_segments)]
    return [" ".join(noise.choice(words) if noise.random() < changed else word for word in s) for s in sentences]


REFERENCES = corpus(changed=0.0)
BASELINE = corpus(changed=0.4, seed=2)
BETTER = corpus(changed=0.25, seed=3)
SIMILAR = corpus(changed=0.38, seed=4)


def statistics(hypotheses: list[str]):
    found = translation_statistics("en", hypotheses, REFERENCES)
    return [found[name] for name in METRICS]


@pytest.fixture(params=[1 << 22, 50], ids=["at once", "in pieces"])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_CELLS", request.param)


@pytest.mark.usefixtures("_pieces")
def test_e12_intervals_are_those_of_sacrebleu_with_the_same_seed(monkeypatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    ours = confidence_intervals(statistics(BASELINE), 200)
    for interval, metric in zip(ours, (BLEU(), CHRF(word_order=2), TER()), strict=True):
        golden = metric.corpus_score(BASELINE, [REFERENCES], n_bootstrap=200)
        assert (interval.high - interval.low) / 2 == pytest.approx(golden._ci, abs=1e-4)
        assert interval.low < golden._mean < interval.high
        assert interval.low < golden.score < interval.high


def test_e12_intervals_equal_sacrebleus_own_command(tmp_path: Path) -> None:
    for name, lines in (("hyp", BASELINE), ("ref", REFERENCES)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(tmp_path / "ref"), "-i", str(tmp_path / "hyp"), "-w", "4"]
    done = subprocess.run([*command, "--confidence", "--format", "text"], capture_output=True, text=True, check=True)
    # BLEU|…|bs:1000|seed:12345|… = score (μ = mean ± half) …
    half = float(done.stdout.split("±")[1].split(")")[0])
    found = score_translations("en", BASELINE, REFERENCES).intervals["bleu"]
    assert (found.high - found.low) / 2 == pytest.approx(half, abs=2e-4)
    assert "bs:1000|seed:12345" in done.stdout


def test_e12_intervals_are_the_same_every_time_and_ignore_the_environment(monkeypatch) -> None:
    first = score_translations("en", BASELINE, REFERENCES)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    np.random.seed(99)  # noqa: NPY002
    assert score_translations("en", BASELINE, REFERENCES).to_json() == first.to_json()
    assert set(first.intervals) == set(METRICS)
    record = first.to_json()
    assert record["bleu_ci"][0] < record["bleu"] < record["bleu_ci"][1]


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("system", [BETTER, SIMILAR, BASELINE], ids=["better", "similar", "itself"])
@pytest.mark.parametrize(("kind", "ours"), [("bs", paired_bootstrap), ("ar", approximate_randomisation)])
def test_p_values_are_those_of_sacrebleu(kind: str, ours, system: list[str], monkeypatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    metrics = {"BLEU": BLEU(), "chrF++": CHRF(word_order=2), "TER": TER()}
    named = [("baseline", BASELINE), ("system", system)]
    _, golden = PairedTest(named, metrics, [REFERENCES], test_type=kind, n_samples=300)()
    expected = [golden[name][1].p_value for name in ("BLEU", "chrF2++", "TER")]
    found = ours(statistics(BASELINE), statistics(system), 300)
    # sacreBLEU sums in float32: a resample on the border may fall to the other side.
    assert found == pytest.approx(expected, abs=1.01 / 301)
    assert found[0] == expected[0]


def test_a_better_system_is_found_better() -> None:
    # As sacreBLEU has it: no difference is never "as large by chance", so identical systems are told apart beforehand.
    assert approximate_randomisation(statistics(BASELINE), statistics(BASELINE), 500) == [1 / 501] * 3
    better = approximate_randomisation(statistics(BASELINE), statistics(BETTER), 500)
    assert all(p < 0.05 for p in better)


def test_one_segment_has_an_interval_of_no_width() -> None:
    (interval,) = confidence_intervals(statistics(BASELINE)[:1], 50)
    assert interval.low < interval.high
    alone = translation_statistics("en", ["a b c d e"], ["a b c d f"])
    for interval in confidence_intervals(list(alone.values()), 50):
        assert interval.low == interval.high


def test_the_score_of_one_segment_is_sacrebleus_sentence_score() -> None:
    ours = statistics(BASELINE)[1].segments()
    golden = [CHRF(word_order=2).sentence_score(h, [r]).score for h, r in zip(BASELINE, REFERENCES, strict=True)]
    assert ours == pytest.approx(golden, abs=1e-9)
