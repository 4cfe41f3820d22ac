from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from without_provenance import compared

from covost.cli import main
from st.commands.shared.options import shard_numbers
from st.errors import UsageError
from st.preparation.shards import Shard

OPTIONS = ["--directions", "en_de,en_ca"]


def run(command: str, corpus, out: Path, *extra: str) -> int:
    jobs = ["--jobs", "1"] * (command == "prepare")
    return main([command, "--cv-root", str(corpus.root), "--out", str(out), *OPTIONS, *jobs, *extra])


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return compared({str(path.relative_to(folder)): path.read_bytes() for path in files if "shards" not in path.parts})


@pytest.fixture
def messy_corpus(full_corpus):
    """A corpus of one spoken language with a damaged, a short, a silent and a missing clip."""
    full_corpus.add("html.mp3", audio=b"<html>")
    full_corpus.add("gone.mp3", audio=None)
    full_corpus.add("half.mp3", audio=(full_corpus.clips / "clip00.mp3").read_bytes()[:3000])
    full_corpus.translations["de"] += [(f"{name}.mp3", "weg", "train") for name in ("html", "gone", "half")]
    full_corpus.write()
    for path in full_corpus.clips.iterdir():
        os.utime(path, (1e9, 1e9))
    return full_corpus


POLICY = ["--min-coverage", "0.8", "--max-skipped", "1"]


@pytest.fixture
def single(messy_corpus, tmp_path: Path) -> dict[str, bytes]:
    assert run("prepare", messy_corpus, tmp_path / "single", *POLICY) == 0
    return tree(tmp_path / "single")


@pytest.mark.parametrize("total", [1, 3, 20])
def test_p25_shards_and_merge_give_the_bytes_of_a_single_run(
    messy_corpus, single: dict[str, bytes], tmp_path: Path, total: int
) -> None:
    out = tmp_path / "data"
    for number in range(total, 0, -1):
        assert run("prepare", messy_corpus, out, "--shard", f"{number}/{total}", *POLICY) == 0
    assert tree(out) == {}, "a shard writes only below shards/"
    assert run("merge", messy_corpus, out, *POLICY) == 0
    assert tree(out) == single
    assert {"audio/en/train.zip", "train_en_de.tsv", "index.parquet", "report.html", "digests.json"} <= set(single)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert run("merge", messy_corpus, out, *POLICY) == 0
    assert run("prepare", messy_corpus, out, *POLICY) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before, "done again, nothing is touched"
    assert run("merge", messy_corpus, out, "--delete-shards", *POLICY) == 0
    assert not (out / "shards").exists()
    assert tree(out) == single


def test_merging_refuses_what_is_not_whole_and_names_it(
    messy_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    assert run("merge", messy_corpus, out, *POLICY) == 1
    assert "no shards; prepare them first" in capsys.readouterr().err
    for number in (1, 3):
        assert run("prepare", messy_corpus, out, "--shard", f"{number}/3", *POLICY) == 0
    assert run("merge", messy_corpus, out, *POLICY) == 1
    assert "missing 2/3" in capsys.readouterr().err
    (out / "shards/3-of-3/shard.json").unlink()
    assert run("merge", messy_corpus, out, *POLICY) == 1
    assert "missing 2/3; unfinished 3/3" in capsys.readouterr().err
    assert run("prepare", messy_corpus, out, "--shard", "2/3", *POLICY) == 0
    assert run("merge", messy_corpus, out, *POLICY) == 1
    assert "shards: unfinished 3/3; prepare each of them with --shard" in capsys.readouterr().err
    assert run("prepare", messy_corpus, out, "--shard", "1/2", *POLICY) == 0
    assert run("merge", messy_corpus, out, *POLICY) == 1
    assert "shards of 2 and of 3" in capsys.readouterr().err
    assert tree(out) == {}


@pytest.fixture
def two_shards(messy_corpus, tmp_path: Path) -> Path:
    for number in (1, 2):
        assert run("prepare", messy_corpus, tmp_path / "data", "--shard", f"{number}/2", *POLICY) == 0
    return tmp_path / "data"


def test_merging_refuses_shards_of_other_clips(
    messy_corpus, two_shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messy_corpus.add("new.mp3", translations={"de": "neu", "ca": "nou"})
    messy_corpus.write()
    assert run("merge", messy_corpus, two_shards, *POLICY) == 1
    assert "shard 1/2: it was made of other clips than are wanted now" in capsys.readouterr().err
    for number in (1, 2):
        assert run("prepare", messy_corpus, two_shards, "--shard", f"{number}/2", *POLICY) == 0
    assert run("merge", messy_corpus, two_shards, *POLICY) == 0
    assert run("prepare", messy_corpus, two_shards.with_name("fresh"), *POLICY) == 0
    assert tree(two_shards) == tree(two_shards.with_name("fresh"))


def test_merging_refuses_a_recording_that_changed_and_a_damaged_copy(
    messy_corpus, single: dict[str, bytes], two_shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = two_shards / "shards/2-of-2/audio/en/train.zip"
    data = bytearray(store.read_bytes())
    data[len(data) // 2] ^= 1
    store.write_bytes(bytes(data))
    assert run("merge", messy_corpus, two_shards, *POLICY) == 1
    assert "is damaged; copy or make the shard again: --shard 2/2" in capsys.readouterr().err
    assert not (two_shards / "config.yaml").exists()
    # What the message asks for is what helps, and only the damaged clip is decoded.
    assert run("prepare", messy_corpus, two_shards, "--shard", "2/2", *POLICY) == 0
    assert "train.zip: 7 clips, 1 of them new" in capsys.readouterr().err
    assert run("merge", messy_corpus, two_shards, *POLICY) == 0
    assert tree(two_shards) == single
    shutil.rmtree(two_shards / "audio")
    clip = messy_corpus.clips / "clip00.mp3"
    clip.write_bytes(clip.read_bytes() + b"\0")
    assert run("merge", messy_corpus, two_shards, *POLICY) == 1
    assert "clip00.mp3: changed since shard 1/2 was made (1 such clips)" in capsys.readouterr().err


def test_p05_a_recording_that_cannot_be_read_does_not_stop_a_merge(messy_corpus, tmp_path: Path) -> None:
    clip = messy_corpus.clips / "clip00.mp3"
    clip.unlink()
    clip.symlink_to(tmp_path / "gone.mp3")
    options = (*POLICY, "--max-skipped", "1")
    for number in (1, 2):
        assert run("prepare", messy_corpus, tmp_path / "data", "--shard", f"{number}/2", *options) == 0
    assert run("merge", messy_corpus, tmp_path / "data", *options) == 0
    assert run("prepare", messy_corpus, tmp_path / "one", *options) == 0
    assert tree(tmp_path / "data") == tree(tmp_path / "one")


def test_deleted_shards_are_not_asked_for_again(messy_corpus, single: dict[str, bytes], two_shards: Path) -> None:
    merge = "merge", messy_corpus, two_shards, *POLICY, "--delete-shards"
    assert run(*merge) == 0
    # Killed while it deleted.
    (two_shards / ".shards.deleted" / "2-of-2").mkdir(parents=True)
    for _ in range(2):
        assert run(*merge) == 0
        assert sorted(path.name for path in two_shards.glob("*shards*")) == []
        assert tree(two_shards) == single


def test_an_interrupted_merge_is_resumed(
    messy_corpus, single: dict[str, bytes], two_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import st.preparation.shards

    read, calls = st.preparation.shards.read_payload, []

    def stop_after_seven(*args: object) -> bytes:
        calls.append(args)
        if len(calls) > 7:
            raise OSError("disk full")
        return read(*args)

    monkeypatch.setattr(st.preparation.shards, "read_payload", stop_after_seven)
    assert run("merge", messy_corpus, two_shards, *POLICY) == 1
    monkeypatch.setattr(st.preparation.shards, "read_payload", lambda *args: calls.append(args) or read(*args))
    assert run("merge", messy_corpus, two_shards, *POLICY) == 0
    assert tree(two_shards) == single
    # 20 clips are in the stores; the one read twice is that at which the first attempt stopped.
    assert len(calls) == 20 + 1


def test_p25_a_killed_shard_is_resumed(messy_corpus, single: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "data"
    arguments = ["prepare", "--cv-root", str(messy_corpus.root), "--out", str(out), *OPTIONS, *POLICY, "--jobs", "1"]
    # Six clips are brought to disk, and then nothing more happens.
    stop = "import time; from st.preparation.stores.store import StoreWriter; append = StoreWriter.append\n"
    stop += "def wait(self, *clip):\n append(self, *clip); self.sync(); time.sleep(600 * (len(self.records) > 5))\n"
    stop += "StoreWriter.append = wait\n"
    code = f"{stop}import sys; from covost.cli import main; sys.exit(main({[*arguments, '--shard', '1/2']!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    journal = out / "shards/1-of-2/audio/en/.train.zip.journal"
    deadline = time.monotonic() + 600
    while not (journal.is_file() and journal.read_text(encoding="utf-8").count("\n") == 1 + 6):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run("merge", messy_corpus, out, *POLICY) == 1
    for number in (1, 2):
        assert run("prepare", messy_corpus, out, "--shard", f"{number}/2", *POLICY) == 0
    assert run("merge", messy_corpus, out, *POLICY) == 0
    assert tree(out) == single


def test_shards_may_be_made_elsewhere_and_brought_together(
    messy_corpus, single: dict[str, bytes], tmp_path: Path
) -> None:
    for number in (1, 2):
        node = tmp_path / f"node{number}"
        assert run("prepare", messy_corpus, node, "--shard", f"{number}/2", *POLICY) == 0
        shutil.copytree(node / "shards", tmp_path / "data" / "shards", dirs_exist_ok=True)
    assert run("merge", messy_corpus, tmp_path / "data", *POLICY) == 0
    assert tree(tmp_path / "data") == single


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "1/3/5", "-1/3"])
def test_shards_that_do_not_exist_are_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected i/n with i from 1 to n"):
        shard_numbers(text)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("total", [1, 3, 8])
def test_the_parts_of_all_shards_are_the_clips_in_order(count: int, total: int) -> None:
    clips = [str(number) for number in range(count)]
    parts = [Shard(total, number).part(clips) for number in range(1, total + 1)]
    assert [clip for part in parts for clip in part] == clips
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
