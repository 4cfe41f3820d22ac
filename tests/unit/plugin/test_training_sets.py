"""Which recordings an epoch of training holds, and how it changes them: limits, options, what is said of it."""

import pytest
from tone_tree import make_tree
from trainer_in_process import make_trainer

from st.data.manifest import read_manifest, write_manifest

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
    lengths = sorted(row.n_frames for row in read_manifest(data / "train_de_en.tsv"))
    options = {"noise": "white", "concat_prob": 1.0, "concat_any_speaker": True, "sampling_alpha": 0.5}
    trainer = make_trainer(data, train_subset=subset, max_source_positions=lengths[-1] - 1, **options)
    dataset, batches = epoch(trainer)
    assert dataset.shuffle
    assert dataset.dataset.augmentation.noise == "white"
    assert dataset.dataset.sampling_alpha == 0.5
    assert (dataset.dataset.plan.second >= 0).any()
    assert "recordings longer than --max-source-positions" in caplog.text


def test_transcripts_are_not_added_to_transcripts(data):
    trainer = make_trainer(data, train_subset="asr_train", add_transcripts=True)
    assert len(items(epoch(trainer)[1])) == 12


@pytest.mark.parametrize("subset", ["dev", "dev_de_en", "asr_dev", "asr_dev_de", "test"])
def test_other_sets_stay_as_they_are(data, subset):
    trainer = make_trainer(data, noise="white", concat_prob=1.0)
    trainer.task.load_dataset(subset)
    dataset = trainer.task.datasets[subset]
    assert not dataset.shuffle
    assert not dataset.dataset.augmentation.changes_waves
