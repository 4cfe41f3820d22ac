"""Evaluation around a decoder whose answers are known, so that every figure of the report is known too."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import st.inference
from st.cli import main
from st.data.audio import encode_flac, read_bytes
from st.data.config import DataConfig
from st.data.ctc_vocabulary import normalise
from st.data.manifest import ManifestRow, read_manifest, write_manifest
from st.errors import AudioError, EvaluationError, ManifestError, UsageError
from st.evaluation.clips import NO_CLIPS, collect_clips
from st.evaluation.corpus import choose_directions, load_test_set, make_batches
from st.evaluation.evaluate import PARTIAL_FILENAME, EvaluationConfig, evaluate
from st.evaluation.examples import choose_examples
from st.evaluation.hypotheses import read_hypotheses
from st.evaluation.published import TEST_SIZES
from st.evaluation.shards import Shard

DIRECTIONS = ("fr_en", "en_de", "en_zh-CN")
NUM_CLIPS = 6
SENTENCES = {
    "fr": "le train numéro {} part demain matin",
    "en": "Train number {} leaves tomorrow <morning> & goes far.",
    "de": "Zug Nummer {} fährt morgen früh ab.",
    "zh-CN": "第{}次列车明天早上出发。",
}


def sentence(code: str, number: int) -> str:
    return SENTENCES[code].format(number)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A prepared tree of three directions; the loudness of a clip tells its number, its sign the language."""
    folder = tmp_path / "data"
    for code, sign in (("fr", 1), ("en", -1)):
        store, offset, slices = folder / "audio" / code / "test.zip", 0, []
        store.parent.mkdir(parents=True)
        with store.open("wb") as handle:
            for number in range(NUM_CLIPS):
                length = 1600 * (number % 3 + 1) + number
                content = encode_flac(np.full(length, sign * (number + 1) / 100, dtype=np.float32))
                slices.append((f"audio/{code}/test.zip:{offset}:{len(content)}", length))
                offset += handle.write(content)
        for direction in DIRECTIONS:
            source, target = direction.split("_")
            if source == code:
                rows = [
                    ManifestRow(f"{code}{n}", audio, length, sentence(target, n), "v", sentence(code, n), code, target)
                    for n, (audio, length) in enumerate(slices)
                ]
                write_manifest(folder / f"test_{direction}.tsv", rows)
    DataConfig(directions=DIRECTIONS).save(folder)
    return folder


@dataclass
class Answer:
    transcript: str | None
    translations: Mapping[str, str]


class Oracle:
    """Says the reference, except that a clip in ``wrong`` is translated into nothing."""

    def __init__(self, *, wrong: Sequence[int] = (), dies_after: int = 10**9, hears: bool = True) -> None:
        self.wrong, self.dies_after, self.hears = wrong, dies_after, hears
        self.batches: list[list[tuple[str, int, int]]] = []

    def decode_batch(self, waveforms, target_languages) -> list[Answer]:
        if len(self.batches) == self.dies_after:
            raise KeyboardInterrupt
        answers, batch = [], []
        for waveform, targets in zip(waveforms, target_languages, strict=True):
            code, number = ("fr" if waveform[0] > 0 else "en"), round(abs(float(waveform[0])) * 100) - 1
            batch.append((code, number, len(waveform)))
            said = sentence(code, number).upper() if self.hears else None
            answers.append(Answer(said, {t: "" if number in self.wrong else sentence(t, number) for t in targets}))
        self.batches.append(batch)
        return answers

    def check_languages(self, codes: Sequence[str]) -> None:
        assert set(codes) == {"en", "de", "zh-CN"}

    def untrained(self, codes: Sequence[str]) -> list[str]:
        return list(codes)[:0]


CONFIG = EvaluationConfig(normalise=normalise, batch_seconds=0.5, settings={"beam": 5})


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_perfect_model_has_perfect_scores_and_encodes_each_recording_once(data: Path, tmp_path: Path) -> None:
    oracle = Oracle()
    report = evaluate(oracle, data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert [result.bleu.value for result in report.directions.values()] == pytest.approx([100.0] * 3)
    assert {code: (result.wer, result.cer, result.n) for code, result in report.asr.items()} == {
        "en": (0.0, 0.0, NUM_CLIPS),
        "fr": (0.0, 0.0, NUM_CLIPS),
    }
    seen = [clip for batch in oracle.batches for clip in batch]
    assert sorted(clip[:2] for clip in seen) == sorted((code, n) for code in ("en", "fr") for n in range(NUM_CLIPS))
    lengths = [length for _, _, length in seen]
    assert lengths == sorted(lengths, reverse=True)
    assert all(len(batch) * batch[0][2] <= 8000 for batch in oracle.batches)


def test_e13_report_figures_equal_sacrebleu_on_the_written_hypotheses(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(Oracle(wrong=[1, 4]), data, DIRECTIONS, out, CONFIG)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for direction, tokenizer in (("fr_en", "13a"), ("en_de", "13a"), ("en_zh-CN", "char")):
        rows = read_hypotheses(out / "hypotheses" / f"{direction}.tsv")
        (tmp_path / "hyp").write_text("".join(f"{row.hypothesis}\n" for row in rows), encoding="utf-8")
        manifest = read_manifest(data / f"test_{direction}.tsv")
        (tmp_path / "ref").write_text("".join(f"{row.tgt_text}\n" for row in manifest), encoding="utf-8")
        command = [sys.executable, "-m", "sacrebleu", str(tmp_path / "ref"), "-i", str(tmp_path / "hyp")]
        done = subprocess.run([*command, "-tok", tokenizer, "-w", "4"], capture_output=True, check=True)
        golden = json.loads(done.stdout)
        assert report["directions"][direction]["bleu"] == pytest.approx(golden["score"], abs=1e-4)
        assert 10 < golden["score"] < 90
        assert report["directions"][direction]["signature"] == golden["signature"]
        assert report["directions"][direction]["empty_hypotheses"] == 2
    assert report["average_bleu"] == pytest.approx(
        sum(result["bleu"] for result in report["directions"].values()) / 3, abs=1e-4
    )


def test_an_interrupted_evaluation_goes_on_and_ends_with_the_same_bytes(data: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    complete = Oracle(wrong=[2])
    evaluate(complete, data, DIRECTIONS, whole, CONFIG)
    first = Oracle(wrong=[2], dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, data, DIRECTIONS, cut, CONFIG)
    assert not (cut / "report.json").exists()
    with (cut / PARTIAL_FILENAME).open("a", encoding="utf-8") as handle:
        handle.write('{"audio": "audio/fr/te')
    second = Oracle(wrong=[2])
    evaluate(second, data, DIRECTIONS, cut, CONFIG)
    assert first.batches + second.batches == complete.batches
    assert tree(cut) == tree(whole)
    assert not (cut / PARTIAL_FILENAME).exists()


def test_an_evaluation_may_be_interrupted_again_and_again(data: Path, tmp_path: Path) -> None:
    out, batches = tmp_path / "out", []
    for _ in range(20):
        oracle = Oracle(dies_after=1)
        try:
            evaluate(oracle, data, DIRECTIONS, out, CONFIG)
        except KeyboardInterrupt:
            batches += oracle.batches
        else:
            break
    complete = Oracle()
    evaluate(complete, data, DIRECTIONS, tmp_path / "whole", CONFIG)
    assert batches + oracle.batches == complete.batches
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.parametrize("count", [2, 3])
def test_shards_decode_the_batches_of_an_undivided_run(data: Path, tmp_path: Path, count: int) -> None:
    complete = Oracle(wrong=[2])
    evaluate(complete, data, DIRECTIONS, tmp_path / "whole", CONFIG)
    parts = []
    for index in range(count, 0, -1):
        oracle = Oracle(wrong=[2])
        report = evaluate(oracle, data, DIRECTIONS, tmp_path / "out", replace(CONFIG, shard=Shard(index, count)))
        assert (report is None) == (index != 1)
        parts += oracle.batches
    assert len(complete.batches) > 3
    assert sorted(parts) == sorted(complete.batches)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_shard_that_ends_after_another_has_written_the_report_does_not_write_again(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    class Slow(Oracle):
        def decode_batch(self, waveforms, target_languages):
            answers = super().decode_batch(waveforms, target_languages)
            (out / "report.json").write_text("written by another")
            return answers

    def vanish(partial, *_args):
        partial.remove()
        return honest(partial, *_args)

    import st.evaluation.evaluate as room

    honest = room._come_together
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_come_together", vanish)
        assert evaluate(Slow(), data, DIRECTIONS, out, replace(CONFIG, shard=Shard(1, 2))) is None
    assert [path.name for path in out.iterdir()] == ["report.json"]


def test_results_of_another_run_are_not_taken_over(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(wrong=range(NUM_CLIPS), dies_after=2), data, DIRECTIONS, out, CONFIG)
    other = replace(CONFIG, settings={"beam": 1})
    report = evaluate(Oracle(), data, DIRECTIONS, out, other)
    assert report.average_bleu == pytest.approx(100.0)


def test_e15_a_rerun_writes_the_same_bytes_and_leaves_nothing_stale(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate(Oracle(wrong=[3]), data, DIRECTIONS, out, CONFIG)
    before = tree(out)
    evaluate(Oracle(wrong=[3]), data, DIRECTIONS, out, CONFIG)
    assert tree(out) == before
    evaluate(Oracle(), data, ("fr_en",), out, CONFIG)
    assert [path.name for path in sorted((out / "hypotheses").iterdir())] == ["fr_en.tsv"]
    assert not (out / "charts" / "bleu-en_x.svg").exists()
    assert not (out / "transcripts" / "en.tsv").exists()


def test_a_model_without_a_ctc_head_has_no_recognition_scores(data: Path, tmp_path: Path) -> None:
    evaluate(Oracle(hears=False), data, DIRECTIONS, tmp_path / "out", CONFIG)
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert (report["asr"], report["average_wer"], report["average_cer"]) == ({}, None, None)
    assert "Recognition" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("fault", ["short", "target"])
def test_e05_a_decoder_that_skips_something_is_detected(data: Path, tmp_path: Path, fault: str) -> None:
    class Skips(Oracle):
        def decode_batch(self, waveforms, target_languages):
            answers = super().decode_batch(waveforms, target_languages)
            if fault == "short":
                return answers[:-1]
            return [Answer(item.transcript, dict(list(item.translations.items())[:1])) for item in answers]

    with pytest.raises(EvaluationError, match="the decoder returned"):
        evaluate(Skips(), data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_recording_that_cannot_be_read_stops_the_evaluation(data: Path, tmp_path: Path) -> None:
    store = data / "audio" / "fr" / "test.zip"
    store.write_bytes(b"\0" * store.stat().st_size)
    with pytest.raises(AudioError, match=r"audio/fr/test\.zip"):
        evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", CONFIG)


def test_a_manifest_that_contradicts_itself_or_another_is_an_error(data: Path) -> None:
    path = data / "test_en_de.tsv"
    rows = read_manifest(path)
    write_manifest(path, [replace(rows[0], tgt_lang="ja"), *rows[1:]])
    with pytest.raises(ManifestError, match=r"test_en_de\.tsv:2: row is en_ja"):
        load_test_set(data, DIRECTIONS, "test")
    write_manifest(path, [*rows, rows[0]])
    with pytest.raises(ManifestError, match=r"test_en_de\.tsv:8: id 'en0'"):
        load_test_set(data, DIRECTIONS, "test")
    write_manifest(path, [replace(rows[0], src_text="something else"), *rows[1:]])
    with pytest.raises(EvaluationError, match="something else"):
        load_test_set(data, DIRECTIONS, "test")
    write_manifest(path, [])
    with pytest.raises(EvaluationError, match="no rows"):
        load_test_set(data, DIRECTIONS, "test")
    path.unlink()
    with pytest.raises(ManifestError, match="no manifest of en_de"):
        load_test_set(data, DIRECTIONS, "test")


def test_directions_are_chosen_among_those_of_the_tree(data: Path) -> None:
    assert choose_directions(data, "all") == DIRECTIONS
    assert choose_directions(data, "x_en") == ("fr_en",)
    assert choose_directions(data, "en_zh-CN, fr_en") == ("fr_en", "en_zh-CN")
    assert choose_directions(data, "all", "test_en_zh-CN") == ("en_zh-CN",)
    for names in ("de_en", "x_en,de_en", "fr_de", ""):
        with pytest.raises(UsageError):
            choose_directions(data, names)


def test_batches_hold_everything_once_and_do_not_depend_on_order(data: Path) -> None:
    utterances = load_test_set(data, DIRECTIONS, "test").utterances
    batches = make_batches(utterances, 8000)
    assert batches == make_batches(utterances[::-1], 8000)
    assert sorted(item.audio for batch in batches for item in batch) == sorted(item.audio for item in utterances)
    assert [len(batch) for batch in make_batches(utterances, 1)] == [1] * len(utterances)
    assert {item.targets for item in utterances} == {("en",), ("de", "zh-CN")}


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
    monkeypatch.setitem(TEST_SIZES, "fr", NUM_CLIPS)
    assert evaluate(Oracle(), data, DIRECTIONS, out, CONFIG).comparable == ("fr_en",)
    record = json.loads((out / "report.json").read_text(encoding="utf-8"))["published"]
    assert record["XLS-R 2B"]["bleu"] == {"fr_en": 37.6}
    assert record["XLS-R 2B"]["sources"] == ["arXiv:2111.09296 X-to-En table"]
    assert "XMEF-JT" not in record
    for name in ("report.html", "report.md"):
        assert "XLS-R 2B" in (out / name).read_text(encoding="utf-8")
    assert evaluate(Oracle(), data, DIRECTIONS, out, replace(CONFIG, published="never")).comparable == ()
    assert evaluate(Oracle(), data, DIRECTIONS, out, replace(CONFIG, published="always")).comparable == DIRECTIONS


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


@pytest.fixture
def command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of an evaluation with the oracle for a model."""
    monkeypatch.setenv("ST_NO_TUNE", "1")
    checkpoint = tmp_path / "checkpoint_best.pt"
    checkpoint.write_bytes(b"model")
    monkeypatch.setattr(st.inference, "load_translator", lambda *_args, **_options: Oracle(wrong=[1]))
    return ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(tmp_path / "out")]


def test_the_command_prints_the_table_and_writes_the_folder(command, tmp_path: Path, capsys) -> None:
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "fr_en" in printed
    assert "3 of 36" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["settings"]["checkpoint"] == "checkpoint_best.pt"
    assert len(report["settings"]["checkpoint_sha256"]) == 64
    assert (report["settings"]["beam"], report["settings"]["length_penalty"]) == (5, 1.0)
    assert "st.data.ctc_vocabulary.normalise" in report["settings"]["asr_normalisation"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--directions", "fr_de"], 2, "no direction 'fr_de'"),
        (["--directions", "de_en"], 2, "this tree holds: fr_en en_de en_zh-CN"),
        (["--subset", "dev"], 2, "no subset 'dev'"),
        (["--subset", "nonsense"], 2, "no subset 'nonsense'"),
        (["--beam", "many"], 2, "invalid int value"),
        (["--data", "absent"], 1, "absent"),
        (["--checkpoint", "absent.pt"], 1, "absent.pt: no such checkpoint"),
        (["--batch-seconds", "0"], 1, "--batch-seconds is 0"),
        (["--batch-size", "0"], 1, "--batch-size is 0"),
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
