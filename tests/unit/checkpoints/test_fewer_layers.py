"""A model of fewer layers starts from evenly spaced ones of a larger model."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from st import load
from st.checkpoints.formats.exported import Exported
from st.checkpoints.formats.fairseq.writer import write_fairseq
from st.checkpoints.start.fewer_layers import drop_layers, kept_layers
from st.checkpoints.start.initialise import load_decoder, load_encoder
from st.errors import CheckpointError
from st.modules.config import ModelConfig
from st.modules.model import SpeechTranslator

GOLDEN = Path(__file__).parents[2] / "golden" / "training_v1.pt"


@given(st.integers(1, 60).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count))))
def test_kept_layers_are_distinct_and_evenly_spaced(sizes):
    count, wanted = sizes
    kept = kept_layers(count, wanted)
    assert len(kept) == wanted
    assert kept[0] == 0
    assert wanted == 1 or kept[-1] == count - 1
    steps = {after - before for before, after in itertools.pairwise(kept)}
    assert not steps or (min(steps) >= 1 and max(steps) - min(steps) <= 1)


def test_the_layers_of_the_issue():
    assert kept_layers(24, 16) == [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23]
    assert kept_layers(12, 6) == [0, 2, 4, 7, 9, 11]


def deep(config: ModelConfig, *, encoder: int, decoder: int) -> SpeechTranslator:
    parts = {"encoder": encoder, "decoder": decoder}
    changed = {part: dataclasses.replace(getattr(config, part), num_layers=n) for part, n in parts.items()}
    torch.manual_seed(3)
    return SpeechTranslator(dataclasses.replace(config, **changed)).eval()


@pytest.fixture
def larger(tmp_path):
    """A checkpoint of five encoder and four decoder layers, and its model."""
    bundle = load(GOLDEN)
    model = deep(bundle.model.config, encoder=5, decoder=4)
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    exported = Exported(config=model.config, state=state, text=bundle.text, labels=bundle.labels, data=bundle.config)
    write_fairseq(exported, tmp_path / "large.pt")
    return tmp_path / "large.pt", model, bundle.text


def test_a_smaller_model_starts_from_some_layers(larger, caplog):
    path, theirs, text = larger
    mine = deep(theirs.config, encoder=3, decoder=2)
    with caplog.at_level(logging.INFO):
        load_encoder(mine, path)
        load_decoder(mine, path, text)
    assert "of its 5 encoder layers 3 are kept as a start: 1 3 5" in caplog.text
    assert "of its 4 decoder layers 2 are kept as a start: 1 4" in caplog.text
    found, expected = mine.state_dict(), theirs.state_dict()
    for part, kept in (("encoder.encoder.layers", (0, 2, 4)), ("decoder.layers", (0, 3))):
        names = [name for name in found if name.startswith(f"{part}.")]
        assert names
        for name in names:
            number, _, rest = name.removeprefix(f"{part}.").partition(".")
            torch.testing.assert_close(found[name], expected[f"{part}.{kept[int(number)]}.{rest}"], rtol=0, atol=0)
    name = "encoder.feature_extractor.conv_layers.0.0.weight"
    torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)


def test_more_layers_than_there_are_cannot_be_made(larger):
    path, theirs, _ = larger
    with pytest.raises(CheckpointError, match="missing"):
        load_encoder(deep(theirs.config, encoder=6, decoder=4), path)


def test_nothing_is_dropped_of_as_many_layers():
    state = {"layers.0.x": torch.zeros(1), "layers.1.x": torch.ones(1)}
    assert drop_layers(state, "decoder", 2, 2, source="a") == state
