"""An evaluation in 8 bits: the same hypotheses in batches of one and of eight, undivided and in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from st.audio.reading import encode_flac
from st.cli import main
from st.data.config import DataConfig
from st.data.manifest import ManifestRow, write_manifest
from st.inference import precision
from st.kernels.int8_linear import int8_works

DIRECTIONS = ("en_de", "en_ja")
RUNS = {
    "in batches of eight": [["--batch-size", "8"]],
    "in batches of one": [["--batch-size", "1"]],
    "in two parts": [["--batch-size", "2", "--shard", shard] for shard in ("2/2", "1/2")],
}


@pytest.fixture(scope="module")
def data(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared tree of eight recordings of noise of different lengths."""
    folder = tmp_path_factory.mktemp("data")
    for path in tree.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    store, offset, slices = folder / "audio" / "en" / "test.zip", 0, []
    store.parent.mkdir(parents=True)
    generator = np.random.default_rng(0)
    with store.open("wb") as handle:
        for number in range(8):
            length = 4000 + 1700 * number
            content = encode_flac((0.1 * generator.standard_normal(length)).astype(np.float32))
            slices.append((f"audio/en/test.zip:{offset}:{len(content)}", length))
            offset += handle.write(content)
    for direction in DIRECTIONS:
        rows = [
            ManifestRow(f"en{n}", audio, length, "ein Satz", "v", "a line", "en", direction.split("_")[1])
            for n, (audio, length) in enumerate(slices)
        ]
        write_manifest(folder / f"test_{direction}.tsv", rows)
    DataConfig(directions=DIRECTIONS).save(folder)
    return folder


@pytest.mark.skipif(not int8_works(), reason="this CPU or torch has no products of 8 bits")
def test_hypotheses_do_not_depend_on_batches_and_parts(checkpoint, data, tmp_path, monkeypatch):
    # Products of 8 bits are the same in any batch; those of bfloat16 beside them are not.
    monkeypatch.setattr(precision, "floating", lambda: precision.DTYPES["float32"])
    found = {}
    for number, (name, runs) in enumerate(RUNS.items()):
        out = tmp_path / str(number)
        for options in runs:
            command = ["evaluate", "--checkpoint", str(checkpoint), "--data", str(data), "--out", str(out)]
            assert main([*command, "--dtype", "int8", "--beam", "3", "--threads", "1", *options]) == 0
        tables = sorted(out.glob("*/*.tsv"))
        found[name] = {path.relative_to(out).as_posix(): path.read_bytes() for path in tables}
    first, *others = found.values()
    assert {"hypotheses/en_de.tsv", "hypotheses/en_ja.tsv", "transcripts/en.tsv"} <= first.keys()
    assert all(other == first for other in others)
    assert len({line.split(b"\t")[1] for line in first["hypotheses/en_de.tsv"].splitlines()[1:]}) > 2
