"""Pre-training inside fairseq: its data, a step, what it logs, what it refuses."""

import math
from argparse import Namespace

import numpy as np
import pytest
import torch
from tone_tree import make_tree
from trainer_in_process import batch, make_config, trainer_of

from st.data.config import DataConfig
from st.data.manifest import COLUMNS
from st.errors import CheckpointError, ConfigError, ManifestError
from st.fairseq_plugin.pretraining.model import objective_config
from st.fairseq_plugin.repairs.clear_parts import refuse_other_parts

OF_TRANSLATION = ("decoder_num_layers", "decoder_dim", "decoder_ffn_dim", "decoder_num_heads")
PRETRAINING = {
    "task": "speech_pretraining", "criterion": "speech_pretraining", "arch": "speech_pretraining_tiny",
    "min_sample_size": 8000, "max_sample_size": 24000, "max_tokens": 100000, "encoder_mask_time_length": 5,
    **dict.fromkeys(OF_TRANSLATION),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones") / "data"
    return make_tree(folder, train={"de": 12, "en": 6}, dev=2)


def pretraining(tree, **changes):
    """Return a trainer; a command line is parsed once for each tree."""
    cfg = make_config(tree, **PRETRAINING)
    for name, value in changes.items():
        section = next(each for each in ("task", "model", "criterion") if name in cfg[each])
        cfg[section][name] = value
    return trainer_of(cfg)


@pytest.fixture(scope="module")
def trainer(tree):
    return pretraining(tree)


def test_recordings_are_read_once_whatever_they_are_translated_to(trainer):
    dataset = trainer.task.datasets["train"].dataset
    assert len(dataset) == 18  # en has two manifests
    assert dataset.groups == ["de", "en"]
    assert dataset.directions == ["de", "en"]
    assert dataset.sizes.max() <= 24000


def test_a_batch_is_cut_to_its_shortest_recording_at_places_of_its_own(trainer):
    dataset = trainer.task.datasets["train"].dataset
    dataset.begin_epoch(1, 1)
    shortest, *longest = np.argsort(dataset.sizes)[[0, -1, -2, -3]]
    items = [dataset[int(item)] for item in (*longest, shortest)]
    found, again = dataset.collate(items), dataset.collate(items[:3:2] + items[1:])
    waves = found["net_input"]["waveforms"]
    assert waves.shape == (4, min(24000, *(len(item["waveform"]) for item in items)))
    for wave, item in zip(waves.numpy(), items, strict=True):
        places = np.lib.stride_tricks.sliding_window_view(item["waveform"], waves.size(1))
        assert (places == wave).all(axis=1).any()
    assert torch.equal(again["net_input"]["waveforms"][0], waves[0])
    dataset.begin_epoch(1, 2)
    assert not torch.equal(dataset.collate(items)["net_input"]["waveforms"], waves)


def test_languages_are_sampled_by_their_audio(tree):
    dataset = pretraining(tree, sampling_alpha=0.0).task.datasets["train"].dataset
    dataset.begin_epoch(1, 1)
    audio = np.bincount(
        [dataset.groups.index(dataset.utterances[n].src_lang) for n in dataset.plan.first], dataset.sizes
    )
    assert audio[0] == pytest.approx(audio[1], rel=0.25)
    first = dataset.plan.first.copy()
    dataset.begin_epoch(1, 2)
    assert sorted(first) != sorted(dataset.plan.first)
    dataset.begin_epoch(1, 1)
    assert (first == dataset.plan.first).all()


def test_a_step_starts_at_chance_and_logs_what_there_is_to_see(trainer):
    model = trainer.get_model().train()
    model.set_num_updates(0)
    sample = batch(trainer)
    loss, sample_size, log = trainer.get_criterion()(model, sample)
    assert float(log["contrastive"]) / sample_size / math.log(2) == pytest.approx(math.log2(101), abs=0.5)
    assert loss.item() == pytest.approx(float(log["contrastive"] + 0.1 * log["diversity"]), rel=1e-5)
    assert log["temperature"] / sample_size == 2.0
    assert 0.2 < sample_size / log["frames"] < 0.7
    assert (log["left_out"], log["silent"], log["nonfinite"]) == (0, 0, 0)
    same, _, _ = trainer.get_criterion()(model, sample)
    assert float(same) == float(loss)  # draws follow from the update and the item
    model.set_num_updates(1)
    other, _, _ = trainer.get_criterion()(model, sample)
    assert float(other) != float(loss)


def test_draws_do_not_depend_on_how_recordings_are_divided_into_batches(trainer):
    model = trainer.get_model().eval()
    dataset = trainer.task.datasets["train"].dataset
    items = [{"index": item, "waveform": dataset.waveform(item)[:12000]} for item in range(4)]

    def loss(chosen):
        with torch.no_grad():
            found = model(**dataset.collate(chosen)["net_input"])
        return float(found.contrastive_loss()), found.num_targets

    whole = loss(items)
    halves = [loss(items[:2]), loss(items[2:])]
    assert whole[1] == sum(targets for _, targets in halves)
    assert whole[0] == pytest.approx(sum(each for each, _ in halves), rel=1e-5)


def test_what_the_logs_of_workers_add_up_to():
    from fairseq.logging import metrics

    from st.fairseq_plugin.pretraining.criterion import SpeechPretrainingCriterion

    log = {"loss": 70.0, "contrastive": 69.3, "diversity": 5.0, "penalty": 1.0, "prob_perplexity": 300.0,
           "code_perplexity": 200.0, "temperature": 20.0, "chance": 66.6, "correct": 3, "frames": 25, "left_out": 1, "silent": 2,
           "sample_size": 10, "ntokens": 8000, "nsentences": 1}  # fmt: skip
    with metrics.aggregate() as found:
        SpeechPretrainingCriterion.reduce_metrics([log, log])
    values = found.get_smoothed_values()
    assert values["contrastive_loss"] == pytest.approx(6.93 / math.log(2), abs=1e-3)
    assert (values["prob_perplexity"], values["code_perplexity"]) == (30.0, 20.0)
    assert (values["accuracy"], values["mask_percent"], values["temperature"]) == (30.0, 40.0, 2.0)
    assert (values["left_out"], values["silent"], values["chance"]) == (2, 4, 6.66)


def silence(folder, samples):
    """Return a tree with one recording in which nothing is to be heard."""
    from st.audio.reading import encode_flac

    folder.mkdir()
    (folder / "quiet.flac").write_bytes(encode_flac(np.zeros(samples, dtype=np.float32)))
    row = {"id": "quiet", "audio": "quiet.flac", "n_frames": str(samples), "src_lang": "qu"}
    line = "\t".join(row.get(name, "") for name in COLUMNS)
    (folder / "asr_train_qu.tsv").write_text("\t".join(COLUMNS) + "\n" + line + "\n")
    DataConfig().save(folder / "config.yaml")
    return folder


def test_a_corpus_without_any_text_or_sound_is_trained_on_and_counted(tree, tmp_path):
    quiet = silence(tmp_path / "quiet", 16000)
    trainer = pretraining(f"{tree}:{quiet}")
    dataset = trainer.task.datasets["train"].dataset
    assert dataset.groups == ["1:de", "1:en", "2:qu"]
    sample = batch(trainer, 0, len(dataset) - 1)
    assert sample["silent"] == 1
    trainer.get_model().train()
    loss, _, _ = trainer.get_criterion()(trainer.get_model(), sample)
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(p.grad is None or p.grad.isfinite().all() for p in trainer.get_model().parameters())


def test_a_language_may_have_nothing_to_validate_on(tree, tmp_path):
    quiet = silence(tmp_path / "quiet", 16000)
    trainer = pretraining(f"{tree}:{quiet}", languages="en,qu")
    assert trainer.task.datasets["train"].dataset.groups == ["1:en", "2:qu"]
    trainer.task.load_dataset("dev")
    assert trainer.task.datasets["dev"].dataset.groups == ["en"]


def iterator(trainer):
    return trainer.task.get_batch_iterator(trainer.task.datasets["train"], max_tokens=100000, max_positions=(1e9, 1e9))


def test_recordings_that_are_too_short_are_left_out_and_counted(tree, caplog):
    trainer = pretraining(tree, min_sample_size=20000)
    sizes = trainer.task.datasets["train"].dataset.sizes
    batches = iterator(trainer).batches
    assert sum(map(len, batches)) == (sizes >= 20000).sum() < len(sizes)
    assert f"{(sizes < 20000).sum()} of 18 recordings are shorter than 20000 samples" in caplog.text
    with pytest.raises(ConfigError, match="the longest has"):
        iterator(pretraining(tree, min_sample_size=100000, max_sample_size=200000))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sampling_alpha": 1.5}, ConfigError, "`sampling_alpha` is 1.5"),
        ({"min_sample_size": 30000}, ConfigError, "--min-sample-size is 30000 and --max-sample-size 24000"),
        ({"languages": "de,fr"}, ConfigError, "train has no recording in fr; it has: de en"),
        ({"latent_temp": "2,0.5"}, ConfigError, "latent_temp"),
        ({"latent_groups": 7}, ConfigError, "latent_groups"),
        ({"encoder_mask_time_prob": 0.0}, ConfigError, "nothing is masked"),
        ({"encoder_mask_channel_prob": 0.1}, ConfigError, "masks frames alone"),
        ({"diversity_weight": -1}, ConfigError, "--diversity-weight is -1"),
        ({"start_from": "nowhere.pt"}, CheckpointError, "nowhere.pt"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_options_that_make_no_training_are_refused_with_a_sentence(tree, changes, error, message):
    with pytest.raises(error, match=message):
        pretraining(tree, **changes)


def test_an_encoder_of_another_objective_is_refused_by_name():
    with pytest.raises(ConfigError, match="no pre-training of the preset 'w2v_bert'; choose from: tiny"):
        objective_config(Namespace(preset="w2v_bert"), None)


def test_a_tree_without_the_subset_is_named(tmp_path):
    quiet = silence(tmp_path / "quiet", 16000)
    (quiet / "asr_train_qu.tsv").write_text("\t".join(COLUMNS) + "\n")
    with pytest.raises(ManifestError, match="subset 'train' has no recording"):
        pretraining(quiet)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"criterion": "translation_ctc"}, "--criterion translation_ctc .*use --criterion speech_pretraining"),
        ({"task": "speech_translation"}, "--arch speech_pretraining.* --arch xlsr_mbart"),
        ({"criterion": "wav2vec"}, "--criterion wav2vec .*use --criterion speech_pretraining"),
    ],
    ids=["criterion", "task", "foreign criterion"],
)
def test_parts_of_the_two_tasks_do_not_mix(tree, changes, expected):
    own = {name: None for name in ("min_sample_size", "max_sample_size") if changes.get("task")}
    with pytest.raises(ConfigError, match=expected):
        refuse_other_parts(make_config(tree, **PRETRAINING | own | changes))


def test_a_checkpoint_of_the_other_task_or_objective_is_refused(tree, trainer):
    with pytest.raises(CheckpointError, match="none of a pre-training"):
        trainer.task.load_state_dict({"st_bundle": {"format": 1}})
    other = pretraining(tree, final_dim=32, num_negatives=50)
    trainer.task.load_state_dict(other.task.state_dict())
    with pytest.raises(CheckpointError, match=r"--final-dim is 32 there and 64 here.*--num-negatives is 50"):
        trainer.task.require_same_function()


def test_two_trainings_of_one_seed_are_one(tree):
    losses = []
    for _ in range(2):
        trainer = trainer_of(make_config(tree, **PRETRAINING))
        assert "codebook_use" not in trainer.task.state_dict()["st_bundle"]
        losses.append(float(trainer.train_step([batch(trainer)])["loss"]))
    assert losses[0] == losses[1]
    use = trainer.task.state_dict()["st_bundle"]["codebook_use"]
    assert 2 <= use["code_perplexity"] <= use["entries"] == 128


def test_bf16_gives_the_loss_of_fp32_within_its_rounding_and_keeps_fp32_weights(tree):
    losses = {}
    for precision in ("fp32", "bf16"):
        trainer = pretraining(tree, precision=precision)
        losses[precision] = float(trainer.train_step([batch(trainer)])["contrastive_loss"])
        assert {parameter.dtype for parameter in trainer.get_model().parameters()} == {torch.float32}
        assert all(parameter.isfinite().all() for parameter in trainer.get_model().parameters())
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.01)
    assert losses["bf16"] != losses["fp32"]


def test_gradients_of_two_batches_add_up_to_those_of_each(tree):
    """What two processes are given, and one that accumulates: the loss is a sum over masked frames."""
    trainer = pretraining(tree)
    model, criterion = trainer.get_model().train(), trainer.get_criterion()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    model.set_num_updates(3)
    parts = [batch(trainer, 0, 1), batch(trainer, 2, 3)]

    def gradient(samples):
        model.zero_grad()
        sizes = 0
        for sample in samples:
            loss, size, _ = criterion(model, sample)
            loss.backward()
            sizes += size
        return sizes, model.pretrainer.project_q.weight.grad.clone()

    both = gradient(parts)
    alone = [gradient([part]) for part in parts]
    assert both[0] == sum(size for size, _ in alone)
    torch.testing.assert_close(both[1], alone[0][1] + alone[1][1])


def test_weights_without_a_quantizer_are_no_checkpoint_to_resume_from(trainer):
    model = trainer.get_model()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("quantizer.")}
    with pytest.raises(CheckpointError, match=r"quantizer\.vars"):
        model.load_state_dict(state)


def test_recordings_shorter_than_a_masked_span_are_learned_from_or_counted(tree):
    """A span has 5 frames here; of one or two frames nothing can be told apart."""
    trainer = pretraining(tree, min_sample_size=1)
    model = trainer.get_model().train()
    field, hop = model.pretrainer.encoder.feature_extractor.receptive_field, 320
    dataset = trainer.task.datasets["train"].dataset
    for size in (field, field + hop, field + 3 * hop):
        items = [{"index": item, "waveform": dataset.waveform(item)[:size]} for item in range(4)]
        loss, targets, log = trainer.get_criterion()(model, dataset.collate(items))
        loss.backward()
        assert math.isfinite(loss.item())
        assert log["left_out"] == 4 or targets > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
