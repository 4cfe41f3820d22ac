"""Evaluation around a decoder whose answers are known, so that every figure of the report is known too."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_oracle import (
    CONFIG,
    DIRECTIONS,
    NUM_CLIPS,
    Answer,
    Oracle,
    data_fixture,  # noqa: F401
    tree,
)

from st.audio.reading import encode_flac
from st.data.manifest import read_manifest, write_manifest
from st.errors import AudioError, EvaluationError, ManifestError, UsageError
from st.evaluation.corpus import choose_directions, load_test_set, make_batches
from st.evaluation.evaluate import evaluate
from st.evaluation.scoring.conventions import CONVENTIONS
from st.evaluation.scoring.hypotheses import read_hypotheses
from st.evaluation.shards import WHOLE, Shard


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


def test_a_report_tells_its_convention_and_is_another_evaluation_than_that_of_another(
    data: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, convention=CONVENTIONS["lc.rm"])
    report = evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", config)
    written = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert written["settings"] == {"beam": 5, "convention": "lc.rm"}
    found = [report.directions["en_zh-CN"], report.directions["fr_en"]]
    for score in (
        *found[0].other_bleu.values(),
        *(getattr(each, m) for each in found for m in ("bleu", "chrf", "ter")),
    ):
        assert score.signature.endswith("|convention:lc.rm")
        assert "|case:lc|" in score.signature
    assert "lower case, without punctuation" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="holds another evaluation"):
        evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", replace(CONFIG, overwrite=False))
    evaluate(Oracle(), data, DIRECTIONS, tmp_path / "out", replace(config, overwrite=False))


def test_fault_02_an_evaluation_decodes_what_nobody_hears_and_says_so(data: Path, tmp_path: Path, caplog) -> None:
    """All clips here are constants, which are silence; one that is none is put among them."""
    store = data / "audio" / "fr" / "test.zip"
    audible = encode_flac(np.tile([0.3, 0.01], 800).astype(np.float32))
    first = read_manifest(data / "test_fr_en.tsv")[0]
    rows = [replace(first, audio=f"audio/fr/test.zip:{store.stat().st_size}:{len(audible)}", n_frames=1600)]
    with store.open("ab") as handle:
        handle.write(audible)
    write_manifest(data / "test_fr_en.tsv", rows + read_manifest(data / "test_fr_en.tsv")[1:])
    oracle = Oracle()
    evaluate(oracle, data, ("fr_en",), tmp_path / "out", CONFIG)
    assert sum(map(len, oracle.batches)) == NUM_CLIPS
    assert f"nobody can be heard in {NUM_CLIPS - 1} recordings, such as audio/fr/test.zip:" in caplog.text


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


def test_p18_a_direction_without_any_reference_is_an_error_before_anything_is_decoded(
    data: Path, tmp_path: Path
) -> None:
    manifest = data / "test_fr_en.tsv"
    write_manifest(manifest, [replace(row, tgt_text=" ") for row in read_manifest(manifest)])
    oracle = Oracle()
    with pytest.raises(EvaluationError, match=f"fr_en: none of the {NUM_CLIPS} references has any text"):
        evaluate(oracle, data, DIRECTIONS, tmp_path / "out", CONFIG)
    assert not oracle.batches


def test_an_interrupted_evaluation_goes_on_and_ends_with_the_same_bytes(data: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    complete = Oracle(wrong=[2])
    evaluate(complete, data, DIRECTIONS, whole, CONFIG)
    first = Oracle(wrong=[2], dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(first, data, DIRECTIONS, cut, CONFIG)
    assert not (cut / "report.json").exists()
    with (cut / WHOLE.filename).open("a", encoding="utf-8") as handle:
        handle.write('{"audio": "audio/fr/te')
    second = Oracle(wrong=[2])
    evaluate(second, data, DIRECTIONS, cut, CONFIG)
    assert first.batches + second.batches == complete.batches
    assert tree(cut) == tree(whole)
    assert not (cut / WHOLE.filename).exists()


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


def test_shards_that_run_at_the_same_time_find_each_others_results(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    class Busy(Oracle):
        """Another shard begins and ends while this one decodes its first batch."""

        def decode_batch(self, waveforms, target_languages, spoken):
            if not self.batches:
                assert evaluate(Oracle(), data, DIRECTIONS, out, replace(CONFIG, shard=Shard(2, 2))) is None
            return super().decode_batch(waveforms, target_languages, spoken)

    report = evaluate(Busy(), data, DIRECTIONS, out, replace(CONFIG, shard=Shard(1, 2)))
    assert report is not None
    assert not list(out.glob("partial*"))


def test_a_last_line_without_its_end_is_decoded_again(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(wrong=[2], dies_after=3), data, DIRECTIONS, out, CONFIG)
    path = out / WHOLE.filename
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    with pytest.raises(KeyboardInterrupt):
        evaluate(Oracle(wrong=[2], dies_after=1), data, DIRECTIONS, out, CONFIG)
    for line in path.read_bytes().splitlines():
        json.loads(line)
    evaluate(Oracle(wrong=[2]), data, DIRECTIONS, out, CONFIG)
    evaluate(Oracle(wrong=[2]), data, DIRECTIONS, tmp_path / "whole", CONFIG)
    assert tree(out) == tree(tmp_path / "whole")


def test_a_shard_that_ends_after_another_has_written_the_report_does_not_write_again(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    class Slow(Oracle):
        def decode_batch(self, waveforms, target_languages, spoken):
            answers = super().decode_batch(waveforms, target_languages, spoken)
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


def test_e15_a_rerun_writes_the_same_bytes_and_leaves_nothing_stale(data: Path, tmp_path: Path, caplog) -> None:
    out = tmp_path / "out"
    evaluate(Oracle(wrong=[3]), data, DIRECTIONS, out, CONFIG)
    before = tree(out)
    evaluate(Oracle(wrong=[3]), data, DIRECTIONS, out, CONFIG)
    assert tree(out) == before
    assert "holds another evaluation" not in caplog.text
    with pytest.raises(UsageError, match="holds another evaluation; choose another folder, or add `overwrite`"):
        evaluate(Oracle(), data, ("fr_en",), out, replace(CONFIG, overwrite=False))
    assert tree(out) == before
    evaluate(Oracle(), data, ("fr_en",), out, CONFIG)
    assert f"{out}: holds another evaluation, which this one will replace when it ends" in caplog.text
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
        def decode_batch(self, waveforms, target_languages, spoken):
            answers = super().decode_batch(waveforms, target_languages, spoken)
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
