"""Hub ids, against a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import reference_models as ref
import torch
from hub_server import NEW, OLD, serving

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.hub import is_of_hub, looks_like_hub_id, snapshot
from st.checkpoints.inspect import inspect
from st.checkpoints.start.initialise import load_encoder
from st.cli import main
from st.errors import CheckpointError
from st.inference import load_translator
from st.text.sentencepiece_training import mbart50_tags, model_pieces


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving(monkeypatch, tmp_path / "cache") as state:
        yield state


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
    asked = [path.partition(NEW)[2] for path in hub.asked if "/resolve/" in path]
    assert "/ctc_head.safetensors" in asked
    assert "/ctc/model.safetensors" not in asked  # the recogniser, whose encoder is the model's own
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


def test_an_adapter_of_peft_on_the_hub_is_called_one(hub):
    hub.commits = {NEW: {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}}
    with pytest.raises(CheckpointError, match=r"it has no weights .*, but an adapter of peft for another model"):
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
