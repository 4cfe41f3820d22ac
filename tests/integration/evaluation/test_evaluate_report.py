"""The report of an evaluation, and its command, around a decoder whose answers are known."""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from evaluation_oracle import (  # noqa: F401
    CONFIG,
    DIRECTIONS,
    NUM_CLIPS,
    Oracle,
    command_fixture,
    data_fixture,
)

import st.inference
from st.audio.reading import read_bytes
from st.cli import main
from st.data.manifest import read_manifest, write_manifest
from st.errors import EvaluationError
from st.evaluation.covost2 import SIZES
from st.evaluation.evaluate import evaluate
from st.evaluation.report.examples import NO_CLIPS, choose_examples, collect_clips
from st.evaluation.report.tables import asr_table
from st.evaluation.scoring import scores
from st.evaluation.scoring.hypotheses import read_hypotheses
from st.text.languages import LANGUAGES


class _Page(HTMLParser):
    """Collects the tags of a page, and checks that every element is closed."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def test_the_page_is_well_formed_self_contained_and_escapes_texts(data: Path, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    lines = [
        {"epoch": 1, "dev_loss": str(9 - n), "dev_bleu": str(n), "dev_wer": "80", "dev_num_updates": str(10 * n)}
        for n in (1, 2, 3)
    ]
    log.write_text("".join(f"x | INFO | dev | {json.dumps(line)}\n" for line in lines), encoding="utf-8")
    evaluate(Oracle(wrong=[1]), data, DIRECTIONS, tmp_path / "out", replace(CONFIG, train_logs=[log]))
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert not {"link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name in ("src", "href", "srcset")]
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert "fetch(" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    clips = json.loads(text.split('id="clips">')[1].split("</script>")[0])
    shown = [attributes["data-clip"] for tag, attributes in page.tags if tag == "audio"]
    assert set(shown) == set(clips)
    # English recordings are shown in two directions and held once; everything is the stored file itself.
    assert len(shown) == 18 > len(clips) == 2 * NUM_CLIPS
    held = {base64.b64decode(clip.removeprefix("data:audio/flac;base64,")) for clip in clips.values()}
    slices = {row.audio for direction in DIRECTIONS for row in read_manifest(data / f"test_{direction}.tsv")}
    assert held == {read_bytes(data / name) for name in slices}
    assert text.count('<span class="flag">empty</span>') == 3
    assert "url(" not in text
    assert "@import" not in text
    assert "Train number 0 leaves tomorrow <morning> & goes far." in page.text
    assert "<morning>" not in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 5
    for chart in charts:
        assert chart["role"] == "img"
        assert set(str(chart["aria-labelledby"]).split()) <= set(ids)
    assert "prefers-color-scheme:dark" in text


def test_clips_can_be_left_out_and_missing_ones_do_no_harm(data: Path, tmp_path: Path, caplog) -> None:
    evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", replace(CONFIG, clip_megabytes=0.0))
    assert "<audio" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    evaluate(Oracle(), data, DIRECTIONS, tmp_path / "all", replace(CONFIG, clip_megabytes=math.inf))
    assert (tmp_path / "all" / "report.html").read_text(encoding="utf-8").count("<audio") == 18
    examples = {"fr_en": choose_examples(read_hypotheses(tmp_path / "out" / "hypotheses" / "fr_en.tsv"))}
    names = {("fr_en", example.row.id): "audio/none.wav" for _, example in examples["fr_en"].named()}
    assert collect_clips(data, examples, names) == NO_CLIPS
    assert "no player in the report" in caplog.text
    (data / "audio" / "none.wav").write_bytes(b"no sound at all")
    assert collect_clips(data, examples, names) == NO_CLIPS


def test_the_report_counts_and_lists_what_is_suspicious(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = evaluate(Oracle(wrong=[1, 4]), data, DIRECTIONS, out, CONFIG)
    assert [result.flags["empty"] for result in report.directions.values()] == [2, 2, 2]
    record = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert record["directions"]["en_de"]["flags"]["empty"] == 2
    assert 0.6 < record["directions"]["en_de"]["length_ratio"] < 0.7
    assert record["notes"]["intervals"] == "95 % percentile bootstrap, 1000 resamples of segments, seed 12345"
    lines = (out / "flags.tsv").read_text(encoding="utf-8").splitlines()
    assert lines == ["direction\tid\tflags", *(f"{d}\t{d[:2]}{n}\tempty" for d in DIRECTIONS for n in (1, 4))]


def test_published_figures_stand_only_beside_whole_test_sets(data: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    assert evaluate(Oracle(), data, DIRECTIONS, out, CONFIG).comparable == ()
    assert "XLS-R 2B" not in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["published"] == {}
    monkeypatch.setitem(SIZES, "fr_en", (0, 0, NUM_CLIPS))
    assert evaluate(Oracle(), data, DIRECTIONS, out, CONFIG).comparable == ("fr_en",)
    record = json.loads((out / "report.json").read_text(encoding="utf-8"))["published"]
    assert record["XLS-R 2B"]["bleu"] == {"fr_en": 37.6}
    assert record["XLS-R 2B"]["sources"] == ["arXiv:2111.09296 X-to-En table"]
    assert "XMEF-JT" not in record
    assert "cannot be compared" not in (out / "report.md").read_text(encoding="utf-8")
    for name in ("report.html", "report.md"):
        assert "XLS-R 2B" in (out / name).read_text(encoding="utf-8")
    assert evaluate(Oracle(), data, DIRECTIONS, out, replace(CONFIG, published="never")).comparable == ()
    assert evaluate(Oracle(), data, DIRECTIONS, out, replace(CONFIG, published="always")).comparable == DIRECTIONS
    caveat = "published ones cannot be compared: en_de (6), en_zh-CN (6)"
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["notes"]["published"].endswith(caveat)
    page, text = ((out / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    assert f'{caveat}</p>\n<div class="card scroll" tabindex="0"><table aria-label="Beside published systems' in page
    assert caveat.replace("_", r"\_") in text.partition("## How it was measured")[0]


def test_e16_comet_that_is_not_installed_is_skipped_with_the_reason(
    command, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "comet", None)
    assert main([*command, "--comet", "Unbabel/wmt22-comet-da"]) == 0
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert record["notes"]["comet"].startswith("skipped: ")
    assert "pip install unbabel-comet" in record["notes"]["comet"]
    assert "COMET is skipped" in capsys.readouterr().err
    assert all("comet" not in result for result in record["directions"].values())


def test_what_an_evaluation_that_was_killed_while_writing_left_is_removed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        pass
    for name in ("report.json", "hypotheses/de_en.tsv", "transcripts/de.tsv", "charts/bleu-x_en.svg"):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.{killed.pid}.tmp").touch()
    evaluate(Oracle(), data, DIRECTIONS, out, CONFIG)
    assert list(out.rglob("*.tmp")) == []


def test_a_disk_that_is_full_while_decoding_is_reported_with_the_file(
    command, tmp_path: Path, monkeypatch, capsys
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("st.evaluation.partial.write_text", lambda path, text: path.write_text(text))
    assert main(command) == 1
    assert capsys.readouterr().err.endswith(
        f"st: error: {tmp_path / 'out' / 'partial.jsonl'}: No space left on device\n"
    )


def test_the_markdown_links_charts_that_exist(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(Oracle(wrong=[1]), data, DIRECTIONS, out, CONFIG)
    text = (out / "report.md").read_text(encoding="utf-8")
    linked = [part.split(")")[0] for part in text.split("](")[1:]]
    assert linked == ["charts/bleu-x_en.svg", "charts/bleu-en_x.svg"]
    assert all((out / path).is_file() for path in linked)
    assert "3 of 36" in text
    assert "&lt;morning&gt; &amp; goes far" in text
    rows = [line for line in text.splitlines() if line.startswith("| best") or line.startswith("| worst")]
    assert len(rows) == 18
    assert all(row.count(" | ") == 4 for row in rows)


def test_the_command_prints_the_table_and_writes_the_folder(command, tmp_path: Path, capsys) -> None:
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "fr_en" in printed
    assert "3 of 36" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["settings"]["checkpoint"] == "checkpoint_best.pt"
    assert len(report["settings"]["checkpoint_sha256"]) == 64
    assert (report["settings"]["beam"], report["settings"]["length_penalty"]) == (5, 1.0)
    assert "st.text.normalisation.normalise" in report["settings"]["asr_normalisation"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--directions", "fr_de"], 2, "no direction fr_de; this tree holds: fr_en"),
        (["--directions", "fr-de"], 2, "no direction 'fr-de'; expected the codes of two languages"),
        (["--directions", "de_en"], 2, "this tree holds: fr_en en_de en_zh-CN"),
        (["--subset", "dev"], 2, "no subset 'dev'"),
        (["--subset", "nonsense"], 2, "no subset 'nonsense'"),
        (["--beam", "many"], 2, "invalid int value"),
        (["--data", "absent"], 1, "absent"),
        (["--checkpoint", "absent.pt"], 1, "absent.pt: no such checkpoint"),
        (["--batch-seconds", "0"], 2, "--batch-seconds is 0"),
        (["--batch-seconds", "-1"], 2, "--batch-seconds is -1"),
        (["--batch-seconds", "inf"], 2, "--batch-seconds is inf"),
        (["--batch-size", "0"], 2, "--batch-size is 0"),
        (["--clip-megabytes", "nan"], 2, "--clip-megabytes is nan"),
        (["--clip-megabytes", "-1"], 2, "--clip-megabytes is -1; expected at least 0, or inf for all clips"),
        (["--lenpen", "nan"], 2, "--lenpen is nan; expected a finite number"),
        (["--lenpen", "inf"], 2, "--lenpen is inf"),
        (["--joint-ctc-weight", "nan"], 2, "--joint-ctc-weight is nan"),
        (["--threads", "0"], 2, "--threads is 0"),
        (["--shard", "0/3"], 2, "--shard is '0/3'; expected i/n with i from 1 to n"),
        (["--shard", "4/3"], 2, "--shard is '4/3'"),
        (["--shard", "third"], 2, "--shard is 'third'"),
        (["--train-log", "absent.log"], 1, "absent.log"),
    ],
)
def test_wrong_input_ends_with_one_sentence(command, tmp_path: Path, capsys, options, code, message) -> None:
    assert main([*command, *options]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "report.json").exists()


def test_the_command_warns_once_of_a_target_that_was_never_trained(command, monkeypatch, capsys) -> None:
    class Trained(Oracle):
        trained_directions = ("fr_en", "en_de")

        def untrained(self, codes: Sequence[str]) -> list[str]:
            return [code for code in codes if code not in ("en", "de")]

    monkeypatch.setattr(st.inference, "load_translator", lambda *_args, **_options: Trained())
    assert main(command) == 0
    assert capsys.readouterr().err.count("never trained to translate into zh-CN, only into en de") == 1


def test_fault_02_the_command_decodes_every_recording(command, monkeypatch) -> None:
    """Published scores are of all of them, so that the gate of ``st translate`` stays open here."""
    asked = {}
    monkeypatch.setattr(st.inference, "load_translator", lambda *_args, **options: asked.update(options) or Oracle())
    assert main(command) == 0
    assert asked["keep_all"] is True


def test_e06_a_missing_tokenizer_is_told_before_anything_is_decoded(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(scores.OTHER_TOKENIZERS, "zh-CN", ("ja-mecab",))
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    oracle = Oracle()
    with pytest.raises(EvaluationError, match="tokenizer 'ja-mecab' is not available"):
        evaluate(oracle, data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert oracle.batches == []


def test_e14_a_score_that_is_no_number_is_null_and_fails(command, tmp_path: Path, monkeypatch, capsys) -> None:
    import st.evaluation.evaluate as room

    honest = room.score_transcripts
    monkeypatch.setattr(
        room, "score_transcripts", lambda *args, **options: replace(honest(*args, **options), wer=float("nan"))
    )
    assert main(command) == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["asr"]["fr"]["wer"] is None
    assert report["average_wer"] is None
    assert "not a number: en wer, fr wer" in capsys.readouterr().err


def test_e10_a_language_without_spaces_is_left_out_of_the_average_word_error_rate(
    data: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(LANGUAGES, "fr", replace(LANGUAGES["fr"], spaced=False))
    report = evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert (report.asr["fr"].wer, report.asr["en"].wer, report.average_wer) == (None, 0.0, 0.0)
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert (record["asr"]["fr"]["wer"], record["asr"]["fr"]["cer"]) == (None, 0.0)
    assert record["notes"]["word error rates"].startswith("no word error rate of fr: written without spaces")
    for name in ("report.md", "report.html"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "WER without fr" in text
        assert record["notes"]["word error rates"] in text


@pytest.mark.parametrize("said", ["", "… ?!"])
def test_e10_a_language_without_transcripts_has_no_error_rates_and_is_named(
    data: Path, tmp_path: Path, caplog, said: str
) -> None:
    rows = [replace(row, src_text=said) for row in read_manifest(data / "test_fr_en.tsv")]
    write_manifest(data / "test_fr_en.tsv", rows)
    report = evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert report.directions["fr_en"].bleu.value == pytest.approx(100.0)
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert record["asr"]["fr"] == {
        "wer": None,
        "cer": None,
        "n": NUM_CLIPS,
        "num_words": None,
        "num_characters": 0,
        "empty_references": NUM_CLIPS,
    }
    assert (record["average_wer"], record["average_cer"]) == (0.0, 0.0)
    note = record["notes"]["error rates"]
    assert note.startswith("no error rates of fr: ")
    assert note in caplog.text
    assert [row[0] for row in asr_table(report).rows] == ["en"]
    for name in ("report.md", "report.html"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert note.replace("_", r"\_") in text or note in text
        assert "WER without" not in text
    alone = evaluate(Oracle(), data, ["fr_en"], tmp_path / "alone", CONFIG)
    assert (alone.average_wer, alone.average_cer, alone.recognition) == (None, None, {})
    for name in ("report.md", "report.html"):
        assert "Recognition (" not in (tmp_path / "alone" / name).read_text(encoding="utf-8")
