"""A prepared tree while it changes: nobody else works on it, and nobody takes it for a whole one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from covost.cli import main
from st.errors import StError
from st.preparation.stores.decode import ClipDecoder, DecodedClip
from st.preparation.tree.tree import PreparedTree


def prepare(corpus, out: Path, directions: str = "en_de,en_ca") -> int:
    return main(
        ["prepare", "--cv-root", str(corpus.root), "--directions", directions, "--out", str(out), "--jobs", "1"]
    )


def test_fault_18_a_second_preparation_of_a_folder_is_refused_and_changes_nothing(
    full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    with PreparedTree(out):
        (out / ".half.7.tmp").touch()
        assert prepare(full_corpus, out) == 1
        assert "another preparation is working on this folder" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [".half.7.tmp"]
    assert prepare(full_corpus, out) == 0
    assert not (out / ".half.7.tmp").exists()


def test_fault_18_while_audio_changes_there_is_no_config(
    full_corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_recording
) -> None:
    out = tmp_path / "data"
    prepare(full_corpus, out)
    (full_corpus.clips / "clip02.mp3").write_bytes(make_recording(77, 0.9))
    seen = []

    def stop(*_: object) -> Iterator[DecodedClip]:
        seen.append((out / "config.yaml").exists())
        raise StError("stopped")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(ClipDecoder, "decode", stop)
        assert prepare(full_corpus, out) == 1
    assert seen == [False]
    assert not (out / "config.yaml").exists()
    assert main(["verify", str(out)]) == 1
    assert prepare(full_corpus, out) == 0
    assert main(["verify", str(out)]) == 0
    assert "clip_s: 0.9" in (out / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", ["write", "remove", "same"])
def test_fault_18_while_other_files_change_there_is_no_config(tmp_path: Path, change: str) -> None:
    with PreparedTree(tmp_path) as tree:
        tree.write("train_fr_en.tsv", b"old")
        tree.finish(b"settings", [])
    with PreparedTree(tmp_path) as tree:
        if change == "remove":
            tree.remove_other_manifests({"dev_fr_en.tsv"})
        else:
            tree.write("train_fr_en.tsv", b"new" if change == "write" else b"old")
        assert (tmp_path / "config.yaml").exists() == (change == "same")


def test_fault_18_the_config_comes_after_everything_that_it_vouches_for(
    full_corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    replace = Path.replace

    def remember(path: Path, target: Path) -> Path:
        written.append(Path(target).name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", remember)
    assert prepare(full_corpus, tmp_path / "data", "en_de") == 0
    assert written[-2:] == ["digests.json", "config.yaml"]
    assert {"train.zip", "train.index.tsv", "train_en_de.tsv", "index.parquet", "report.json"} <= set(written[:-2])
