"""Releases of Common Voice as files, for tests of what is read from them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from without_provenance import compared

from covost.cli import main


def prepare(root: Path, out: Path, *extra: str, jobs: int = 1, command: str = "prepare") -> int:
    options = ["--cv-root", str(root), "--directions", "en_de,en_ca", "--out", str(out), *extra]
    return main([command, *options, *(["--jobs", str(jobs)] if command == "prepare" else [])])


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a tree that are part of it: what does not begin with a dot."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return compared({str(path): (folder / path).read_bytes() for path in files if not path.parts[0].startswith(".")})


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def files_of(corpus) -> dict[str, bytes]:
    """Return the files of a Common Voice release, in an order of no meaning, with some that are not wanted."""
    folder = corpus.clips.parent
    clips = {f"clips/{path.name}": path.read_bytes() for path in corpus.clips.iterdir()}
    order = np.random.default_rng(0).permutation(sorted(clips))
    others = {
        "clips/._clip00.mp3": b"mac",
        "clip_durations.tsv": b"clip\n",
        "clips/sub/clip01.mp3": b"no",
        "other.tsv": b"",
    }
    return {
        "clips/unused.mp3": b"an invalidated clip",
        **{str(name): clips[str(name)] for name in order},
        "validated.tsv": (folder / "validated.tsv").read_bytes(),
        **others,
    }


def write_tar(path: Path, files: dict[str, bytes], prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
