"""Heads beside ``ctc``: declared in config.yaml, trained, saved, loaded; and a kind of head that only this file knows."""

import json
from dataclasses import dataclass
from shutil import copytree

import pytest
import torch
import torch.nn.functional as F
from fairseq import checkpoint_utils
from fairseq.logging import metrics
from head_trees import add_phones, declare_heads, edit_manifests
from tone_tree import make_tree
from torch import nn
from trainer_in_process import batch, changed, make_trainer, parameters

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.inspect import inspect
from st.cli import main
from st.errors import CheckpointError, ConfigError
from st.modules.config import HeadConfig, ModelConfig
from st.modules.heads import HEADS, HeadKind
from st.modules.masking import lengths_to_mask
from st.text.ctc_vocabulary import CtcVocabulary

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return add_phones(make_tree(tmp_path_factory.mktemp("tree"), train=6, dev=2))


def train(trainer, updates=2):
    """Make updates; return what was logged, and the names of the parameters that changed."""
    before = parameters(trainer)
    with metrics.aggregate(new_root=True) as meters:
        for _ in range(updates):
            trainer.train_step([batch(trainer)])
    return meters.get_smoothed_values(), changed(before, parameters(trainer))


def saved(trainer, path):
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(path), {"train_iterator": {"epoch": 1, "iterations_in_epoch": 1, "version": 2}})
    return path


# -- a second CTC head ----------------------------------------------------------------------------------------------


def test_a_second_ctc_head_is_trained_validated_saved_and_loaded(data, tmp_path, capsys):
    trainer = make_trainer(data, head_weights="phones=0.5")
    logged, learnt = train(trainer)
    assert logged["phones_loss"] > 0
    assert logged["ctc_loss"] > 0
    assert {"phones.proj.weight", "phones.proj.bias", "ctc.proj.weight"} <= learnt
    trainer.task.load_dataset("dev")
    dev = trainer.task.datasets["dev"]
    with metrics.aggregate(new_root=True) as meters:
        trainer.valid_step(dev.collater([dev[item] for item in range(len(dev))]))
    assert {"ctc_loss", "wer", "cer", "phones_loss", "phones_wer", "phones_cer"} <= {*meters.get_smoothed_values()}

    path = saved(trainer, tmp_path / "both.pt")
    bundle = load(path)
    assert bundle.labels["phones"].symbols == CtcVocabulary.load(data / "phones.json").symbols
    assert bundle.ctc is bundle.labels["ctc"]
    sample = batch(trainer)["net_input"]
    trained = trainer.get_model().translator.eval()
    for name in ("ctc", "phones"):
        with torch.no_grad():
            found, expected = (
                model.head_logits(name, model.encode(sample["waveforms"], sample["lengths"]))
                for model in (bundle.model, trained)
            )
        torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="no head accent"):
        bundle.model.head_logits("accent", bundle.model.encode(sample["waveforms"], sample["lengths"]))

    assert inspect(path)["heads"] == {
        "ctc": {"kind": "ctc", "size": len(bundle.labels["ctc"]), "layer": 0},
        "phones": {"kind": "ctc", "size": len(bundle.labels["phones"]), "layer": 1},
    }
    assert main(["inspect", str(path), "--quick", "--names"]) == 0
    shown = capsys.readouterr().out
    assert "phones kind ctc size" in shown
    assert "phones.proj.weight  " in shown


def test_the_loss_of_a_batch_is_the_weighted_sum_of_those_of_heads(data):
    trainer = make_trainer(data, head_weights="phones=0.5")
    sample = batch(trainer)
    model, criterion = trainer.get_model().train(), trainer.criterion
    loss, size, log = criterion(model, sample)
    with torch.no_grad():
        output = model(**sample["net_input"], heads=["ctc", "phones"])
    expected = log["translation_loss"]
    for name, weight in (("ctc", 0.3), ("phones", 0.5)):
        targets, lengths = sample["heads"][name]
        scores = output["heads"][name].log_softmax(-1).transpose(0, 1)
        of_head = F.ctc_loss(scores, targets, output["frames"], lengths, reduction="sum", zero_infinity=True)
        expected = expected + weight * of_head * size / int(lengths.sum())
    assert size == sample["ntokens"]
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-4)


def test_a_weight_of_zero_leaves_the_head_as_it_is(data):
    logged, learnt = train(make_trainer(data, head_weights="phones=0"))
    assert "phones_loss" not in logged
    assert "ctc.proj.weight" in learnt
    assert not any(name.startswith("phones.") for name in learnt)


def test_a_head_has_a_learning_rate_and_freezing_of_its_own(data):
    scaled = make_trainer(data, lr_scale="phones=2").optimizer.param_groups
    assert {group["lr_scale"]: len(group["params"]) for group in scaled}[2.0] == 2
    _, learnt = train(make_trainer(data, freeze=r"^phones\."))
    assert not any(name.startswith("phones.") for name in learnt)
    _, learnt = train(make_trainer(data, freeze="heads"))
    assert {name.split(".")[0] for name in learnt} == {"encoder", "length_adaptor", "decoder"}


@pytest.mark.parametrize("text", ["phones", "accent=1", "ctc=1", "phones=-1", "phones=nan", "phones=1,phones=2"])
def test_t23_bad_weights_of_heads_name_the_flag(data, text):
    with pytest.raises(ConfigError, match="--head-weights"):
        make_trainer(data, head_weights=text)


def test_other_formats_refuse_a_second_head_and_ours_keeps_it(data, tmp_path):
    path = saved(make_trainer(data), tmp_path / "both.pt")
    with pytest.raises(CheckpointError, match="transformers has no place for the head phones: keep"):
        convert(path, tmp_path / "folder", "hf")
    convert(path, tmp_path / "again.pt", "fairseq")
    again = load(tmp_path / "again.pt")
    assert list(again.labels) == ["ctc", "phones"]
    for name, tensor in load(path).model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_a_training_goes_on_with_both_heads_and_refuses_another_vocabulary_of_one(data, tmp_path):
    path = saved(make_trainer(data), tmp_path / "both.pt")
    fresh = make_trainer(data, seed=2)
    fresh.load_checkpoint(str(path))
    fresh.task.load_state_dict(torch.load(path, weights_only=False)["task_state"])
    assert not changed(dict(load(path).model.named_parameters()), parameters(fresh))
    other = copytree(data, tmp_path / "other")
    symbols = CtcVocabulary.load(other / "phones.json").symbols
    CtcVocabulary({symbol: row for row, symbol in enumerate([*symbols[:5], *symbols[:4:-1]])}).save(
        other / "phones.json"
    )
    with pytest.raises(CheckpointError, match=r"trained with another phones\.json"):
        make_trainer(other).task.load_state_dict(torch.load(path, weights_only=False)["task_state"])


def test_a_manifest_without_the_column_of_a_head_names_it(data, tmp_path):
    folder = make_tree(tmp_path / "tree", train=2, dev=2)
    (folder / "phones.json").write_bytes((data / "phones.json").read_bytes())
    declare_heads(folder, phones={"kind": "ctc", "vocab_filename": "phones.json", "column": "phones"})
    with pytest.raises(Exception, match=r"train_de_en\.tsv:1: no column phones"):
        make_trainer(folder)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ("phones", "heads is 'phones'; expected a table"),
        ({"phones": "ctc"}, "heads: 'phones' has 'ctc'; expected kind, vocab_filename, column, layer"),
        ({"phones": {"kind": "ctc"}}, "heads: 'phones' has .*; expected kind, vocab_filename, column, layer"),
        (
            {"p": {"kind": "ctc", "vocab_filename": "../a", "column": "p"}},
            "heads: 'p': vocab_filename is '../a'; expected",
        ),
        ({"p": {"kind": "ctc", "vocab_filename": "a", "column": 3}}, "heads: 'p': column is 3; expected str"),
        ({"ctc": {"kind": "ctc", "vocab_filename": "a", "column": "p"}}, "heads has ctc; expected others alone"),
        ({"p": {"kind": "magic", "vocab_filename": "phones.json", "column": "p"}}, "no kind of head 'magic'; choose"),
        (
            {"decoder": {"kind": "ctc", "vocab_filename": "phones.json", "column": "phones"}},
            "a head is named 'decoder'; expected",
        ),
        (
            {"config": {"kind": "ctc", "vocab_filename": "phones.json", "column": "phones"}},
            "a head cannot be named config",
        ),
        (
            {"phones": {"kind": "ctc", "vocab_filename": "phones.json", "column": "phones", "layer": 9}},
            "heads: phones: layer is 9; the encoder has layers 1 to 2",
        ),
    ],
)
def test_t23_bad_heads_of_a_data_config_are_named(data, tmp_path, heads, message):
    folder = copytree(data, tmp_path / "tree")
    text = (data / "config.yaml").read_text(encoding="utf-8").split("heads:")[0]
    (folder / "config.yaml").write_text(text + f"heads: {json.dumps(heads)}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        make_trainer(folder)


def test_a_checkpoint_without_the_vocabulary_of_a_head_names_it(data, tmp_path):
    path = saved(make_trainer(data), tmp_path / "both.pt")
    assert load(path, data_dir=data).labels["phones"].symbols == CtcVocabulary.load(data / "phones.json").symbols
    plain = make_tree(tmp_path / "plain", train=2, dev=2)
    with pytest.raises(CheckpointError, match="has a head phones, of which the heads in config"):
        load(path, data_dir=plain)
    content = torch.load(path, weights_only=False)
    del content["task_state"]["st_bundle"]["files"]["phones.json"]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"config\.yaml names 'phones\.json', which it does not carry"):
        load(path)


# -- a kind of head that is one class and one row -------------------------------------------------------------------


@dataclass
class Classes:
    """Classes by row; a text that is none of them has no target."""

    symbols: list[str]

    @classmethod
    def load(cls, path):
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def __len__(self):
        return len(self.symbols)

    def encode(self, text, _language=None):
        return [self.symbols.index(text)] if text in self.symbols else []

    def to_json(self):
        return json.dumps(self.symbols)


class MeanClassifier(nn.Module):
    """Scores of classes from the mean of the frames."""

    def __init__(self, dim, size):
        super().__init__()
        self.proj = nn.Linear(dim, size)

    def forward(self, states, lengths):
        inside = lengths_to_mask(lengths, states.size(1)).unsqueeze(-1)
        return self.proj((states * inside).sum(1) / lengths.unsqueeze(-1))


def class_loss(logits, _lengths, targets, target_lengths):
    first = F.pad(targets, (0, 1))[:, 0]
    return F.cross_entropy(logits.float(), first, reduction="none").masked_fill(target_lengths == 0, 0.0)


@pytest.fixture
def classes(tmp_path, monkeypatch):
    """A tree in which a head tells the speaker; one is not known."""
    monkeypatch.setitem(HEADS, "classes", HeadKind(module=MeanClassifier, loss=class_loss, load_labels=Classes.load))
    folder = make_tree(tmp_path / "tree", train=6, dev=2)
    edit_manifests(folder, lambda row: row | {"voice": row["speaker"] if row["speaker"] != "speaker2" else ""})
    (folder / "voices.json").write_text('["speaker0", "speaker1"]', encoding="utf-8")
    declare_heads(folder, voice={"kind": "classes", "vocab_filename": "voices.json", "column": "voice", "layer": 2})
    return folder


def test_a_new_kind_of_head_is_one_class_and_one_row(classes, tmp_path):
    trainer = make_trainer(classes)
    sample = batch(trainer)
    targets, lengths = sample["heads"]["voice"]
    assert lengths.tolist() == [1 if text else 0 for text in sample["texts"]["voice"]]
    assert {*sample["texts"]["voice"]} == {"speaker0", "speaker1", ""}
    logged, learnt = train(trainer)
    assert {"voice.proj.weight", "voice.proj.bias"} <= learnt
    assert logged["voice_loss"] == pytest.approx(0.69, abs=0.3), "nats per class, of two"
    assert logged["voice_empty"] == 2 * (lengths == 0).sum()

    bundle = load(saved(trainer, tmp_path / "voices.pt"))
    assert bundle.model.config.heads["voice"] == HeadConfig("classes", 2, 2)
    assert bundle.labels["voice"].symbols == ["speaker0", "speaker1"]
    model = trainer.get_model().translator.eval()
    waves = sample["net_input"]["waveforms"], sample["net_input"]["lengths"]
    with torch.no_grad():
        found, expected = (each.head_logits("voice", each.encode(*waves)) for each in (bundle.model, model))
    assert found.shape == (len(targets), 2)
    torch.testing.assert_close(found, expected)


# -- what earlier versions wrote ------------------------------------------------------------------------------------


def with_former_names(path, to):
    """Rewrite a training checkpoint as a version wrote it in which the CTC head was the only one."""
    content = torch.load(path, weights_only=False)
    model = content["cfg"]["model"]
    for name in [name for name in model if name.startswith("length_adaptor_")]:
        model[name.removeprefix("length_")] = model.pop(name)
    config = content["task_state"]["st_bundle"]["model_config"]
    head = config.pop("heads")["ctc"]
    config |= {"adaptor": config.pop("length_adaptor"), "ctc_vocab_size": head["size"], "ctc_layer": head["layer"]}
    config["parts"] = tuple(part.removeprefix("length_") for part in config["parts"])
    torch.save(content, to)
    return to


def test_a_checkpoint_with_former_names_is_loaded_resumed_and_used_by_fairseq(tmp_path):
    tree = make_tree(tmp_path / "tree", train=2, dev=2)
    shape = {"adaptor_stride": 3, "length_adaptor_num_layers": 2, "ctc_layer": 1}
    trainer = make_trainer(tree, **shape)
    assert trainer.model.translator.config.length_adaptor.stride == 3, "the former spelling of the option"
    path = with_former_names(saved(trainer, tmp_path / "new.pt"), tmp_path / "old.pt")
    expected = parameters(trainer)
    assert not changed(expected, dict(load(path).model.named_parameters()))
    assert load(path).model.config == trainer.model.translator.config
    models, _, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert models[0].translator.config == trainer.model.translator.config
    assert not changed(expected, dict(models[0].translator.named_parameters()))
    fresh = make_trainer(tree, seed=2, **shape)
    fresh.load_checkpoint(str(path))
    fresh.task.load_state_dict(torch.load(path, weights_only=False)["task_state"])
    fresh.task.require_same_function()
    assert not changed(expected, parameters(fresh))


def test_shapes_of_earlier_versions_are_read():
    old = {
        "encoder": {"num_layers": 4},
        "adaptor": {"stride": 3},
        "decoder": {},
        "ctc_vocab_size": 9,
        "ctc_layer": 2,
        "parts": ["encoder", "adaptor", "decoder"],
    }
    config = ModelConfig.from_dict(old)
    assert config.parts == ("encoder", "length_adaptor", "decoder")
    assert config.length_adaptor.stride == 3
    assert config.heads == {"ctc": HeadConfig("ctc", 9, 2)}
    assert (config.ctc_vocab_size, config.ctc_layer) == (9, 2)
    assert ModelConfig.from_dict(config.to_dict()) == config
    assert ModelConfig.from_dict(old | {"ctc_vocab_size": 0}).heads == {}


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([], "model heads are"),
        ({"phones": 1}, "model heads are"),
        ({"a.b": {"kind": "ctc", "size": 3}}, "a head is named 'a.b'"),
        ({"w2v_encoder": {"kind": "ctc", "size": 3}}, "a head is named 'w2v_encoder'"),
        ({"phones": {"kind": [], "size": 3}}, "no kind of head"),
        ({"phones": {"kind": "ctc", "size": 3, "layer": "2"}}, "head layer is '2'"),
        ({f"h{n}": {"kind": "ctc", "size": 3} for n in range(65)}, "model has 65 heads"),
    ],
)
def test_heads_that_no_model_has_are_refused(heads, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict({"heads": heads})
