"""A checkpoint says which published models its training began with, through every later training and file."""

from __future__ import annotations

import pytest
import torch
from tone_tree import make_tree
from trainer_in_process import make_trainer

from st.checkpoints.convert import convert
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.checkpoints.loading import read_contents


def save(trainer, path):
    state = to_fairseq(trainer.get_model().translator.state_dict())
    torch.save({"model": state, "task_state": trainer.task.state_dict(), "cfg": {}}, path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("data"), train=4, dev=1)


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    """A checkpoint that began with random weights, and its recogniser as somebody else's file."""
    folder = tmp_path_factory.mktemp("origins")
    own = save(make_trainer(data), folder / "own.pt")
    convert(own, folder / "xlsr2_300m.pt", "fairseq", parts="ctc")
    return own, folder / "xlsr2_300m.pt"


def test_a_training_writes_down_what_it_began_with_and_hands_it_on(data, files, tmp_path):
    own, foreign = files
    assert read_contents(own).origins == ()
    first = save(make_trainer(data, encoder=foreign), tmp_path / "first.pt")
    assert read_contents(first).origins == ("xlsr2_300m.pt",)
    second = save(make_trainer(data, encoder=first, decoder=own), tmp_path / "second.pt")
    assert read_contents(second).origins == ("xlsr2_300m.pt",)
    convert(second, tmp_path / "folder", "hf")
    convert(tmp_path / "folder", tmp_path / "third.pt", "fairseq")
    assert read_contents(tmp_path / "third.pt").origins == ("xlsr2_300m.pt",)


def test_a_training_that_goes_on_from_a_checkpoint_has_its_origins(data, files, tmp_path):
    task = make_trainer(data).task
    first = save(make_trainer(data, encoder=files[1]), tmp_path / "first.pt")
    task.load_state_dict(torch.load(first)["task_state"])
    assert task.state_dict()["st_bundle"]["origins"] == ["xlsr2_300m.pt"]


def test_a_checkpoint_of_an_earlier_version_leaves_them_open(data, files, tmp_path):
    state = torch.load(files[0])["task_state"]
    del state["st_bundle"]["origins"]
    task = make_trainer(data).task
    task.load_state_dict(state)
    assert "origins" not in task.state_dict()["st_bundle"]
    torch.save(torch.load(files[0]) | {"task_state": state}, tmp_path / "earlier.pt")
    begun = make_trainer(data, encoder=tmp_path / "earlier.pt").task
    assert begun.state_dict()["st_bundle"]["origins"] == ["earlier.pt"]
