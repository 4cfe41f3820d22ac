"""A stored model, evaluated whole and in parts: the folders must be equal to the last byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from without_provenance import compared

from st.audio.reading import encode_flac
from st.checkpoints.door import read_pickled
from st.cli import main
from st.data.manifest import ManifestRow, write_manifest

MODEL = Path(__file__).parents[2] / "golden" / "training_v1.pt"
TEXT = {"en": "a small sentence number {} of many", "de": "ein kleiner Satz, der Nummer {} von vielen"}
NUM_CLIPS = 12


def chirp(number: int) -> np.ndarray:
    time = np.arange(8000 + 977 * ((number * 7) % NUM_CLIPS), dtype=np.float64)
    sound = np.sin(2 * np.pi * time * (0.004 + 0.003 * number + time * 2e-6)) + 0.3 * np.cos(time * (number + 1))
    return (0.4 * sound).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared tree in the model's vocabularies: German into English and back, as sounds of different lengths."""
    folder = tmp_path_factory.mktemp("data")
    for name, content in read_pickled(MODEL)["task_state"]["st_bundle"]["files"].items():
        (folder / name).write_bytes(content)
    for shift, (source, target) in enumerate((("de", "en"), ("en", "de"))):
        store, rows = folder / "audio" / source / "test.zip", []
        store.parent.mkdir(parents=True)
        with store.open("wb") as handle:
            for number in range(NUM_CLIPS):
                wave = chirp(number + shift * NUM_CLIPS // 2)
                content, offset = encode_flac(wave), handle.tell()
                handle.write(content)
                audio = f"audio/{source}/test.zip:{offset}:{len(content)}"
                texts = TEXT[target].format(number), "v", TEXT[source].format(number)
                rows.append(ManifestRow(f"{source}{number}", audio, len(wave), *texts, source, target))
        write_manifest(folder / f"test_{source}_{target}.tsv", rows)
    return folder


@pytest.fixture(autouse=True)
def _untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")


def command(data: Path, out: Path, *options: str) -> list[str]:
    fixed = ["--batch-seconds", "7", "--beam", "3", "--threads", "1", "--device", "cpu"]
    return ["evaluate", "--checkpoint", str(MODEL), "--data", str(data), "--out", str(out), *fixed, *options]


def folder(path: Path) -> dict[str, bytes]:
    return compared(
        {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    )


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The folder of an evaluation in one piece."""
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ST_NO_TUNE", "1")
        assert main(command(data, out)) == 0
    written = folder(out)
    texts = {line.split("\t")[1] for line in written["hypotheses/de_en.tsv"].decode().splitlines()}
    assert len(texts) > NUM_CLIPS // 2  # the sound decides what comes out
    return written


@pytest.mark.parametrize("size", ["1", "8"])
def test_i06_batches_of_any_size_give_the_same_bytes(data: Path, whole, tmp_path: Path, size: str) -> None:
    assert main(command(data, tmp_path / "out", "--batch-size", size)) == 0
    assert folder(tmp_path / "out") == whole


@pytest.mark.slow
def test_decoder_and_ctc_head_transcribe_together(data: Path, whole, tmp_path: Path, capsys) -> None:
    """In the language of each recording, whatever the batches are; the translations stay as they are."""
    joint = "--joint-ctc-weight", "0.3"
    for size in ("1", "8"):
        assert main(command(data, tmp_path / size, *joint, "--batch-size", size)) == 0
    written = folder(tmp_path / "1")
    assert b"decoder and CTC head, weight 0.3" in written["report.md"]
    assert written == folder(tmp_path / "8")
    changed = {name for name in whole if written[name] != whole[name]}
    assert {"transcripts/de.tsv", "transcripts/en.tsv"} <= changed
    assert not {"hypotheses/de_en.tsv", "hypotheses/en_de.tsv"} & changed
    assert main(command(data, tmp_path / "out", "--joint-ctc-weight", "1.5")) == 2
    assert "--joint-ctc-weight is 1.5" in capsys.readouterr().err


def test_three_shards_one_after_the_other_give_the_same_bytes(data: Path, whole, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    for number, shard in enumerate(("2/3", "3/3", "1/3"), start=1):
        assert main(command(data, out, "--shard", shard)) == 0
        captured = capsys.readouterr()
        assert (out / "report.json").exists() == (number == 3)
        assert ("de_en" in captured.out) == (number == 3)
        assert f"shard {shard} is done" in captured.err or number == 3
    assert folder(out) == whole


def test_fault_01_a_shard_that_rounds_otherwise_is_named(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(command(data, out, "--directions", "de_en", "--shard", "1/2", "--threads", "2")) == 0
    assert "decoded with" not in capsys.readouterr().err
    assert main(command(data, out, "--directions", "de_en", "--shard", "2/2")) == 0
    said = capsys.readouterr().err
    assert said.count("partial-1-of-2.jsonl: its results were decoded with threads 2 before and 1 now") == 1
    assert "threads 1" in (out / "report.json").read_text()


def test_a_shard_that_is_started_again_finds_the_report_written(
    data: Path, whole, tmp_path: Path, monkeypatch, capsys
) -> None:
    out = tmp_path / "out"
    for shard in ("1/2", "2/2"):
        assert main(command(data, out, "--shard", shard)) == 0
    monkeypatch.setattr("st.inference.load_translator", None)
    for shard in ("1/2", "3/5"):
        assert main(command(data, out, "--shard", shard)) == 0
        assert f"shard {shard}: {out / 'report.json'} is already written" in capsys.readouterr().err
    assert folder(out) == whole


def test_a_report_of_another_evaluation_stops_no_shard(data: Path, tmp_path: Path) -> None:
    """Of other settings, of other references, or of nobody knows what."""
    out, tree = tmp_path / "out", tmp_path / "data"
    assert main(command(data, out)) == 0
    shutil.copytree(data, tree)
    manifest = tree / "test_de_en.tsv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("small", "little"), encoding="utf-8")
    report = (out / "report.json").read_bytes()
    for source, options, written in ((data, ["--lenpen", "0.5"], report), (tree, [], report), (data, [], b"?")):
        (out / "report.json").write_bytes(written)
        if written == report:
            assert main(command(source, out, "--shard", "1/2", *options)) == 2, "refused without --overwrite"
            assert not list(out.glob("partial*"))
        assert main(command(source, out, "--shard", "1/2", *options, "--overwrite")) == 0
        parts = list(out.glob("partial*"))
        assert [part.name for part in parts] == ["partial-1-of-2.jsonl"]
        parts[0].unlink()


def test_shards_of_machines_without_a_common_folder_are_copied_together(
    data: Path, whole, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "out"
    for shard in ("1/2", "2/2"):
        assert main(command(data, tmp_path / shard, "--shard", shard)) == 0
        out.mkdir(exist_ok=True)
        for part in (tmp_path / shard).glob("partial*.jsonl"):
            shutil.copy(part, out)
    assert len(list(out.iterdir())) == 2
    # Bringing them together needs no model.
    monkeypatch.setattr("st.inference.load_translator", None)
    assert main(command(data, out)) == 0
    assert folder(out) == whole


def test_an_interrupted_division_goes_on_under_another_one(data: Path, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(command(data, out, "--shard", "2/5")) == 0
    for shard in ("1/2", "2/2"):
        assert main(command(data, out, "--shard", shard)) == 0
    assert folder(out) == whole


def test_shards_that_do_not_belong_together_are_told_apart(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert main(command(data, out, "--shard", "1/2")) == 0
    assert "does not belong" not in capsys.readouterr().err
    assert main(command(data, out, "--shard", "2/2", "--lenpen", "0.5")) == 0
    assert f"{out / 'partial-1-of-2.jsonl'}: does not belong to this evaluation" in capsys.readouterr().err


def test_parts_of_another_run_are_left_alone(data: Path, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(command(data, out, "--shard", "1/2", "--lenpen", "0.5")) == 0
    stranger = (out / "partial-1-of-2.jsonl").read_bytes()
    assert main(command(data, out)) == 0
    written = folder(out)
    assert written.pop("partial-1-of-2.jsonl") == stranger
    assert written == whole


@pytest.mark.slow
def test_three_processes_of_torchrun_give_the_same_bytes(data: Path, whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3", "-m", "st"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ST_NO_TUNE": "1"}
    done = subprocess.run(
        [*launcher, *command(data, out)], env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("de_en ") == 1, done.stdout
    assert folder(out) == whole


def test_a_shard_of_a_launch_is_not_divided_again(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    launched = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    assert main(command(data, tmp_path / "out", "--shard", "1/2")) == 2
    assert "torchrun divides the work already" in capsys.readouterr().err
