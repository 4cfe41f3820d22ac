from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path

import pytest
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from st.cli import main
from st.errors import EvaluationError, UsageError
from st.evaluation.scoring.compare import compare, read_system
from st.evaluation.scoring.hypotheses import HypothesisRow, write_hypotheses
from st.evaluation.scoring.resampling import approximate_randomisation

WORDS = [f"word{number}" for number in range(30)]


def rows(seed: int, wrong: float, count: int = 60) -> list[HypothesisRow]:
    """Segments with the same references for every seed; a share of the words of the hypotheses is another one."""
    fixed, noise = random.Random(1), random.Random(seed)
    found = []
    for number in range(count):
        reference = [fixed.choice(WORDS) for _ in range(fixed.randint(5, 11))]
        said = [noise.choice(WORDS) if noise.random() < wrong else word for word in reference]
        found.append(HypothesisRow(f"clip{number}", " ".join(said), " ".join(reference), "source"))
    return found


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Results folders: a baseline, one much better, one much alike with its rows in another order."""
    tables = {"base": rows(2, 0.4), "better": rows(3, 0.15), "alike": rows(4, 0.4)[::-1]}
    for name, table in tables.items():
        for direction in ("fr_en", "en_de") if name != "alike" else ("fr_en",):
            write_hypotheses(tmp_path / name / "hypotheses" / f"{direction}.tsv", table)
    return {name: tmp_path / name for name in tables}


def test_scores_and_p_values_equal_sacrebleus_paired_tests(folders, monkeypatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    found = compare([read_system(str(folders[name])) for name in ("base", "better", "alike")])
    assert list(found.outcomes) == ["fr_en"]
    assert found.left_out == ("en_de",)
    in_order = {
        name: {row.id: row.hypothesis for row in read_system(str(folders[name])).tables["fr_en"]} for name in folders
    }
    base = read_system(str(folders["base"])).tables["fr_en"]
    named = [(name, [texts[row.id] for row in base]) for name, texts in in_order.items()]
    for kind, attribute in (("bs", "p_bootstrap"), ("ar", "p_randomisation")):
        metrics = {"BLEU": BLEU(), "chrF": CHRF(word_order=2)}
        _, golden = PairedTest(named, metrics, [[row.reference for row in base]], test_type=kind)()
        for place, name in enumerate(golden["System"]):
            outcome = found.outcomes["fr_en"][name]
            assert outcome["bleu"].score.value == pytest.approx(golden["BLEU"][place].score)
            assert outcome["chrf"].score.value == pytest.approx(golden["chrF2++"][place].score)
            if place:
                # sacreBLEU sums in float32: a resample on the border may fall to the other side.
                assert getattr(outcome["bleu"], attribute) == pytest.approx(golden["BLEU"][place].p_value, abs=2e-3)
                assert getattr(outcome["chrf"], attribute) == pytest.approx(golden["chrF2++"][place].p_value, abs=2e-3)
    assert found.tally("better", "bleu") == (["fr_en"], [], [])
    assert found.tally("alike", "bleu") == ([], [], ["fr_en"])


def test_the_better_system_for_a_baseline_turns_everything_round(folders) -> None:
    found = compare([read_system(f"new={folders['better']}"), read_system(f"old={folders['base']}")], ["bleu", "ter"])
    assert found.systems == ("new", "old")
    for metric, sign in (("bleu", -1), ("ter", 1)):
        assert all(sign * outcome["old"][metric].difference > 5 for outcome in found.outcomes.values())
        assert found.tally("old", metric) == ([], ["fr_en", "en_de"], [])


def test_equal_hypotheses_are_no_difference(folders) -> None:
    found = compare([read_system(f"a={folders['base']}"), read_system(f"b={folders['base']}")])
    outcome = found.outcomes["fr_en"]["b"]["bleu"]
    assert (outcome.difference, outcome.p_bootstrap, outcome.p_randomisation) == (0.0, 1.0, 1.0)
    assert not outcome.significant


def test_systems_must_have_answered_the_same_questions(folders, tmp_path: Path) -> None:
    base = read_system(str(folders["base"]))
    table = tmp_path / "other" / "fr_en.tsv"
    write_hypotheses(table, rows(3, 0.2)[:-1])
    with pytest.raises(EvaluationError, match=r"fr_en: other against base: 59 hypotheses for 60 references.*clip59"):
        compare([base, read_system(f"other={table.parent}")])
    changed = rows(3, 0.2)
    changed[5] = HypothesisRow("clip5", "x", "another reference", "")
    write_hypotheses(table, changed)
    with pytest.raises(EvaluationError, match="1 references differ, such as that of 'clip5'"):
        compare([base, read_system(f"other={table}")])


def test_what_cannot_be_compared_is_said(folders, tmp_path: Path) -> None:
    base = read_system(str(folders["base"]))
    with pytest.raises(UsageError, match="two or more"):
        compare([base])
    with pytest.raises(UsageError, match="names of their own"):
        compare([base, base])
    with pytest.raises(UsageError, match="no metric rouge"):
        compare([base, read_system(str(folders["better"]))], ["rouge"])
    with pytest.raises(UsageError, match="no such file"):
        read_system("absent")
    (tmp_path / "notes.tsv").write_text("id\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"named after their directions.*notes\.tsv"):
        read_system(str(tmp_path / "notes.tsv"))
    write_hypotheses(tmp_path / "x" / "de_en.tsv", rows(1, 0.1))
    with pytest.raises(EvaluationError, match="no direction in common"):
        compare([base, read_system(str(tmp_path / "x"))])


def test_the_command_in_every_format(folders, capsys, monkeypatch) -> None:
    monkeypatch.setattr(
        "st.evaluation.scoring.compare.approximate_randomisation", partial(approximate_randomisation, num_trials=200)
    )
    systems = [str(folders["base"]), str(folders["better"])]
    assert main(["compare", *systems, "--format", "json", "--published"]) == 0
    first = capsys.readouterr().out
    record = json.loads(first)
    assert record["directions"]["en_de"]["systems"]["better"]["bleu"]["p_bootstrap"] < 0.05
    assert record["directions"]["en_de"]["n"] == 60
    assert "difference" not in record["directions"]["en_de"]["systems"]["base"]["bleu"]
    assert record["averages"]["better"]["all"] > record["averages"]["base"]["all"]
    assert record["published"]["XLS-R 1B"]["bleu"] == {"fr_en": 36.2, "en_de": 26.2}
    assert record["notes"]["published"].endswith("cannot be compared: fr_en (60), en_de (60)")
    assert main(["compare", *systems, "--format", "json", "--published"]) == 0
    assert capsys.readouterr().out == first
    assert main(["compare", *systems, "--published"]) == 0
    text = capsys.readouterr().out
    assert "better: better than base in 2, worse in 0, no difference beyond chance in 0 of 2 directions by BLEU" in text
    assert "cannot be compared: fr_en (60), en_de (60)" in text
    assert main(["compare", *systems, "--format", "markdown", "--metrics", "chrf"]) == 0
    text = capsys.readouterr().out
    assert "## chrF++ against base" in text
    assert r"| en\_de | English → German | 60 | better |" in text


def test_published_figures_alone(capsys) -> None:
    assert main(["compare", "--published-only", "--directions", "en_x"]) == 0
    assert "XMEF-JT" in capsys.readouterr().out
    assert main(["compare", "--published-only", "--format", "json", "--directions", "fr_en"]) == 0
    assert json.loads(capsys.readouterr().out)["XLS-R 2B"]["bleu"] == {"fr_en": 37.6}
    assert main(["compare", "a", "--published-only"]) == 2
    assert main(["compare", "--published-only", "--metrics", "bleu"]) == 2
    assert main(["compare", "--published-only", "--published"]) == 2
    assert "leave out --published, --metrics and --convention" in capsys.readouterr().err
    assert main(["compare"]) == 2
    assert main(["compare", "a", "b", "--published", "--metrics", "ter"]) == 2


def test_only_the_directions_asked_for_are_compared_and_averaged(folders, capsys) -> None:
    systems = [str(folders["base"]), str(folders["better"])]
    for names in ("en_de", "en_x"):
        arguments = ["compare", *systems, "--metrics", "bleu", "--directions", names, "--format", "json", "--published"]
        assert main(arguments) == 0
        record = json.loads(capsys.readouterr().out)
        assert list(record["directions"]) == ["en_de"]
        score = record["directions"]["en_de"]["systems"]["better"]["bleu"]["score"]
        assert record["averages"]["better"] == {"all": score, "en_x": score}
        assert record["published"]["XLS-R 1B"]["bleu"] == {"en_de": 26.2}
        assert record["left_out"] == []
    with pytest.raises(UsageError, match="not every system has de_en; in common are: fr_en en_de"):
        compare([read_system(system) for system in systems], ["bleu"], "fr_en,de_en")
    with pytest.raises(EvaluationError, match="no direction in common in en_x; all that they share: fr_en"):
        compare([read_system(systems[0]), read_system(str(folders["alike"]))], ["bleu"], "en_x")
    assert main(["compare", *systems, "--directions", "nowhere"]) == 2
