"""Training the adapters and the head of a new language, and nothing else, for a file that transformers loads."""

import json
import re

import pytest
import reference_models as ref
import torch
import transformers
from omegaconf import OmegaConf
from tone_tree import make_tree
from trainer_in_process import batch, changed, make_trainer, parameters

from st import load
from st.checkpoints.convert import convert
from st.errors import CheckpointError, ConfigError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CLOSE = {"atol": 1e-5, "rtol": 0}
OWN = re.compile(r"encoder\.encoder\.layers\.\d+\.adapter_layer\.|ctc\.")
CONV_LAYERS = ((24, 40, 20), (24, 4, 4), (24, 4, 4))
SHAPE = {"dim": 32, "ffn": 48, "heads": 2, "layers": 2, "kernel": 8, "groups": 4}
WIDTH = 16
TRAINING = {"train_adapter": "xyz", "translation_weight": 0, "ctc_weight": 1}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("data") / "tree", train=4, dev=2, directions=("de_en",))


@pytest.fixture
def base(tmp_path):
    """A folder of MMS with one language, of the shape that the trainer builds."""
    torch.manual_seed(0)
    config = ref.wav2vec2_config(SHAPE, CONV_LAYERS, vocab_size=9, pad_token_id=0, adapter_attn_dim=WIDTH)
    folder = tmp_path / "mms"
    ref.perturb(transformers.Wav2Vec2ForCTC(config)).save_pretrained(folder)
    symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etao"]
    (folder / "vocab.json").write_text(json.dumps({"eng": {symbol: row for row, symbol in enumerate(symbols)}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"target_lang": "eng"}))
    return folder


def trained(tree, base, steps=3, **changes):
    trainer = make_trainer(tree, encoder=base, **(TRAINING | changes))
    before = parameters(trainer)
    for _ in range(steps):
        trainer.train_step([batch(trainer)])
    return trainer, before


def save(trainer, path):
    content = {
        "model": trainer.get_model().state_dict(),
        "task_state": trainer.task.state_dict(),
        "cfg": OmegaConf.to_container(OmegaConf.create({"model": trainer.cfg.model})),
    }
    torch.save(content, path)
    return path


def test_only_adapters_and_head_learn_and_begin_as_if_they_were_not_there(tree, base):
    trainer, before = trained(tree, base)
    own = {name for name in before if OWN.match(name)}
    assert changed(before, parameters(trainer)) == own
    assert len(own) == 6 * SHAPE["layers"] + 2
    theirs = transformers.Wav2Vec2Model.from_pretrained(base)
    there = load(base).model.state_dict()
    rest = [name for name in before if name.startswith("encoder.") and name not in own]
    assert len(rest) > 20
    assert all(before[name].equal(there[name]) for name in rest)
    assert not any(before[name].any() for name in own if ".linear_2." in name)
    assert theirs.config.adapter_attn_dim == WIDTH


@torch.no_grad()
def test_the_file_loads_in_transformers_with_the_logits_of_the_training(tree, base, tmp_path):
    with torch.enable_grad():
        trainer, _ = trained(tree, base)
    checkpoint = save(trainer, tmp_path / "checkpoint.pt")
    assert load(checkpoint).language == "xyz"
    convert(checkpoint, base, "adapter")
    waves, lengths = ref.waves([16000])
    model = trainer.get_model().translator.eval()
    expected = model.ctc_logits(model.encode(waves, lengths))
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(base, target_lang="xyz", ignore_mismatched_sizes=True)
    torch.testing.assert_close(theirs.eval()(waves).logits, expected, **CLOSE)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(base, target_lang="xyz")
    assert [tokenizer.convert_ids_to_tokens(row) for row in range(expected.size(-1))] == trainer.task.labels[
        "ctc"
    ].symbols
    ours = load(base, language="xyz")
    assert ours.ctc.symbols == trainer.task.labels["ctc"].symbols
    torch.testing.assert_close(ours.model.ctc_logits(ours.model.encode(waves, lengths)), expected, **CLOSE)
    assert load(base).ctc.symbols[5:] == [*"etao"], "the language that was there is there still"
    with pytest.raises(UsageError, match=r"adapter\.xyz\.safetensors: exists"):
        convert(checkpoint, base, "adapter")
    convert(checkpoint, tmp_path / "alone", "adapter", language="abc")
    assert sorted(path.name for path in (tmp_path / "alone").iterdir()) == ["adapter.abc.safetensors", "vocab.json"]


def test_a_training_may_begin_with_the_adapters_of_a_language_or_of_none(tree, base, tmp_path):
    trainer, _ = trained(tree, base, steps=1)
    convert(save(trainer, tmp_path / "checkpoint.pt"), base, "adapter", language="abc")
    learnt = parameters(trainer)
    _, begun = trained(tree, base, steps=0, encoder_language="abc")
    adapters = [name for name in begun if ".adapter_layer." in name]
    assert all(begun[name].equal(learnt[name]) for name in adapters)
    plain = tmp_path / "plain"
    config = ref.wav2vec2_config(SHAPE, CONV_LAYERS)
    transformers.Wav2Vec2Model(config).save_pretrained(plain)
    _, new = trained(tree, plain, steps=0)
    assert not any(new[name].any() for name in adapters if ".linear_2." in name)


def test_a_model_without_adapters_or_language_is_not_written_as_one(tree, base, tmp_path):
    trainer, _ = trained(tree, base, steps=0, train_adapter=None, encoder_adapter_dim=WIDTH)
    checkpoint = save(trainer, tmp_path / "checkpoint.pt")
    with pytest.raises(UsageError, match="needs `lang`"):
        convert(checkpoint, tmp_path / "out", "adapter")
    plain = tmp_path / "plain"
    transformers.Wav2Vec2Model(ref.wav2vec2_config(SHAPE, CONV_LAYERS)).save_pretrained(plain)
    with pytest.raises(CheckpointError, match="no adapters with a CTC head"):
        convert(plain, tmp_path / "out", "adapter", language="xyz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(CheckpointError, match="symbols of one language"):
        convert(checkpoint, tmp_path / "out", "adapter", language="xyz")


def test_what_contradicts_a_trained_adapter_is_refused(tree, base):
    with pytest.raises(ConfigError, match="leave no parameter to learn"):
        trained(tree, base, steps=0, freeze_encoder=True)
