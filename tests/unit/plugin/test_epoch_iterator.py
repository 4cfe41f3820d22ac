"""Batches divided among processes, resumed, and read by other processes."""

import hashlib
import shutil
import subprocess
import sys
import threading
import time

import fairseq.tasks  # noqa: F401 (fairseq registers its own things first)
import numpy as np
import pytest
import torch
from fairseq.data import iterators
from hypothesis import given, settings
from hypothesis import strategies as some
from tone_tree import make_tree

import st

st.register_plugins()

from st.audio.augmentation import AugmentationConfig  # noqa: E402
from st.data.dataset import TranslationDataset  # noqa: E402
from st.errors import AudioError, ConfigError, StError  # noqa: E402
from st.fairseq_plugin.data import iterator as iterator_module  # noqa: E402
from st.fairseq_plugin.data.dataset import FairseqTranslationDataset  # noqa: E402
from st.fairseq_plugin.data.iterator import IGNORED, EpochIterator  # noqa: E402
from st.fairseq_plugin.repairs.readers import outlive_sigterm  # noqa: E402
from st.text.ctc_vocabulary import CtcVocabulary  # noqa: E402
from st.text.vocabulary import TextVocabulary  # noqa: E402


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train=8, dev=3)


def dataset(tree, subset="train", **options):
    text, ctc = TextVocabulary.load(tree), CtcVocabulary.load(tree / "ctc_vocab.json")
    inner = TranslationDataset.load(tree, subset, None, text, {"ctc": ctc}, **options)
    return FairseqTranslationDataset(inner, shuffle=subset.startswith("train"), name=subset)


class Sizes:
    """As much of a data set as dividing its batches takes."""

    def __init__(self, count):
        self.sizes = np.arange(count) + 1

    def digest(self):
        return "one"


def iterator(batches, shards=1, shard=0, *, epoch=1, group=1, seed=3):
    return EpochIterator(
        Sizes(1 + max(max(batch) for batch in batches)),
        batches,
        seed=seed,
        epoch=epoch,
        num_shards=shards,
        shard_id=shard,
        group_size=group,
    )


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_the_order_is_that_of_fairseqs_own_iterator(tree, shards):
    data = dataset(tree)
    batches = data.batch_by_size(data.ordered_indices(), 80_000)
    for shard in range(shards):
        options = {"seed": 7, "epoch": 4, "num_shards": shards, "shard_id": shard}
        theirs = iterators.EpochBatchIterator(data, data.collater, batches, **options)
        expected = theirs.ordered_batches(4, False, True)
        ours = EpochIterator(data, batches, **options).shard()
        assert [batch for batch in ours if batch[0] >= 0] == [batch for batch in expected if batch]


def test_t05_the_digest_of_an_epoch_is_that_of_versions_that_had_lists(monkeypatch):
    monkeypatch.setattr(iterator_module, "_BLOCK", 3)
    batches = [list(range(n * n, (n + 1) * (n + 1))) for n in range(8)]
    content = hashlib.sha256(b"3 one")
    for batch in batches:
        content.update(np.array([len(batch), *batch], dtype="<i8").tobytes())
    assert iterator(batches).digest == content.hexdigest()


@given(
    number=some.integers(2, 40),
    before=some.integers(1, 5),
    after=some.integers(1, 5),
    share=some.floats(0.05, 0.95),
    group=some.integers(1, 3),
)
@settings(deadline=None)
def test_t24_another_number_of_processes_covers_the_rest_of_the_epoch_once(number, before, after, share, group):
    batches = [[2 * n, 2 * n + 1] for n in range(number)]
    steps = int(share * (number // before))
    first = [iterator(batches, before, rank, epoch=2, group=group) for rank in range(before)]
    seen = []
    for part in first:
        part._begin(done=0, first=0)
        seen += part.shard()[:steps]
        part._current.n = steps
    if not steps or first[0].end_of_epoch():
        return
    state = first[0].state_dict()
    assert all(part.state_dict() == state for part in first)
    second = [iterator(batches, after, rank) for rank in range(after)]
    for part in second:
        part.load_state_dict(state)
        seen += part.shard(part._done)
    assert sorted(batch for batch in seen if batch[0] >= 0) == batches
    assert sum(batch[0] < 0 for batch in seen) < after
    assert len({len(part.next_epoch_itr()) - part._first for part in second}) == 1, "all take as many steps"
    assert all(part.epoch == 2 for part in second)


def test_t13_a_process_without_a_batch_gets_one_without_weight(tree):
    data = dataset(tree)
    batches = [[0, 1], [2, 3], [4, 5]]
    parts = [EpochIterator(data, batches, seed=1, epoch=1, num_shards=2, shard_id=rank) for rank in (0, 1)]
    first, second = (list(part.next_epoch_itr()) for part in parts)
    assert len(first) == len(second) == 2
    assert [IGNORED in batch for batch in first] == [False, False]
    assert [IGNORED in batch for batch in second] == [False, True]
    assert all(part.end_of_epoch() for part in parts)


def test_counting_begins_anew_where_the_epoch_does_not_stand_between_two_updates():
    batches = [[n] for n in range(12)]
    part = iterator(batches)
    part._begin(done=0, first=0)
    part._current.n = 5
    resumed = iterator(batches)
    resumed.load_state_dict(part.state_dict())
    assert resumed.iterations_in_epoch == 5
    resumed.align(2)
    assert resumed.iterations_in_epoch == 0
    grouped = iterators.GroupedIterator(resumed.next_epoch_itr(), 2)
    assert len(grouped) == 4, "seven batches are left"
    assert resumed.state_dict()["batches_done"] == 5


def test_an_epoch_of_other_batches_cannot_be_resumed_in_its_middle():
    part = iterator([[n] for n in range(12)])
    part._begin(done=0, first=0)
    part._current.n = 5
    with pytest.raises(StError, match=r"it had 12 batches and now has 11.*--reset-dataloader"):
        iterator([[n] for n in range(11)]).load_state_dict(part.state_dict())


def in_the_middle(tree, *, seed=3, **options):
    data = dataset(tree, **options)
    data.dataset.begin_epoch(seed, 1)
    part = EpochIterator(data, data.batch_by_size(np.arange(len(data)), 80_000), seed=seed, epoch=1)
    part._begin(done=0, first=0)
    part._current.n = 3
    return part


def test_an_epoch_of_as_many_batches_of_other_data_cannot_be_resumed_in_its_middle(tree, tmp_path):
    state = in_the_middle(tree).state_dict()
    in_the_middle(tree).load_state_dict(state)
    other = shutil.copytree(tree, tmp_path / "other")
    for manifest in other.glob("train_*.tsv"):
        manifest.write_text(manifest.read_text().replace("\ntrain_de_3\t", "\ntrain_de_99\t"))
    faster = AugmentationConfig(speed_perturb=(1.0001,))
    for changed in (in_the_middle(other), in_the_middle(tree, seed=4), in_the_middle(tree, augmentation=faster)):
        with pytest.raises(StError, match=r"cannot resume in the middle of epoch 1: it had \d+ batches.*--seed"):
            changed.load_state_dict(state)
    assert len(in_the_middle(other).batches) == state["num_batches"]


@pytest.mark.parametrize(("workers", "ahead"), [(0, 0), (0, 10), (2, 10)])
def test_t18_a_recording_that_breaks_later_in_the_epoch_is_named(tmp_path, workers, ahead):
    folder = make_tree(tmp_path / "data", train=6, dev=1, directions=("de_en",))
    (folder / "audio" / "train_de_3.flac").write_bytes(b"fLaC and nothing else")
    data = dataset(folder)
    batches = [[0], [1], [2], [3], [4], [5]]
    part = EpochIterator(data, batches, seed=1, epoch=1, num_workers=workers, buffer_size=ahead)
    part.shuffle = False
    epoch = part.next_epoch_itr(shuffle=False)
    for _ in range(3):
        next(epoch)
    with pytest.raises(AudioError, match=r"train_de_3\.flac"):
        next(epoch)


def test_t17_readers_give_the_same_batches_in_the_same_order(tree):
    changes = AugmentationConfig(speed_perturb=(0.9, 1.1), noise="white", noise_prob=1.0, time_masks=1, concat_prob=0.3)

    def epoch(workers, seed=5):
        data = dataset(tree, sampling_alpha=0.5, augmentation=changes)
        data.dataset.begin_epoch(seed, 2)
        batches = data.batch_by_size(np.argsort(data.sizes, kind="stable"), 90_000)
        part = EpochIterator(data, batches, seed=seed, epoch=2, num_workers=workers, buffer_size=4)
        return list(part.next_epoch_itr())

    alone, with_readers, another = epoch(0), epoch(2), epoch(0, seed=6)
    assert len(alone) == len(with_readers) > 3
    for first, second in zip(alone, with_readers, strict=True):
        assert first["id"].tolist() == second["id"].tolist()
        assert (first["net_input"]["waveforms"] == second["net_input"]["waveforms"]).all()
    assert [batch["id"].tolist() for batch in alone] != [batch["id"].tolist() for batch in another]


def test_t16_a_training_recording_longer_than_a_batch_is_an_error_with_its_id(tree):
    data = dataset(tree)
    order = data.ordered_indices()
    longest = int(data.sizes.max())
    with pytest.raises(ConfigError, match=rf"--max-tokens is {longest - 1}.*train_\w+_\d.*at least {longest} samples"):
        data.batch_by_size(order, longest - 1)
    assert sum(map(len, data.batch_by_size(order, longest))) == len(data)


def test_t16_recordings_of_dev_are_never_dropped(tree):
    data = dataset(tree, "dev")
    batches = data.batch_by_size(data.ordered_indices(), int(data.sizes.min()))
    assert sorted(index for batch in batches for index in batch) == list(range(len(data)))
    assert len(data.within_limits(data.ordered_indices(), 1, 1000, leave_out=False)) == len(data)
    with pytest.raises(ConfigError, match=r"6 of 6 with targets longer .* dev_\w+_\d"):
        data.within_limits(data.ordered_indices(), 1e9, 1, leave_out=False)


def test_t16_what_the_options_leave_out_is_counted_and_named(tree, caplog):
    data = dataset(tree)
    order = data.ordered_indices()
    limit = int(data.sizes.max()) - 1
    kept = data.within_limits(order, limit, 1000, leave_out=True)
    gone = len(order) - len(kept)
    assert 0 < gone < len(order)
    assert f"{gone} of {len(order)} with recordings longer than --max-source-positions: train_" in caplog.text


def test_states_of_changed_waves_are_not_kept_under_the_name_of_the_recording(tree):
    plain, changed = dataset(tree), dataset(tree, augmentation=AugmentationConfig(noise="white"))
    assert plain.collater([plain[0]])["net_input"]["utterances"] == ("train", [0])
    assert changed.collater([changed[0]])["net_input"]["utterances"] is None


def test_t07_readers_outlive_a_sigterm_that_is_not_their_parents():
    loader = torch.utils.data.DataLoader(range(40), num_workers=2, worker_init_fn=outlive_sigterm)
    items = iter(loader)
    seen = [next(items).item() for _ in range(4)]
    kill = "import os, signal, sys; [os.kill(int(reader), signal.SIGTERM) for reader in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", kill, *(str(reader.pid) for reader in items._workers)], check=True)
    time.sleep(0.1)
    seen += [batch.item() for batch in items]
    assert seen == list(range(40))

    items = iter(loader)
    next(items), next(items)  # one of each reader, so that both have begun
    readers = list(items._workers)
    for reader in readers:
        reader.terminate()
        reader.join(120)
    assert [reader.exitcode for reader in readers] == [0, 0]


@pytest.mark.parametrize("ahead", [0, 10])
def test_a_reader_that_cannot_hand_over_its_batch_ends_and_is_not_waited_for(tree, monkeypatch, ahead):
    def collater(_items):
        return {"id": threading.Lock()}  # cannot be sent, as nothing can where /dev/shm is full

    data = dataset(tree)
    monkeypatch.setattr(data, "collater", collater)
    part = EpochIterator(data, [[0], [1]], seed=1, epoch=1, num_workers=1, buffer_size=ahead)
    with pytest.raises(StError, match=r"a process that reads recordings died .*/dev/shm"):
        next(part.next_epoch_itr())


@pytest.mark.parametrize("used", [False, True])
def test_batches_are_pinned_only_where_a_gpu_is_used(monkeypatch, used):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    assert iterator([[0]])._loader([[0]], whole=True).pin_memory is used
