"""Which recordings an epoch of training holds, and how it changes them: limits, options, what is said of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tone_tree import make_tree
from trainer_in_process import make_trainer

from st.audio.reading import encode_flac
from st.data import dataset as dataset_module
from st.data.config import DataConfig
from st.data.manifest import read_manifest, write_manifest
from st.errors import ConfigError
from st.fairseq_plugin.repairs import training_log

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = make_tree(tmp_path_factory.mktemp("tree"), train=12, dev=2)
    for split in ("train", "dev"):
        rows = read_manifest(folder / f"{split}_de_en.tsv")
        for row in rows:
            object.__setattr__(row, "tgt_lang", "de")
            object.__setattr__(row, "tgt_text", row.src_text)
        write_manifest(folder / f"asr_{split}_de.tsv", rows)
    return folder


def epoch(trainer, number=1, **options):
    """Return the data set of training and the batches of an epoch."""
    dataset = trainer.task.datasets[trainer.cfg.dataset.train_subset]
    limits = {"max_tokens": 400_000, "max_positions": trainer.task.max_positions(), "seed": 1}
    return dataset, trainer.task.get_batch_iterator(dataset, epoch=number, **limits | options).batches


def items(batches):
    return [item for batch in batches for item in batch]


@pytest.mark.parametrize("subset", ["train_de_en", "asr_train", "asr_train_de"])
def test_every_training_set_is_augmented_joined_sampled_and_limited(data, subset, caplog):
    options = {"noise": "white", "concat_prob": 1.0, "concat_any_speaker": True, "sampling_alpha": 0.5}
    inner = epoch(make_trainer(data, train_subset=subset, **options))[0].dataset
    assert inner.augmentation.noise == "white"
    assert inner.sampling_alpha == 0.5
    assert (inner.plan.second >= 0).any()
    longest = int(inner.recorded_sizes.max())
    dataset, batches = epoch(make_trainer(data, train_subset=subset, max_source_positions=longest - 1))
    assert dataset.shuffle
    assert 0 < len(items(batches)) < 12
    assert "recordings longer than --max-source-positions" in caplog.text


@pytest.mark.parametrize("standardized", [True, False])
def test_waves_are_standardised_where_the_data_config_says_so(data, standardized):
    config = DataConfig.load(data)
    try:
        replace(config, standardize_audio=standardized).save(data)
        inner = make_trainer(data, train_subset="train_de_en").task.datasets["train_de_en"].dataset
    finally:
        config.save(data)
    recording = inner.recording(0)
    expected = (recording - recording.mean()) / recording.std() if standardized else recording
    assert np.allclose(inner.waveform(0), expected, atol=2e-3)
    assert not np.allclose(recording.std(), 1.0, atol=0.5)


@pytest.mark.parametrize(("options", "epsilon"), [({}, 1e-5), ({"encoder_wave_epsilon": "1e-7"}, 1e-7)])
def test_fault_07_quiet_waves_of_training_are_those_of_the_model(data, options, epsilon, monkeypatch):
    trainer = make_trainer(data, train_subset="train_de_en", **options)
    inner = trainer.task.datasets["train_de_en"].dataset
    quiet = inner.recording(0) * np.float32(1e-3 / inner.recording(0).std())
    monkeypatch.setattr(inner, "recording", lambda _: quiet)
    assert np.allclose(inner.waveform(0).std(), np.sqrt(1e-6 / (1e-6 + epsilon)), rtol=1e-3)
    assert trainer.model.translator.config.encoder.wave_epsilon == epsilon


def test_transcripts_are_not_added_to_transcripts(data):
    trainer = make_trainer(data, train_subset="asr_train", add_transcripts=True)
    assert len(items(epoch(trainer)[1])) == 12


def test_directions_narrow_transcripts_to_what_is_spoken_in_them(data):
    english = data / "asr_train_en.tsv"
    write_manifest(english, read_manifest(data / "train_en_de.tsv")[:2])
    try:
        assert len(items(epoch(make_trainer(data, train_subset="asr_train"))[1])) == 14
        assert len(items(epoch(make_trainer(data, train_subset="asr_train", directions="de_en"))[1])) == 12
        assert len(items(epoch(make_trainer(data, train_subset="asr_train_en", directions="de_en"))[1])) == 2
    finally:
        english.unlink()


@pytest.mark.parametrize("subset", ["dev", "dev_de_en", "asr_dev", "asr_dev_de", "test"])
def test_other_sets_stay_as_they_are(data, subset):
    trainer = make_trainer(data, noise="white", concat_prob=1.0)
    trainer.task.load_dataset(subset)
    dataset = trainer.task.datasets[subset]
    assert not dataset.shuffle
    assert not dataset.dataset.augmentation.changes_waves


# -- recordings too short for the encoder ------------------------------------------------------------------------------

NEEDED = 20 * (4 * (4 - 1) + 4 - 1) + 40
"""Samples that the small encoder of these tests needs for one frame."""


def shortened(folder, split, **sizes):
    """Make a tree and cut recordings of one direction in it: name of the recording, samples that are left."""
    make_tree(folder, train=6, dev=3)
    rows = read_manifest(folder / f"{split}_de_en.tsv")
    for row in rows:
        if row.id in sizes:
            object.__setattr__(row, "n_frames", sizes[row.id])
            wave = np.random.default_rng(0).standard_normal(sizes[row.id]) / 10
            (folder / row.audio).write_bytes(encode_flac(wave.astype(np.float32)))
    write_manifest(folder / f"{split}_de_en.tsv", rows)
    return folder


def test_training_leaves_out_and_names_what_is_too_short_for_the_encoder(tmp_path, caplog):
    data = shortened(tmp_path / "data", "train", train_de_0=NEEDED - 1, train_de_1=NEEDED, train_de_2=100)
    trainer = make_trainer(data)
    dataset, batches = epoch(trainer)
    sizes = [int(dataset.sizes[item]) for item in items(batches)]
    assert min(sizes) == NEEDED
    assert len(sizes) == 10
    assert f"train: 2 of 12 with recordings shorter than the encoder's {NEEDED} samples: train_de_" in caplog.text
    shortest = min(items(batches), key=lambda item: dataset.sizes[item])
    log = trainer.train_step([dataset.collater([dataset[shortest], dataset[3]])])
    assert math.isfinite(log["loss"])


def test_a_faster_speed_makes_no_recording_too_short(tmp_path):
    data = shortened(tmp_path / "data", "train", train_de_0=NEEDED, train_de_1=NEEDED + 30)
    trainer = make_trainer(data, speed_perturb="1.1,1.2")
    for number in range(1, 6):
        dataset, batches = epoch(trainer, number)
        assert len(items(batches)) == 12
        assert dataset.sizes.min() >= NEEDED
        assert [len(dataset.dataset.waveform(item)) for item in items(batches)] == dataset.sizes[
            items(batches)
        ].tolist()


def test_validation_ends_with_the_name_of_what_is_too_short_unless_it_may_be_left_out(tmp_path):
    trainer = make_trainer(shortened(tmp_path / "data", "dev", dev_de_1=NEEDED - 1))
    trainer.task.load_dataset("dev")
    options = {"max_tokens": 400_000, "max_positions": trainer.task.max_positions()}
    dev = trainer.task.datasets["dev"]
    message = (
        rf"dev: 1 of 6 with recordings shorter .* {NEEDED} samples: dev_de_1; remove .* --skip-invalid-size-inputs"
    )
    with pytest.raises(ConfigError, match=message):
        trainer.task.get_batch_iterator(dev, **options)
    batches = trainer.task.get_batch_iterator(dev, **options, ignore_invalid_inputs=True).batches
    assert len(items(batches)) == 5


# -- the longest recording ---------------------------------------------------------------------------------------------


def test_the_limit_is_of_the_recording_and_no_change_leads_beyond_it(data, caplog):
    lengths = [row.n_frames for row in read_manifest(data / "train_de_en.tsv")]
    limit = sorted(set(lengths))[-2]
    within = sum(length <= limit for length in lengths)
    options = {"speed_perturb": "0.8,1.2", "concat_prob": 0.5, "concat_any_speaker": True}
    trainer = make_trainer(data, train_subset="train_de_en", max_source_positions=limit, **options)
    for number in range(1, 9):
        dataset, batches = epoch(trainer, number)
        plan = dataset.dataset.plan
        seen = [part for item in items(batches) for part in plan.parts(item)]
        assert len(seen) == len(set(seen)) == within
        assert all(dataset.dataset.utterances[part].num_samples <= limit for part in seen)
        assert dataset.sizes[items(batches)].max() <= limit
    assert f"{len(lengths) - within} of " in caplog.text


def test_limits_that_leave_nothing_to_learn_are_refused(data):
    trainer = make_trainer(data, train_subset="train_de_en", max_source_positions=100)
    with pytest.raises(ConfigError, match="train_de_en: all 12 items are left out, nothing is left to learn"):
        epoch(trainer)


# -- what is logged ----------------------------------------------------------------------------------------------------


def test_the_log_counts_the_translations_of_the_batches(data, monkeypatch):
    lengths = [row.n_frames for row in read_manifest(data / "train_de_en.tsv")]
    written = []
    monkeypatch.setattr(training_log.LOG, "write", written.append)
    limit = sorted(set(lengths))[-2]
    trainer = make_trainer(data, train_subset="train_de_en", max_source_positions=limit)
    batches = epoch(trainer)[1]
    assert written[-1]["translations"] == {"de_en": len(items(batches))}
    assert 0 < len(items(batches)) < len(lengths)


@pytest.mark.parametrize(("workers", "decoded"), [(0, 1), (1, 2)])
def test_audio_is_kept_without_reading_processes_and_otherwise_a_warning_names_both_options(
    data, caplog, tmp_path, monkeypatch, workers, decoded
):
    reads = tmp_path / "reads"
    read = dataset_module.read_audio

    def counting(name):
        with reads.open("a") as file:
            file.write(f"{name}\n")
        return read(name)

    monkeypatch.setattr(dataset_module, "read_audio", counting)
    trainer = make_trainer(data, cache_audio=True, train_subset="train_de_en")
    dataset = trainer.task.datasets["train_de_en"]
    for number in (1, 2):
        found = trainer.task.get_batch_iterator(dataset, epoch=number, max_tokens=400_000, num_workers=workers)
        list(found.next_epoch_itr())
    assert len(reads.read_text().splitlines()) == 12 * decoded
    warnings = [record.message for record in caplog.records if "--cache-audio" in record.message]
    assert len(warnings) == decoded - 1
    assert all("--num-workers 0" in message for message in warnings)


@pytest.mark.parametrize("loss", ["file", "rows"])
def test_directions_of_which_a_set_holds_nothing_are_named(tmp_path, caplog, loss):
    data = make_tree(tmp_path / "data", train=2, dev=2)
    manifest = data / "dev_en_de.tsv"
    if loss == "file":
        manifest.unlink()
    else:
        write_manifest(manifest, [])
    trainer = make_trainer(data)
    assert "holds nothing" not in caplog.text
    trainer.task.load_dataset("dev")
    assert "dev: holds nothing of en_de, which config.yaml lists" in caplog.text
