"""Heads that classify, trained by the same task: labels from a column, crops, accuracy, what leaves with a checkpoint."""

import json

import numpy as np
import pytest
import torch
from fairseq.logging import metrics
from head_trees import declare_heads, edit_manifests
from hypothesis import given
from hypothesis import strategies as some
from tone_tree import make_tree
from trainer_in_process import batch, changed, make_trainer, parameters

from st import load
from st.audio.augmentation import AugmentationConfig
from st.data.config import DataConfig, HeadData
from st.data.dataset import TranslationDataset, standardize
from st.errors import ConfigError
from st.inference.identification.identifier import Identifier
from st.modules.classification_heads import class_loss, frame_mean
from st.modules.config import HeadConfig
from st.text.class_labels import ClassLabels

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ALONE = {"heads": "language", "translation_weight": "0", "ctc_weight": "0", "head_weights": "language=1"}
RATE = 16_000


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A tree whose spoken languages are labels; the manifests have them already."""
    folder = make_tree(tmp_path_factory.mktemp("tree"), train=6, dev=2)
    ClassLabels(["de", "en"]).save(folder / "labels_language.json")
    declare_heads(
        folder, language={"kind": "utterance", "vocab_filename": "labels_language.json", "column": "src_lang"}
    )
    return folder


# -- labels -------------------------------------------------------------------------------------------------------------


@given(some.lists(some.text(min_size=1).filter(str.strip), unique=True, min_size=1))
def test_labels_are_read_as_they_were_written(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("labels") / "labels.json"
    ClassLabels(names).save(path)
    assert ClassLabels.load(path).symbols == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected a table of labels and rows"),
        ('{"de": 0, "en": 2}', "rows must be 0 to 1, each once"),
        ('{"de": 0, "en": "1"}', "expected a table of labels and rows"),
        ("{}", "expected texts, at least one"),
        ('{" ": 0}', "expected texts, at least one"),
    ],
    ids=["list", "hole", "text", "none", "empty"],
)
def test_a_malformed_file_of_labels_is_refused(content, message, tmp_path):
    (tmp_path / "labels.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        ClassLabels.load(tmp_path / "labels.json")
    with pytest.raises(ConfigError, match="no such file"):
        ClassLabels.load(tmp_path / "other.json")


# -- the loss -----------------------------------------------------------------------------------------------------------


def test_the_loss_is_cross_entropy_and_nothing_without_a_label():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    found = class_loss(logits, torch.ones(3), torch.tensor([[2], [0], [1]]), torch.tensor([1, 0, 1]))
    expected = [-logits[0].log_softmax(0)[2], 0.0, -logits[2].log_softmax(0)[1]]
    assert found.tolist() == pytest.approx([float(value) for value in expected])
    nothing = class_loss(logits, torch.ones(3), torch.zeros(3, 0, dtype=torch.long), torch.zeros(3, dtype=torch.long))
    assert nothing.tolist() == [0.0, 0.0, 0.0]


def test_what_padding_holds_is_no_part_of_the_mean():
    states = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([states[0, :2].mean(0), states[1].mean(0)])
    states[0, 2:] = float("nan")
    torch.testing.assert_close(frame_mean(states, torch.tensor([2, 5])), expected)


# -- training -----------------------------------------------------------------------------------------------------------


def test_languages_are_learned_validated_saved_and_named(data, tmp_path):
    trainer = make_trainer(data, **ALONE, lr="3e-3")
    assert [*trainer.get_model().translator.config.heads] == ["language"], "no CTC head rests beside it"
    before = parameters(trainer)
    dataset = trainer.task.datasets["train"]
    everything = dataset.collater([dataset[item] for item in range(len(dataset))])
    with metrics.aggregate(new_root=True) as meters:
        for _ in range(30):
            trainer.train_step([everything])
    logged = meters.get_smoothed_values()
    assert {"language.proj.weight", "language.out.weight", "encoder.layer_norm.weight"} <= changed(
        before, parameters(trainer)
    )
    trainer.task.load_dataset("dev")
    dev = trainer.task.datasets["dev"]
    sample = dev.collater([dev[item] for item in range(len(dev))])
    with metrics.aggregate(new_root=True) as meters:
        trainer.valid_step(sample)
    valid = meters.get_smoothed_values()
    assert logged["language_loss"] > 0
    assert "wer" not in valid
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(
        str(tmp_path / "lid.pt"), {"train_iterator": {"epoch": 1, "iterations_in_epoch": 1, "version": 2}}
    )
    bundle = load(tmp_path / "lid.pt")
    assert bundle.labels["language"].symbols == ["de", "en"]
    identify = Identifier(bundle)
    named = [identify(dev.dataset.recording(item)).labels[0].label for item in range(len(dev))]
    spoken = [utterance.src_lang for utterance in dev.dataset.utterances]
    right = sum(one == other for one, other in zip(named, spoken, strict=True))
    assert valid["language_accuracy"] == pytest.approx(100 * right / len(spoken), abs=0.01)


def test_a_label_that_the_head_lacks_is_counted_and_left_out(data, caplog):
    folder = data.parent / "strange"
    make_tree(folder, train=4, dev=2)
    ClassLabels(["de"]).save(folder / "labels_language.json")
    declare_heads(
        folder, language={"kind": "utterance", "vocab_filename": "labels_language.json", "column": "src_lang"}
    )
    trainer = make_trainer(folder, **ALONE)
    assert "4 of 8 utterances have labels that the head language has no class for" in caplog.text
    assert "'en' (4)" in caplog.text
    dataset = trainer.task.datasets["train"]
    sample = dataset.collater([dataset[item] for item in range(len(dataset))])
    loss, size, log = trainer.criterion(trainer.get_model().train(), sample)
    assert (size, int(log["language_empty"])) == (4, 4)
    assert float(loss) == 0.0, "one class is always right"


def test_all_layers_may_be_averaged_and_options_of_a_head_are_in_the_config(data):
    folder = data.parent / "mixed"
    make_tree(folder, train=2, dev=2)
    ClassLabels(["de", "en"]).save(folder / "labels_language.json")
    head = {"kind": "utterance", "vocab_filename": "labels_language.json", "column": "src_lang", "layer": -1}
    declare_heads(folder, language=head | {"options": {"width": 12, "activation": "gelu"}})
    trainer = make_trainer(folder, **ALONE)
    assert trainer.get_model().translator.config.heads == {
        "language": HeadConfig("utterance", 2, -1, {"width": 12, "activation": "gelu"})
    }
    before = parameters(trainer)
    for _ in range(3):
        trainer.train_step([batch(trainer)])
    assert {"language.layer_weights", "language.proj.weight"} <= changed(before, parameters(trainer))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": "accent"}, "declares no head accent, only ctc, language"),
        ({"heads": ","}, "--heads is ','; expected some of ctc, language"),
        ({"crop_seconds": "2", "ctc_weight": "0"}, "--crop-seconds cuts recordings, and the decoder is to write all"),
        ({"crop_seconds": "2", "translation_weight": "0"}, "and the head ctc is to write all that is said"),
    ],
    ids=["unknown", "none", "decoder", "ctc"],
)
def test_contradictions_are_refused(data, changes, message):
    with pytest.raises((ConfigError, SystemExit), match=message):
        make_trainer(data, **changes)


def test_a_kind_that_is_not_trained_is_refused(data):
    folder = data.parent / "frames"
    make_tree(folder, train=2, dev=2)
    ClassLabels(["de", "en"]).save(folder / "labels.json")
    declare_heads(folder, frames={"kind": "frame", "vocab_filename": "labels.json", "column": "src_lang"})
    with pytest.raises((ConfigError, SystemExit), match="the head frames is of kind frame, which is not trained"):
        make_trainer(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "head width is 0; expected a number from 1"),
        ({"activation": "swish"}, "head activation is 'swish'; expected one of: linear"),
        ({"depth": 3}, "options of a head of kind utterance are {'depth': 3}; known are: scores, width, activation"),
    ],
    ids=["width", "activation", "unknown"],
)
def test_options_of_heads_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        HeadConfig("utterance", 2, 0, options)


# -- crops --------------------------------------------------------------------------------------------------------------


def test_crops_are_stretches_of_the_standardised_recording_and_others_every_epoch(data):
    labels = {"language": ClassLabels(["de", "en"])}
    dataset = TranslationDataset.load(
        data, "train", None, None, labels, data=DataConfig.load(data), augmentation=AugmentationConfig(crop_seconds=0.5)
    )
    starts = []
    for epoch in (1, 2, 3):
        dataset.begin_epoch(1, epoch)
        assert dataset.sizes.max() == 8000
        for item in range(len(dataset)):
            wave = dataset.waveform(item)
            assert len(wave) == dataset.sizes[item] == min(8000, dataset.recorded_sizes[item])
            whole = standardize(dataset.recording(item))
            found = np.lib.stride_tricks.sliding_window_view(whole, len(wave))
            places = np.flatnonzero(np.abs(found[:, :50] - wave[:50]).max(1) < 1e-6)
            assert len(places) >= 1
            np.testing.assert_allclose(found[places[0]], wave, atol=1e-6)
            starts.append(int(places[0]))
    assert len({*starts}) > len(starts) // 2
    dataset.begin_epoch(1, 3)
    assert (
        int(np.flatnonzero(np.abs(found[:, :50] - dataset.waveform(len(dataset) - 1)[:50]).max(1) < 1e-6)[0])
        == starts[-1]
    )


def test_what_is_joined_has_the_label_of_both_or_none(data):
    folder = data.parent / "joined"
    make_tree(folder, train=4, dev=2, directions=("de_en",), speakers=1)
    moods = iter(["glad", "glad", "sad", "sad"] * 10)
    edit_manifests(folder, lambda row: row | {"mood": next(moods)})
    labels = {"mood": ClassLabels(["glad", "sad"])}
    head = {"kind": "utterance", "vocab_filename": "labels.json", "column": "mood"}
    config = DataConfig(directions=("de_en",), heads={"mood": head})
    dataset = TranslationDataset.load(
        folder, "train", None, None, labels, data=config, augmentation=AugmentationConfig(concat_prob=1.0)
    )
    dataset.begin_epoch(1, 1)
    own = [utterance.more[0] for utterance in dataset.utterances]
    for item in range(len(dataset)):
        parts = {own[number] for number in dataset.plan.parts(item)}
        assert dataset.head_texts(item) == [parts.pop() if len(parts) == 1 else ""]
    assert any(len(dataset.plan.parts(item)) == 2 for item in range(len(dataset)))


def test_the_config_of_a_head_is_written_and_read(tmp_path):
    head = {"kind": "utterance", "vocab_filename": "l.json", "column": "mood", "layer": -1, "options": {"width": 8}}
    DataConfig(heads={"mood": head}).save(tmp_path)
    assert DataConfig.load(tmp_path).head_data["mood"] == HeadData(**head)
    assert json.loads(json.dumps(DataConfig.load(tmp_path).heads["mood"])) == head
