"""``st push`` against a server on this machine that speaks the hub's protocol."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from hub_server import NEW, OLD, TOKEN, serving

from st import load
from st.cli import main

GOLDEN = Path(__file__).parents[2] / "golden" / "training_v1.pt"
SECRET = "S3CRET"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model's folder with what else lies in folders."""
    folder = tmp_path_factory.mktemp("models") / "model"
    assert main(["convert", str(GOLDEN), str(folder), "--to", "hf"]) == 0
    for name in (
        "notes.txt",
        ".env",
        "token.json",
        "ctc/secrets_config.json",
        "optimizer.pt",
        "language_model/notes.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(SECRET)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving(monkeypatch, tmp_path / "cache") as state:
        yield state


def push(model, *options):
    return main(["push", str(model), "someone/model", *options])


def test_a_model_arrives_whole_in_one_commit_and_opens_from_there(model, hub, capsys):
    assert push(model) == 0
    commit = hub.names["main"]
    said = capsys.readouterr().out
    assert f"someone/model/commit/{commit}" in said
    assert "6 other files stay here: .env, " in said
    assert hub.created["visibility"] == "private"
    assert len(hub.commits) == 2  # that of the new repository, and ours
    files = {name: content for name, content in hub.commits[commit].items() if name != ".gitattributes"}
    assert files == {name: (model / name).read_bytes() for name in files}
    assert {"README.md", "config.json", "model.safetensors", "ctc_head.safetensors", "st.json", "ctc/config.json",
            "ctc/vocab.json", "ctc/model.safetensors"} <= set(files)  # fmt: skip
    assert SECRET.encode() not in b"".join(hub.bodies)
    one, two = load("someone/model", revision=commit).model, load(GOLDEN).model
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_model_of_8_bits_arrives_and_opens_from_there(hub, tmp_path, capsys):
    folder = tmp_path / "int8"
    assert main(["convert", str(GOLDEN), str(folder), "--to", "hf", "--dtype", "int8"]) == 0
    assert push(folder) == 0
    assert "stay here" not in capsys.readouterr().out
    files = hub.commits[hub.names["main"]]
    assert {"README.md", "model.int8.safetensors", "ctc_head.safetensors", "ctc/vocab.json"} <= set(files)
    assert not {"model.safetensors", "ctc/config.json"} & set(files)
    one, two = load("someone/model", revision=hub.names["main"]), load(folder)
    assert one.ctc.symbols == two.ctc.symbols
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "visibility", "branch"),
    [(["--public"], "public", "main"), (["--revision", "trial", "--message", "Of today"], "private", "trial")],
)
def test_who_sees_it_and_where_it_goes_are_options(model, hub, options, visibility, branch):
    assert push(model, *options) == 0
    assert hub.created["visibility"] == visibility
    assert "config.json" in hub.commits[hub.names[branch]]
    assert ("config.json" in hub.commits[hub.names["main"]]) is (branch == "main")
    if branch != "main":
        assert any(b'"summary": "Of today"' in body for body in hub.bodies)


def test_a_model_that_is_there_is_replaced_only_if_asked_for_and_as_a_whole(model, hub, capsys):
    others = {
        "pytorch_model.bin": b"x",
        "model-00001-of-00002.safetensors": b"x",
        "vocab.json": b"{}",
        "plot.png": b"x",
    }
    hub.commits = {NEW: others}
    assert push(model) == 2
    sentence = "someone/model: has a model, with pytorch_model.bin; choose another name, or add --overwrite"
    assert sentence in capsys.readouterr().err
    assert hub.commits == {NEW: others}
    assert push(model, "--overwrite") == 0
    assert not hub.created
    left = set(hub.commits[hub.names["main"]])
    assert left & set(others) == {"plot.png"}
    assert "model.safetensors" in left


def test_nothing_is_asked_or_sent_in_a_dry_run(model, hub, capsys):
    assert push(model, "--dry-run") == 0
    assert "  model.safetensors\n" in capsys.readouterr().out
    assert hub.asked == []


def test_a_file_that_the_hub_ignores_is_told(model, hub, capsys):
    hub.commits = {OLD: {}}
    hub.names = {"main": OLD}
    hub.ignored = {"st.json"}
    assert push(model) == 1
    assert "someone/model: st.json did not arrive; see whether the .gitignore there names it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("token", "code", "message"), [("", 2, "nobody is logged in"), ("hf_wrong", 1, "the hub has not taken")]
)
def test_a_token_that_is_missing_or_wrong_is_one_sentence(model, hub, monkeypatch, capsys, token, code, message):
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", os.devnull)
    assert push(model) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "hf_wrong" not in error
    assert not hub.commits


def test_a_hub_that_is_not_there_is_one_sentence(model, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert push(model) == 1
    error = capsys.readouterr().err
    assert "someone/model: the hub has not taken the model: " in error
    assert error.count("\n") == 1


def no_card(folder):
    (folder / "README.md").unlink()


def no_model(folder):
    (folder / "config.json").unlink()


def linked(folder):
    (folder / "st.json").rename(folder / "elsewhere")
    (folder / "st.json").symlink_to(folder / "elsewhere")


def damaged(folder):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)


def no_vocabulary(folder):
    (folder / "ctc" / "vocab.json").write_text(json.dumps({"<pad>": 0, "<unk>": 1, "|": 2}))


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (no_card, 2, "has no README.md, by which people know what it is"),
        (no_model, 2, "expected the folder of a model"),
        (linked, 2, "st.json: is a link"),
        (damaged, 1, "checksum"),
        (no_vocabulary, 1, "they belong to different models"),
    ],
)
def test_what_nobody_could_use_is_not_sent(model, hub, tmp_path, capsys, change, code, message):
    folder = tmp_path / "model"
    for path in model.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(model)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(model)).write_bytes(path.read_bytes())
    change(folder)
    assert push(folder) == code
    assert message in capsys.readouterr().err
    assert hub.asked == []


@pytest.mark.parametrize("name", ["model", "someone/model@main", "/someone/model", "a/b/c"])
def test_a_name_that_is_no_repository_is_refused(model, name, capsys):
    assert main(["push", str(model), name]) == 2
    assert "expected owner/name" in capsys.readouterr().err
