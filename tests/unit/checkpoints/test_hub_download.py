"""Hub ids, against a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import reference_models as ref
import torch

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.hub import is_of_hub, looks_like_hub_id, snapshot
from st.checkpoints.initialise import load_encoder
from st.checkpoints.inspect import inspect
from st.cli import main
from st.errors import CheckpointError
from st.inference import load_translator
from st.text.sentencepiece_training import mbart50_tags, model_pieces

OLD, NEW = "a" * 40, "b" * 40


class Hub:
    """Repositories by name, their revisions, and what was asked for."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, bytes]] = {}
        self.names: dict[str, str] = {"main": NEW}
        self.asked: list[str] = []
        self.lie_about: dict[str, bytes] = {}

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.names.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".model", ".pt"))


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(path)
        if "/tree/" in path:
            return self.tree(path.partition("/tree/")[2])
        if path.startswith("/api/models/someone/model"):
            return self.model(path.partition("/revision/")[2] or "main")
        prefix = "/someone/model/resolve/"
        if path.startswith(prefix):
            revision, _, name = path.removeprefix(prefix).partition("/")
            return self.file(revision, name)
        return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "Content-Type": "application/json"})

    def model(self, revision: str) -> None:
        found = self.hub.files(revision)
        if found is None:
            return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound", "Content-Type": "application/json"})
        commit, files = found
        siblings = []
        for name, content in files.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if is_large(name):
                entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        answer = {"_id": "1", "id": "someone/model", "sha": commit, "private": False, "tags": [], "siblings": siblings}
        return self.answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def tree(self, revision: str) -> None:
        _, files = self.hub.files(revision)
        entries = []
        for name, content in files.items():
            entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            if is_large(name):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return self.answer(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})

    def file(self, revision: str, name: str) -> None:
        found = self.hub.files(revision)
        if found is None or name not in found[1]:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = self.hub.lie_about.get(name, found[1][name])
        digest = hashlib.sha256(found[1][name]).hexdigest()
        return self.answer(200, content, {"ETag": f'"{digest}"', "X-Repo-Commit": found[0]})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    state = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": state}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two commits of one model, with different weights."""
    spm = ref.make_spm()
    size = len(model_pieces(spm)) + 4 + len(mbart50_tags())
    commits = {}
    for commit, seed in ((OLD, 1), (NEW, 2)):
        model = ref.perturb(ref.speech_translator(size), seed)
        folder = ref.save_speech_translator(model, tmp_path_factory.mktemp("hf"), spm)
        commits[commit] = {file.name: file.read_bytes() for file in folder.iterdir()}
        commits[commit] |= {"pytorch_model.bin": b"never fetched", "README.md": b"# x", "sub/model.safetensors": b"x"}
    return commits


def weight(bundle) -> torch.Tensor:
    return bundle.model.encoder.mask_emb


def test_hub_id_with_a_pinned_revision_opens_that_commit(hub, models):
    hub.commits = models
    old = load("someone/model", revision=OLD)
    assert old.source == f"someone/model@{OLD}"
    assert torch.equal(weight(old), weight(load(f"someone/model@{OLD}")))
    new = load("someone/model")
    assert new.source == f"someone/model@{NEW}"
    assert not torch.equal(weight(old), weight(new))
    assert new.text.language_id("ca") == new.text.language_id("es")


def test_only_what_is_needed_is_fetched_and_safetensors_go_before_pickles(hub, models):
    hub.commits = models
    folder, commit = snapshot("someone/model", OLD)
    assert commit == OLD
    names = {file.name for file in folder.rglob("*") if file.is_file()}
    assert {"config.json", "model.safetensors", "sentencepiece.bpe.model"} <= names
    assert not {"pytorch_model.bin", "README.md"} & names


def test_a_moving_revision_is_reported_with_the_commit_to_pin(hub, models, caplog):
    hub.commits = models
    snapshot("someone/model")
    assert f"pin it as someone/model@{NEW}" in caplog.text
    caplog.clear()
    snapshot("someone/model", NEW)
    # The hub's own client may log its requests.
    assert not [record for record in caplog.records if record.name.startswith("st.")]


def test_a_file_with_another_digest_than_the_hub_says_is_refused(hub, models):
    hub.commits = models
    whole = models[OLD]["model.safetensors"]
    hub.lie_about = {"model.safetensors": whole[:-8] + bytes(8)}
    with pytest.raises(CheckpointError, match=r"its SHA-256 is .*; expected"):
        load("someone/model", revision=OLD)


def test_a_folder_of_ours_comes_with_its_ctc_head(hub, training, tmp_path, monkeypatch):
    model, path = training
    convert(path, tmp_path / "out", "hf")
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    hub.commits = {NEW: {str(file.relative_to(tmp_path / "out")): file.read_bytes() for file in files}}
    head = model.ctc.proj.weight
    assert torch.equal(load("someone/model", revision=NEW).model.ctc.proj.weight, head)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert torch.equal(load("someone/model", revision=NEW).model.ctc.proj.weight, head)


@pytest.mark.parametrize(("source", "revision"), [("nobody/nothing", None), ("someone/model", "c" * 40)])
def test_unknown_repository_or_revision_is_one_sentence(hub, models, source, revision):
    hub.commits = models
    with pytest.raises(CheckpointError, match=f"{source}: neither a file here nor a model that the hub gives"):
        load(source, revision=revision)


def test_repository_without_weights_says_so(hub):
    hub.commits = {NEW: {"README.md": b"# x"}}
    with pytest.raises(CheckpointError, match="it has no weights"):
        load("someone/model")


def test_a_pinned_commit_that_was_fetched_before_opens_without_the_hub(hub, models, monkeypatch):
    hub.commits = models
    first = load("someone/model", revision=OLD)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    again = load("someone/model", revision=OLD)
    assert again.source == first.source
    assert torch.equal(weight(again), weight(first))
    with pytest.raises(CheckpointError, match="neither a file here"):
        load("someone/model")
    with pytest.raises(CheckpointError, match="neither a file here"):
        load("someone/model", revision=NEW)


def test_a_server_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="neither a file here nor a model"):
        load("someone/model")


@pytest.mark.parametrize(
    ("before", "after"),
    [("//", "//me:S3CRET@"), ("//", "//me:S3/CRET@"), ("//", "//me:S3CRET@ho st"), ("", "?token=S3CRET")],
)
@pytest.mark.usefixtures("hub")
def test_fault_15_a_password_in_the_hubs_address_is_neither_printed_nor_logged(monkeypatch, caplog, before, after):
    address = os.environ["HF_ENDPOINT"]
    address = address.replace(before, after) if before else address + after
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_S3CRET")
    with caplog.at_level(logging.INFO), pytest.raises(CheckpointError) as error:
        load("someone/nothing")
    assert "CRET" not in f"{error.value} {caplog.text}"
    assert "S3" not in f"{error.value} {caplog.text}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("facebook/wav2vec2-xls-r-300m", True),
        ("a/b@v1.0", True),
        ("model.pt", False),
        ("/abs/model", False),
        ("./a/b", False),
        ("../a/b", False),
        ("a/b/c", False),
        ("run/checkpoint_best.pt", False),
        ("run/model.SAFETENSORS", False),
        ("run/model.tar.gz@main", False),
        ("run\\model", False),
        ("~/model", False),
        ("run/", False),
        ("läufe/model", False),
        ("openai/whisper-base.en", True),
        ("org/model-v1.5-7B", True),
        (Path("run/model"), False),
    ],
)
def test_hub_ids_are_told_from_paths(source, expected):
    assert looks_like_hub_id(source) is expected


@pytest.fixture
def no_sockets(monkeypatch, tmp_path):
    """A folder with a broken link and a folder, and no way to any network."""

    def asked(*_):
        raise AssertionError("asked over the network")

    monkeypatch.setattr("socket.socket.connect", asked)
    monkeypatch.setattr("socket.getaddrinfo", asked)
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("file").touch()
    Path("org").mkdir()
    Path("org/link").symlink_to("gone")


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize(
    "source",
    [
        "run/checkpoint_best.pt",
        "runs/checkpoint_best.pt",
        "runs/model.ckpt@main",
        "./runs/model",
        "../runs/model",
        "/runs/model",
        "~/model",
        "runs/",
        "runs/1/model",
        "runs\\model",
        "org/link",
        "run/best",
        "file/best",
        Path("runs/model"),
    ],
)
def test_fault_14_what_looks_like_a_path_is_not_asked_of_the_hub(source, capsys):
    for use in (load, load_translator, inspect, lambda path: load_encoder(None, path)):
        with pytest.raises(CheckpointError, match="no such"):
            use(source)
    for command in (["inspect", str(source)], ["translate", "a.wav", "--to", "de", "--checkpoint", str(source)]):
        if not isinstance(source, Path):
            assert main(command) == 1
            assert "no such" in capsys.readouterr().err


@pytest.mark.usefixtures("no_sockets")
def test_fault_14_a_folder_of_the_owners_name_makes_a_hub_id_doubtful():
    with pytest.raises(
        CheckpointError, match=r"org/model: no such file or folder, though org is here; .*org/model@main"
    ):
        load("org/model")
    assert is_of_hub("org/model@main")
    assert is_of_hub("org/model", "v1")
    assert is_of_hub("other/model")


def test_of_the_adapters_of_many_languages_one_is_fetched(hub):
    names = [
        "config.json",
        "model.safetensors",
        "adapter.eng.safetensors",
        "adapter.fra.safetensors",
        "adapter.fra.bin",
    ]
    hub.commits[OLD] = {name: name.encode() for name in names}
    folder, _ = snapshot("someone/model", OLD, "fr")
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter.fra.safetensors",
        "config.json",
        "model.safetensors",
    ]
    folder, _ = snapshot("someone/model", OLD)
    assert not (folder / "adapter.eng.safetensors").exists()
    with pytest.raises(CheckpointError, match="no adapter for de; it has: eng, fra"):
        snapshot("someone/model", OLD, "de")
