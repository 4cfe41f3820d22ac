"""Recordings with a transcript only, and with no text at all, beside translated ones and alone."""

import numpy as np
import pytest
import torch
from fairseq.logging import metrics
from head_trees import edit_manifests, without_any_text, without_translation
from tone_tree import make_tree
from trainer_in_process import batch, changed, make_trainer, parameters

from st.data.dataset import TranslationDataset
from st.data.manifest import ManifestRow
from st.data.utterances import group_rows
from st.errors import ConfigError
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.vocabulary import TextVocabulary

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
KINDS = ("translated", "transcribed", "bare")


def kind_of(name):
    """Return which kind a recording of the mixed tree is, by the number at the end of its name."""
    return KINDS[int(name.rsplit("_", 1)[1]) % 3]


def reduce(row):
    change = {"translated": dict, "transcribed": without_translation, "bare": without_any_text}
    return change[kind_of(row["id"])](row)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Six recordings of German and six of English, of each kind a third."""
    folder = make_tree(tmp_path_factory.mktemp("mixed") / "tree", train=6, dev=3)
    edit_manifests(folder, reduce)
    return folder


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory):
    folder = make_tree(tmp_path_factory.mktemp("transcripts") / "tree", train=6, dev=2)
    edit_manifests(folder, without_translation)
    return folder


def dataset(tree, **options):
    text, ctc = TextVocabulary.load(tree), CtcVocabulary.load(tree / "ctc_vocab.json")
    return TranslationDataset.load(tree, "train", None, text, {"ctc": ctc}, **options)


def places(data, *kinds):
    return [item for item, utterance in enumerate(data.utterances) if kind_of(utterance.id) in kinds]


def test_a_row_without_a_target_language_is_a_recording_without_a_translation():
    def row(audio, text, language, said="a"):
        return ManifestRow("x", audio, 9, text, "", said, "en", language)

    rows = [row("a", "", ""), row("a", "b", "de"), row("b", "", ""), row("c", "", "de"), row("d", "", "", "")]
    assert [[number for number, _, _ in each.targets] for each in group_rows(rows)] == [[1], [], [3], []]
    kept = [each.targets for each in group_rows(rows, empty_targets=False)]
    assert kept == [[(1, "de", "b")], [], [], []], "in training a target needs a text"


def test_of_a_further_text_the_first_that_is_not_empty_counts():
    rows = [ManifestRow("x", "a", 9, "", "", "", "en", "", more) for more in (("", "p"), ("q", ""), ("r", "s"))]
    assert [each.texts for each in group_rows(rows)] == [("", "q", "p")]


def test_a_batch_of_all_kinds_has_targets_and_labels_of_those_that_have_any(mixed):
    data = dataset(mixed)
    items = places(data, *KINDS)
    found = data.collate([data[item] for item in items])
    by_row = [data.utterances[items[n]] for n in found["net_input"]["source_rows"].tolist()]
    assert [kind_of(utterance.id) for utterance in by_row] == ["translated"] * found["nsentences"]
    assert found["nsentences"] == len(found["id"]) == len(found["references"]) == 2 * 1 + 2 * 2
    _, lengths = found["heads"]["ctc"]
    assert [int(length) > 0 for length in lengths] == [kind_of(data.utterances[item].id) != "bare" for item in items]
    alone = sum(int(lengths[n]) for n, item in enumerate(items) if item in places(data, "transcribed"))
    assert found["nlabels"]["ctc"] == (int(lengths.sum()), alone)
    assert data.target_sizes[places(data, "transcribed", "bare")].tolist() == [0] * 8
    assert (data.target_sizes[places(data, "translated")] > 2).all()


@pytest.mark.parametrize("kinds", [("transcribed",), ("bare",)])
def test_a_batch_without_targets_has_one_row_of_padding(mixed, kinds):
    data = dataset(mixed)
    found = data.collate([data[item] for item in places(data, *kinds)])
    assert (found["nsentences"], found["ntokens"], len(found["id"])) == (0, 0, 0)
    assert found["target"].eq(data.text.pad).all()
    assert len(found["target"]) == len(found["net_input"]["source_rows"]) == 1


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_an_epoch_has_each_untranslated_recording_once(mixed, alpha):
    data = dataset(mixed, sampling_alpha=alpha)
    for epoch in range(1, 6):
        data.begin_epoch(1, epoch)
        for item in places(data, "transcribed", "bare"):
            assert np.flatnonzero(data.plan.first == item).size == 1
        drawn = sum(int(bits).bit_count() for bits in data.plan.targets)
        assert drawn == len(data.targets.directions), "as many translations as without sampling"


def test_an_epoch_of_transcripts_alone_can_be_sampled(transcripts):
    data = dataset(transcripts, sampling_alpha=0.5)
    data.begin_epoch(1, 1)
    assert sorted(data.plan.first.tolist()) == list(range(12))
    assert data.directions == []


def test_a_joined_item_has_a_transcript_only_if_both_have_one(mixed):
    data = dataset(mixed)
    said, bare = places(data, "transcribed")[0], places(data, "bare")[0]
    data.plan.second[said] = said
    assert data.head_texts(said) == [" ".join([data.utterances[said].src_text] * 2)]
    data.plan.second[said] = bare
    assert data.head_texts(said) == [""]


# -- training -------------------------------------------------------------------------------------------------------


def train(trainer, *samples):
    before = parameters(trainer)
    with metrics.aggregate(new_root=True) as meters:
        for sample in samples:
            trainer.train_step([sample])
    return meters.get_smoothed_values(), changed(before, parameters(trainer))


def test_transcripts_alone_train_the_encoder_and_its_head(transcripts):
    trainer = make_trainer(transcripts, translation_weight=0)
    logged, learnt = train(trainer, batch(trainer), batch(trainer))
    assert logged["ctc_loss"] > 0
    assert {name.split(".")[0] for name in learnt} == {"encoder", "ctc"}
    trainer.task.load_dataset("dev")
    dev = trainer.task.datasets["dev"]
    with metrics.aggregate(new_root=True) as meters:
        trainer.valid_step(dev.collater([dev[item] for item in range(len(dev))]))
    assert {"loss", "ctc_loss", "cer"} <= {*meters.get_smoothed_values()}


def test_transcripts_alone_cannot_train_a_decoder(transcripts):
    trainer = make_trainer(transcripts)
    with pytest.raises(ConfigError, match=r"no training utterance has a translation .* --translation-weight 0"):
        trainer.criterion(trainer.model.train(), batch(trainer))


def test_a_mixed_training_says_what_it_leaves_out_and_learns_from_all(mixed, caplog):
    trainer = make_trainer(mixed)
    data = trainer.task.datasets["train"].dataset
    samples = [batch(trainer, *places(data, *KINDS)), batch(trainer, *places(data, "transcribed"))]
    logged, learnt = train(trainer, *samples)
    assert "8 of 12 training utterances have no translation: the decoder leaves them out" in caplog.text
    assert "4 of 12 training utterances have no transcript" in caplog.text
    assert learnt == set(parameters(trainer)) - {"encoder.mask_emb"}
    assert all(np.isfinite(value) for value in logged.values())


def test_the_decoders_loss_is_that_of_the_translated_recordings_alone(mixed):
    trainer = make_trainer(mixed, ctc_weight=0)
    data = trainer.task.datasets["train"].dataset
    model = trainer.model.train()
    logs = [trainer.criterion(model, batch(trainer, *places(data, *kinds)))[2] for kinds in (KINDS, ("translated",))]
    for name in ("translation_loss", "nll_loss", "ntokens", "nsentences"):
        assert float(logs[0][name]) == pytest.approx(float(logs[1][name]), rel=1e-4), name


@pytest.mark.parametrize("kind", ["transcribed", "bare"])
def test_a_batch_without_targets_gives_every_parameter_a_gradient_and_the_decoder_none_but_zeros(mixed, kind):
    trainer = make_trainer(mixed, rdrop_alpha=1.0)
    data = trainer.task.datasets["train"].dataset
    sample = batch(trainer, *places(data, kind))
    model = trainer.model.train()
    loss, size, log = trainer.criterion(model, sample)
    loss.backward()
    labels, alone = sample["nlabels"]["ctc"]
    assert size == labels == alone
    assert (size > 0) == (kind == "transcribed")
    assert torch.isfinite(loss)
    assert log["nonfinite"] == 0
    for name, parameter in model.translator.named_parameters():
        if name == "encoder.mask_emb":
            continue
        gradient = parameter.grad.to_dense()
        decodes = name.startswith(("decoder.", "length_adaptor."))
        assert bool(gradient.eq(0).all()) or not (decodes or kind == "bare"), name


def test_a_batch_without_any_text_changes_nothing_and_divides_by_nothing(mixed):
    trainer = make_trainer(mixed)
    sample = batch(trainer, *places(trainer.task.datasets["train"].dataset, "bare"))
    logged, learnt = train(trainer, sample, sample)
    assert learnt == set()
    assert all(np.isfinite(value) for value in logged.values())


def test_a_transcript_weighs_alike_beside_translations_and_alone(mixed):
    trainer = make_trainer(mixed, translation_weight=1e-9)
    data = trainer.task.datasets["train"].dataset
    model = trainer.model.train()
    alone = trainer.criterion(model, batch(trainer, *places(data, "transcribed")))
    beside = trainer.criterion(model, batch(trainer, *places(data, "transcribed", "bare")))
    assert alone[1] == beside[1]
    assert float(alone[0]) == pytest.approx(float(beside[0]), rel=1e-4)


def test_validation_with_bleu_passes_over_what_has_no_reference(mixed):
    trainer = make_trainer(mixed, eval_bleu=True, eval_bleu_max_len=6)
    trainer.task.load_dataset("dev")
    dev = trainer.task.datasets["dev"]
    for kinds in (KINDS, ("transcribed",), ("bare",)):
        with metrics.aggregate(new_root=True) as meters:
            trainer.valid_step(dev.collater([dev[item] for item in places(dev.dataset, *kinds)]))
        assert ("bleu" in meters.get_smoothed_values()) == ("translated" in kinds)
    sample = dev.collater([dev[item] for item in places(dev.dataset, "transcribed")])
    generator = trainer.task.build_generator([trainer.model], trainer.cfg.generation)
    assert trainer.task.inference_step(generator, [trainer.model], sample) == []
