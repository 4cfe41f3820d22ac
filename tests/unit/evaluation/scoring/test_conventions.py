from __future__ import annotations

import json
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from st.cli import main
from st.errors import EvaluationError, UsageError
from st.evaluation.report.published import beside_published
from st.evaluation.scoring.averages import average_groups
from st.evaluation.scoring.compare import compare, read_system
from st.evaluation.scoring.conventions import CONVENTIONS, remove_punctuation
from st.evaluation.scoring.hypotheses import HypothesisRow, write_hypotheses
from st.evaluation.scoring.results import Report
from st.evaluation.scoring.scores import score_translations

HYPOTHESES = ["He didn't say: «Yes!»", "An E-Mail costs $5", "I agree"]
REFERENCES = ["he didn't say yes.", "an e-mail costs 5 $", "I agree..."]
BY_HAND = {
    "tc": (HYPOTHESES, REFERENCES, []),
    "lc": (HYPOTHESES, REFERENCES, ["--lowercase", "--chrf-lowercase"]),
    "rm": (
        ["He didn't say Yes", "An EMail costs 5", "I agree"],
        ["he didn't say yes", "an email costs 5", "I agree"],
        [],
    ),
    "lc.rm": (
        ["he didn't say yes", "an email costs 5", "i agree"],
        ["he didn't say yes", "an email costs 5", "i agree"],
        ["--lowercase", "--chrf-lowercase"],
    ),
}
"""Both sides as a person rewrites them, and the options of sacreBLEU's command that do the rest."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well-known: the U.S.A.", "Wellknown the USA"),
        ("don't  'do'\tit’s", "don't 'do' its"),
        ("¿Qué? ¡No! 50 % — 3 + 4 = $7 €8", "Qué No 50 3 4 7 €8"),
        ("他说：“好。”（笑）", "他说好笑"),
        ("...", ""),
        ("a_b ~c` @d", "ab c d"),
    ],
)
def test_what_is_left_without_punctuation(text: str, expected: str) -> None:
    assert remove_punctuation(text) == expected
    assert remove_punctuation(expected) == expected


@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_every_character_that_perl_calls_punctuation_goes_but_the_apostrophe() -> None:
    program = r'for (0..0x1ffff) { next if $_ > 0xd7ff && $_ < 0xe000 || chr !~ /\p{Assigned}/u; print "$_ ", 0 + (chr =~ /[[:punct:]]/u), "\n" }'
    told = subprocess.run(["perl", "-e", program], capture_output=True, check=True, text=True).stdout
    perl = {chr(int(code)): deleted == "1" for code, deleted in map(str.split, told.splitlines())}
    known = [c for c in perl if unicodedata.category(c) != "Cn" and c != "'"]  # perl and Python may differ in age
    assert sum(perl.values()) > 700
    assert [c for c in known if (remove_punctuation(f"a{c}a") == "aa") != perl[c]] == []


@pytest.mark.parametrize("name", CONVENTIONS)
def test_scores_are_those_of_sacrebleus_command_for_texts_changed_by_hand(tmp_path: Path, name: str) -> None:
    *sides, options = BY_HAND[name]
    for file, texts in zip(("hyp", "ref"), sides, strict=True):
        (tmp_path / file).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", tmp_path / "ref", "-i", tmp_path / "hyp", "-w", "6", "-f", "json"]
    command += ["-m", "bleu", "chrf", "ter", "--chrf-word-order", "2", *options]
    golden = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    result = score_translations("en", HYPOTHESES, REFERENCES, convention=CONVENTIONS[name])
    mark = f"|convention:{name}" if "rm" in name else ""
    for expected, found in zip(golden, (result.bleu, result.chrf, result.ter), strict=True):
        assert found.value == pytest.approx(expected["score"], abs=1e-6), expected["name"]
        assert found.signature == expected["signature"] + mark
    if name == "lc.rm":
        assert (result.bleu.value, result.ter.value, result.length_ratio) == (pytest.approx(100), 0, 1)


def test_references_of_punctuation_alone_are_empty(caplog: pytest.LogCaptureFixture) -> None:
    convention = CONVENTIONS["rm"]
    result = score_translations("en", ["a b", "?"], ["a b", "..."], convention=convention, where="r")
    assert (result.empty_hypotheses, result.empty_references) == (1, 1)
    assert "r: 1 of 2 references are empty" in caplog.text
    with pytest.raises(EvaluationError, match="none of the 1 references has any text"):
        score_translations("en", ["a"], ["!"], convention=convention)


def test_other_tokenizers_follow_the_convention() -> None:
    found = score_translations("zh-CN", ["他昨天说abc。"], ["他昨天说ABC"], convention=CONVENTIONS["lc.rm"]).other_bleu[
        "zh"
    ]
    assert found.value == pytest.approx(100)
    assert found.signature.endswith("|convention:lc.rm")
    assert "|case:lc|" in found.signature


def test_scores_of_two_conventions_are_not_averaged() -> None:
    scores = {
        direction: score_translations("en", HYPOTHESES, REFERENCES, convention=CONVENTIONS[name]).bleu
        for direction, name in (("fr_en", "lc"), ("de_en", "lc.rm"))
    }
    with pytest.raises(EvaluationError, match="different signatures cannot be averaged"):
        average_groups({name: (score.value, score.signature) for name, score in scores.items()})


# -- st score -------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, texts in (("hyp.txt", HYPOTHESES), ("ref.txt", REFERENCES)):
        (tmp_path / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    return ["--hyp", str(tmp_path / "hyp.txt"), "--ref", str(tmp_path / "ref.txt"), "--target", "en"]


def test_score_says_what_was_compared(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *files, "--convention", "lc.rm"]) == 0
    table = capsys.readouterr().out
    assert table.count("|convention:lc.rm") == 3
    assert "convention: lc.rm, lower case, without punctuation but apostrophes (ESPnet)" in table
    for options, name in ((["--convention", "lc.rm"], "lc.rm"), ([], "tc")):
        assert main(["score", *files, "--json", *options]) == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["convention"], "convention" in record["signature"]) == (name, bool(options))


def test_transcripts_have_no_convention(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *files, "--transcripts", "--convention", "lc"]) == 2
    assert "--transcripts goes without --convention" in capsys.readouterr().err


# -- st compare -----------------------------------------------------------------------------------------------------


@pytest.fixture
def evaluations(tmp_path: Path) -> dict[str, str]:
    """Folders of evaluations by three conventions; ``old`` was written before there were any."""
    rows = [HypothesisRow(str(n), *texts, "x") for n, texts in enumerate(zip(HYPOTHESES, REFERENCES, strict=True))]
    for name in ("lc.rm", "tc", "old", "strange"):
        write_hypotheses(tmp_path / name / "hypotheses" / "fr_en.tsv", rows)
        settings = {} if name == "old" else {"convention": name}
        report = {"directions": {"fr_en": {}}, "settings": settings}
        (tmp_path / name / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return {path.name: str(path) for path in tmp_path.iterdir()}


def test_systems_are_compared_by_the_convention_of_their_reports(evaluations: dict[str, str]) -> None:
    table = f"{evaluations['lc.rm']}/hypotheses/fr_en.tsv"
    found = compare([read_system(evaluations["lc.rm"]), read_system(f"other={table}")])
    assert found.outcomes["fr_en"]["other"]["bleu"].score.value == pytest.approx(100)
    assert found.to_json()["convention"] == "lc.rm"
    assert compare([read_system(evaluations[name]) for name in ("tc", "old")]).convention == CONVENTIONS["tc"]


@pytest.mark.parametrize("other", ["tc", "old", "strange"])
def test_figures_of_different_conventions_are_not_compared(evaluations: dict[str, str], other: str) -> None:
    systems = [read_system(evaluations[name]) for name in ("lc.rm", other)]
    with pytest.raises(UsageError, match=r"not scored by one convention .*lc\.rm: lc\.rm.*`convention`"):
        compare(systems)
    found = compare(systems, convention="lc")
    assert "|case:lc|" in found.outcomes["fr_en"][other]["bleu"].score.signature


def test_a_comparison_tells_its_convention(evaluations: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    systems = [evaluations["tc"], evaluations["old"]]
    for layout in ("text", "latex"):
        assert main(["compare", *systems, "--convention", "lc.rm", "--published", "--format", layout]) == 0
        captured = capsys.readouterr().out
        assert "Scored by the convention lc.rm: lower case, without punctuation" in captured
        assert "yours of lower case" in captured
    assert main(["compare", *systems]) == 0
    assert "convention" not in capsys.readouterr().out
    assert main(["compare", *systems[:1], evaluations["lc.rm"]]) == 2
    assert "Give --convention to score all anew" in capsys.readouterr().err


def test_published_figures_stand_beside_the_papers_convention_alone() -> None:
    whole = ["a"] * 14760

    def report(name: str) -> Report:
        result = score_translations("en", whole, whole, convention=CONVENTIONS[name])
        return Report(subset="test", directions={"fr_en": result}, asr={}, settings={"convention": name})

    assert beside_published(report("tc")).comparable == ("fr_en",)
    assert beside_published(report("lc.rm")).comparable == ()
    always = beside_published(report("lc.rm"), "always")
    assert always.comparable == ("fr_en",)
    assert "they cannot be compared" in always.notes["published"]
    assert "published" not in beside_published(report("tc"), "always").notes
