"""Trees without the vocabulary of a decoder: models of an encoder and heads alone."""

import pytest
import torch
from tone_tree import make_tree
from trainer_in_process import batch, changed, make_trainer, parameters

from st.checkpoints.bundle import bundle_files
from st.errors import CheckpointError, ConfigError
from st.text.vocabulary import TextVocabulary

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A tree of translations whose decoder's vocabulary is gone."""
    folder = make_tree(tmp_path_factory.mktemp("bare") / "tree", train=6, dev=2)
    for name in ("dict.txt", "spm.model"):
        (folder / name).unlink()
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("whole") / "tree", train=6, dev=2)


def test_the_encoder_and_its_head_learn_what_they_learn_beside_a_decoder(bare, whole):
    trainer, other = (make_trainer(tree, translation_weight=0) for tree in (bare, whole))
    assert {name.split(".")[0] for name in parameters(trainer)} == {"encoder", "ctc"}
    state = {name: value for name, value in other.get_model().state_dict().items() if name in parameters_of(trainer)}
    trainer.get_model().load_state_dict(state)
    losses = [each.criterion(each.model.train(), batch(each))[0] for each in (trainer, other)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)
    before = parameters(trainer)
    trainer.train_step([batch(trainer)])
    assert {name.split(".")[0] for name in changed(before, parameters(trainer))} == {"encoder", "ctc"}


def parameters_of(trainer):
    return trainer.get_model().state_dict()


def test_no_row_is_a_target(bare):
    trainer = make_trainer(bare, translation_weight=0)
    found = batch(trainer)
    assert (found["nsentences"], found["ntokens"]) == (0, 0)
    assert found["nlabels"]["ctc"][0] == found["nlabels"]["ctc"][1] > 0
    assert trainer.task.target_dictionary is None


@pytest.mark.parametrize("sets", ["length-adaptor,decoder", "lna-decoder", "embeddings,feature-extractor"])
def test_what_recipes_freeze_of_a_decoder_is_not_missed(bare, sets):
    assert make_trainer(bare, translation_weight=0, freeze=sets).model.translator.config.parts == ("encoder",)
    with pytest.raises(ConfigError, match="'nothing' matches no parameter"):
        make_trainer(bare, translation_weight=0, freeze="nothing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"--translation-weight is 1, and the data have no spm\.model and no dict\.txt .* --translation-weight 0"),
        (
            {"translation_weight": 0, "decoder": "mbart"},
            r"--decoder mbart: the data have no spm\.model .* leave --decoder out",
        ),
    ],
)
def test_what_needs_a_decoder_is_refused_before_training(bare, options, message):
    with pytest.raises(ConfigError, match=message):
        make_trainer(bare, **options)


def test_decoding_with_fairseq_needs_one(bare):
    trainer = make_trainer(bare, translation_weight=0)
    with pytest.raises(ConfigError, match=r"decoding with fairseq needs a decoder, .* st evaluate or st transcribe"):
        trainer.task.build_generator([trainer.model], trainer.cfg.generation)


def test_a_tree_with_one_of_the_two_files_is_damaged(whole, tmp_path):
    for name in ("config.yaml", "dict.txt", "ctc_vocab.json"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    with pytest.raises(ConfigError, match="no such SentencePiece model"):
        TextVocabulary.load_if_any(tmp_path)
    with pytest.raises(CheckpointError, match=r"spm\.model: no such file"):
        bundle_files(tmp_path)


def test_checkpoints_of_the_two_kinds_do_not_go_on_from_each_other(bare, whole):
    state = make_trainer(whole, translation_weight=0).task.state_dict()
    with pytest.raises(CheckpointError, match=r"another dict\.txt .*/dict\.txt is missing"):
        make_trainer(bare, translation_weight=0).task.load_state_dict(state)


def test_layers_are_recomputed_without_a_decoder(bare):
    trainer = make_trainer(bare, translation_weight=0, checkpoint_activations="all")
    loss, *_ = trainer.criterion(trainer.model.train(), batch(trainer))
    assert torch.isfinite(loss)
