"""A preparation on a cluster of Ray: real machines of one CPU each, as processes of this one; one of them goes down."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from without_provenance import compared

from st.cli import main
from st.engines.engine import Died
from st.engines.ray_cluster import RayEngine
from st.errors import StError
from st.preparation.stores.store import StoreWriter

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[cluster_utils.Cluster]:
    """Start a head and a second machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # The machines need this module, too.
        found = cluster_utils.Cluster(initialize_head=True, head_node_args=NODE)
        found.add_node(**NODE)
        ray.init(address=found.address, log_to_driver=False)
        found.wait_for_nodes()
        yield found
        ray.shutdown()
        found.shutdown()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 160 recordings and a table of them, of which one is broken and one is longer than what is kept in memory."""
    folder = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    rows = ["audio\ttranscript\tspeaker\tsplit"]
    for number in range(160):
        seconds = 40 if number == 40 else 0.6
        soundfile.write(folder / f"{number:03}.wav", random.uniform(-0.3, 0.3, int(seconds * 16_000)), 16_000)
        split = {0: "dev", 1: "test"}.get(number % 16, "train")
        rows.append(f"{number:03}.wav\tphrase numéro {number}\ts{number % 4}\t{split}")
    (folder / "007.wav").write_bytes(b"RIFF, but no recording")
    (folder / "table.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    return folder


def prepare(corpus: Path, out: Path, *options: str) -> int:
    limits = ["--vocab-size", "40", "--max-skipped", "0.1", "--max-seconds", "60"]
    return main(["prepare", str(corpus / "table.tsv"), "--language", "fr", "--out", str(out), *limits, *options])


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return compared({str(path.relative_to(folder)): path.read_bytes() for path in files})


@pytest.fixture(scope="module")
def single(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Prepare the corpus in one process."""
    out = tmp_path_factory.mktemp("single") / "data"
    assert prepare(corpus, out, "--jobs", "1") == 0
    return tree(out)


def test_without_a_cluster_it_is_said_how_to_start_one(corpus, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert prepare(corpus, tmp_path / "data", "--engine", "ray") == 1
    assert "there is no Ray cluster here: start one with `ray start --head`" in capsys.readouterr().err


@pytest.mark.usefixtures("cluster")
def test_p25_a_cluster_gives_the_bytes_of_a_single_run(corpus, single, tmp_path) -> None:
    assert RayEngine([], tmp_path).jobs == 2
    assert prepare(corpus, tmp_path / "data", "--engine", "ray") == 0
    assert tree(tmp_path / "data") == single


def test_p25_a_machine_that_goes_down_and_a_run_that_is_broken_off_change_nothing(
    cluster, corpus, single, tmp_path, monkeypatch
) -> None:
    third = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    append = StoreWriter.append

    def kill(self: StoreWriter, *clip: object) -> None:
        append(self, *clip)
        if len(self.records) == 20 and third in cluster.worker_nodes:
            cluster.remove_node(third, allow_graceful=False)
        if len(self.records) == 60:
            self.sync()
            raise OSError(28, "No space left on device", "train.zip")

    monkeypatch.setattr(StoreWriter, "append", kill)
    assert prepare(corpus, tmp_path / "data", "--engine", "ray") == 1
    journal = tmp_path / "data" / "audio" / "fr" / ".train.zip.journal"
    assert journal.read_text(encoding="utf-8").count("\n") == 1 + 60
    decoded = []
    monkeypatch.setattr(StoreWriter, "append", lambda *a: decoded.append(a) or append(*a))
    assert prepare(corpus, tmp_path / "data", "--engine", "ray") == 0
    assert len(decoded) == 160 - 60
    assert tree(tmp_path / "data") == single


def note(item: int, folder: str, slow: str) -> int:
    """Tell which machine works on an item; one of them is never ready, and item 3 brings down its process."""
    machine = ray.get_runtime_context().get_node_id()
    Path(folder, f"{item}-{machine}-{time.monotonic_ns()}").touch()
    time.sleep(600 if machine == slow else 0.05)
    if item == 3:
        os.abort()
    return item * item


def test_work_of_a_machine_that_goes_down_is_done_elsewhere(cluster, tmp_path) -> None:
    third = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    notes = tmp_path / "notes"
    notes.mkdir()

    def take_down_at_work() -> None:
        while not [*notes.glob(f"*-{third.node_id}-*")]:
            time.sleep(0.1)
        cluster.remove_node(third, allow_graceful=False)

    with RayEngine([notes], tmp_path / "out") as engine, ThreadPoolExecutor(1) as beside:
        assert engine.jobs == 3
        down = beside.submit(take_down_at_work)
        work = partial(note, folder=str(notes), slow=third.node_id)
        found = [
            (item, "died" if isinstance(result, Died) else result)
            for item, result in engine.map(work, range(200), lambda _: 16)
        ]
        down.result()
    assert found == [(item, "died" if item == 3 else item * item) for item in range(200)]
    begun = [path.name.split("-")[:2] for path in notes.iterdir()]
    lost = {item for item, node in begun if node == third.node_id}
    assert lost <= {item for item, node in begun if node != third.node_id}
    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.usefixtures("cluster")
def test_a_machine_that_does_not_see_the_sources_is_told_at_the_beginning(tmp_path) -> None:
    with (
        pytest.raises(
            StError, match=rf"does not see {tmp_path}/gone; all machines .* on a file system that they share"
        ),
        RayEngine([tmp_path / "gone"], tmp_path / "out"),
    ):
        pass
    assert [*(tmp_path / "out").iterdir()] == []
