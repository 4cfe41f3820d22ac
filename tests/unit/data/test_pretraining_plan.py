"""Epochs of pre-training: planned in arrays as they were in lists, so that trainings of before go on."""

import hashlib

import numpy as np
import pytest

from st.data import dataset as dataset_module
from st.data import pretraining
from st.data.language_sampling import draw_recordings
from st.data.manifest import ManifestRow, write_manifest
from st.data.pretraining import PretrainingDataset, read_recordings


@pytest.fixture
def dataset(tmp_path):
    """Two trees of several languages, of which one has very little."""
    sizes = iter(np.random.default_rng(0).integers(20_000, 200_000, 500).tolist())
    for tree, counts in (("a", {"fr": 60, "mdw": 2}), ("b", {"fr": 20, "de": 9})):
        (tmp_path / tree).mkdir()
        for code, count in counts.items():
            rows = [ManifestRow(f"é{n}", f"{code}.zip:{n}:9", next(sizes), "", "", "", code, "") for n in range(count)]
            write_manifest(tmp_path / tree / f"asr_train_{code}.tsv", rows)
    recordings = read_recordings([tmp_path / "a", tmp_path / "b"], "train", None)
    return PretrainingDataset(recordings, max_samples=100_000, sampling_alpha=0.1)


def test_t05_an_epoch_is_drawn_in_rounds_as_from_lists(dataset):
    dataset.begin_epoch(3, 2)
    table = dataset.utterances
    sizes = np.minimum(table.sizes, 100_000)
    counts = draw_recordings(table.groups.astype(np.int64), table.corpora, sizes, 0.1, np.random.default_rng((3, 2, 4)))
    assert counts.max() > 3
    assert counts.min() == 0
    expected = np.concatenate([np.flatnonzero(counts > number) for number in range(counts.max())])
    assert dataset.plan.first.tolist() == expected.tolist()
    assert dataset.plan.sizes.tolist() == sizes[expected].tolist()
    assert dataset.groups == ["1:fr", "1:mdw", "2:de", "2:fr"]


def test_t05_the_digest_of_an_epoch_is_that_of_lists(dataset, monkeypatch):
    monkeypatch.setattr(pretraining, "_BLOCK", 7)
    monkeypatch.setattr(dataset_module, "_BLOCK", 7)
    for epoch in (1, 2):
        dataset.begin_epoch(3, epoch)
        content = hashlib.sha256()
        for utterance in dataset.utterances:
            content.update("\t".join([utterance.id, utterance.src_lang, "\n"]).encode())
        count = len(dataset.plan)
        first, sizes = dataset.plan.first, dataset.plan.sizes
        for column in (first, np.full(count, -1), np.zeros(count, np.int64), np.ones(count), sizes):
            content.update(column.tobytes())
        assert dataset.digest() == content.hexdigest()


def test_what_is_the_same_for_all_takes_no_memory(dataset):
    plan = dataset.plan
    assert [column.strides for column in (plan.second, plan.targets, plan.speed)] == [(0,)] * 3
