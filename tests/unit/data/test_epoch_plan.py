"""What an epoch is made of, and the items that a data set then hands out."""

from collections import Counter

import numpy as np
import pytest
from tone_tree import make_tree

from st.audio.augmentation import AugmentationConfig
from st.data.dataset import TranslationDataset, standardize
from st.data.epoch_plan import TargetTable, direction_counts, plan_epoch, whole_plan
from st.data.utterances import Utterance
from st.errors import AudioError
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.vocabulary import TextVocabulary

OFF = AugmentationConfig()


def utterances(sizes):
    """Make utterances: a number per source language; English ones have three targets."""
    made = []
    for source, number in sizes.items():
        for index in range(number):
            languages = ("de", "zh-CN", "ja") if source == "en" else ("en",)
            targets = [(len(made) * 10 + place, language, f"text {index}") for place, language in enumerate(languages)]
            name = f"{source}{index}"
            made.append(Utterance(name, 16000 + 100 * len(made), "words", source, targets, name, f"speaker{index % 4}"))
    return made


def plan(items, config=OFF, *, alpha=1.0, seed=1, epoch=1, **limits):
    whole = whole_plan(np.array([item.num_samples for item in items]), np.array([len(item.targets) for item in items]))
    return plan_epoch(items, TargetTable.of(items), whole, config, alpha=alpha, seed=seed, epoch=epoch, **limits)


def pairs(items, drawn):
    """Return how often each (utterance, target language) is in an epoch."""
    return Counter(
        (number, items[number].targets[place][1])
        for item in range(len(drawn))
        for number in drawn.parts(item)
        for place in drawn.places(item)
    )


def test_without_options_every_epoch_is_every_utterance_once_with_all_targets():
    items = utterances({"en": 5, "de": 7})
    drawn = plan(items, epoch=9)
    assert drawn.first.tolist() == list(range(12))
    assert [len(drawn.places(item)) for item in range(12)] == [3] * 5 + [1] * 7
    assert direction_counts(drawn, TargetTable.of(items), range(len(drawn))) == {
        "de_en": 7,
        "en_de": 5,
        "en_ja": 5,
        "en_zh-CN": 5,
    }


def test_an_utterance_whose_targets_were_drawn_stands_once_with_those_targets():
    items = utterances({"en": 60, "de": 2})
    drawn = plan(items, alpha=0.0)
    counts = pairs(items, drawn)
    # 182 places, 4 directions: 45 or 46 each, so English targets are seen once or not, German ones about 23 times.
    assert sorted(Counter(number for number, _ in counts if items[number].src_lang == "en").values())[-1] <= 3
    english = [item for item in range(len(drawn)) if items[drawn.first[item]].src_lang == "en"]
    assert len(english) == len({int(drawn.first[item]) for item in english}), "each English utterance once"
    assert max(len(drawn.places(item)) for item in english) > 1, "with several targets where several were drawn"
    totals = direction_counts(drawn, TargetTable.of(items), range(len(drawn)))
    assert sum(totals.values()) == 182
    assert set(totals.values()) <= {45, 46}
    german = [count for (number, _), count in counts.items() if items[number].src_lang == "de"]
    assert max(german) - min(german) <= 1


def test_the_draw_follows_from_seed_and_epoch_alone():
    items = utterances({"en": 30, "de": 5})
    config = AugmentationConfig(speed_perturb=(0.9, 1.0, 1.1), concat_prob=0.5)
    first, again = plan(items, config, alpha=0.3), plan(items, config, alpha=0.3)
    for name in ("first", "second", "targets", "speed", "sizes"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


@pytest.mark.parametrize(
    ("config", "alpha"),
    [
        (OFF, 0.3),
        (AugmentationConfig(speed_perturb=(0.9, 1.0, 1.1)), 1.0),
        (AugmentationConfig(concat_prob=0.5), 1.0),
    ],
)
def test_each_option_draws_anew_for_another_epoch_or_seed(config, alpha):
    items = utterances({"en": 30, "de": 5})
    first = plan(items, config, alpha=alpha)
    for other in (plan(items, config, alpha=alpha, epoch=2), plan(items, config, alpha=alpha, seed=2)):
        assert any(
            not np.array_equal(getattr(first, name), getattr(other, name))
            for name in ("first", "second", "targets", "speed")
        )


def test_speed_is_drawn_evenly_and_never_makes_an_item_longer_than_a_batch():
    items = utterances({"de": 900})
    config = AugmentationConfig(speed_perturb=(0.5, 1.0, 1.25))
    drawn = plan(items, config)
    assert all(250 < count < 350 for count in Counter(drawn.speed.tolist()).values())
    assert (drawn.sizes == np.maximum(np.rint(plan(items).sizes / drawn.speed), 1)).all()
    limited = plan(items, config, max_samples=120_000)
    assert limited.sizes.max() <= max(120_000, plan(items).sizes.max())
    assert (limited.sizes[limited.speed == 0.5] <= 120_000).all()


def test_speed_makes_no_item_shorter_than_the_encoder_can_read():
    items = utterances({"de": 60})
    drawn = plan(items, AugmentationConfig(speed_perturb=(0.8, 1.25)), min_samples=14_000)
    assert drawn.sizes.min() >= 14_000
    kept = [items[number].num_samples for number in np.flatnonzero(drawn.speed == 1.0)]
    assert kept
    assert max(kept) / 1.25 < 14_000


def test_what_is_longer_than_the_limit_is_joined_to_nothing():
    items = utterances({"de": 60})
    limit = 20_000
    config = AugmentationConfig(speed_perturb=(2.0,), concat_prob=1.0, concat_any_speaker=True)
    drawn = plan(items, config, max_samples=limit)
    joined = [number for item in range(len(drawn)) for number in drawn.parts(item) if len(drawn.parts(item)) == 2]
    assert joined
    assert max(items[number].num_samples for number in joined) <= limit < items[-1].num_samples


def test_joining_keeps_every_pair_once_and_joins_only_what_belongs_together():
    items = utterances({"en": 40, "de": 40})
    drawn = plan(items, AugmentationConfig(concat_prob=1.0, concat_max_seconds=2.4))
    assert pairs(items, drawn) == pairs(items, plan(items))
    joined = [item for item in range(len(drawn)) if len(drawn.parts(item)) == 2]
    assert 10 < len(joined) < 40
    for item in joined:
        first, second = (items[number] for number in drawn.parts(item))
        assert (first.src_lang, first.speaker) == (second.src_lang, second.speaker)
        assert drawn.sizes[item] == first.num_samples + second.num_samples <= 2.4 * 16000
    anybody = plan(items, AugmentationConfig(concat_prob=1.0, concat_max_seconds=9, concat_any_speaker=True))
    speakers = [[items[number].speaker for number in anybody.parts(item)] for item in range(len(anybody))]
    assert any(len(set(names)) == 2 for names in speakers)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_translations_of_some_items_are_counted_by_direction(alpha):
    items = utterances({"en": 20, "de": 5})
    config = AugmentationConfig(concat_prob=0.6, concat_max_seconds=60, concat_any_speaker=True)
    drawn = plan(items, config, alpha=alpha)
    some = range(3, len(drawn), 2)
    expected = Counter(
        f"{items[number].src_lang}_{items[number].targets[place][1]}"
        for item in some
        for number in drawn.parts(item)
        for place in drawn.places(item)
    )
    counts = direction_counts(drawn, TargetTable.of(items), some)
    assert list(counts.items()) == sorted(expected.items())
    assert direction_counts(drawn, TargetTable.of(items), ()) == {}


def test_about_the_asked_for_share_is_joined():
    items = utterances({"de": 800})
    drawn = plan(items, AugmentationConfig(concat_prob=0.4, concat_max_seconds=60))
    share = 2 * sum(len(drawn.parts(item)) == 2 for item in range(len(drawn))) / 800
    assert 0.33 < share < 0.45


# -- the data set --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(
        tmp_path_factory.mktemp("tones") / "data", train=6, dev=1, directions=("de_en", "en_de", "en_zh-CN")
    )


def load(tree, **options):
    text = TextVocabulary.load(tree)
    ctc = CtcVocabulary.load(tree / "ctc_vocab.json")
    return TranslationDataset.load(tree, "train", None, text, {"ctc": ctc}, **options)


def test_an_english_recording_with_two_targets_is_one_item(tree):
    data = load(tree)
    assert len(data) == 12
    english = next(n for n, utterance in enumerate(data.utterances) if utterance.src_lang == "en")
    batch = data.collate([data[english]])
    assert batch["net_input"]["waveforms"].shape[0] == 1
    assert sorted(batch["directions"]) == ["en_de", "en_zh-CN"]


def test_sizes_of_targets_are_those_of_the_longest_with_tag_and_end(tree):
    data = load(tree)
    longest = [max(len(data.text.encode(text)) for _, _, text in item.targets) for item in data.utterances]
    assert data.target_sizes.tolist() == [length + 2 for length in longest]
    assert data.text.count_pieces([]).tolist() == []


def test_without_options_a_wave_is_the_recording_standardised(tree):
    data = load(tree)
    data.begin_epoch(1, 5)
    assert np.array_equal(data.waveform(3), standardize(data.recording(3)))
    assert data.sizes.tolist() == [utterance.num_samples for utterance in data.utterances]


def test_kept_recordings_are_rounded_to_the_nearest_from_the_first_time_on(tree, monkeypatch):
    samples = np.array([0.0, 0.7, -0.7, 1.2, -1.2, 40_000, -40_000], dtype=np.float32) / 32768
    monkeypatch.setattr("st.data.dataset.read_audio", lambda _: samples)
    data = load(tree, cache_audio=True)
    first, again = data.recording(0), data.recording(0)
    assert (first * 32768).tolist() == [0, 1, -1, 1, -1, 32767, -32768]
    assert np.array_equal(first, again)


def test_joined_items_hold_both_waves_and_both_texts(tree):
    data = load(tree, augmentation=AugmentationConfig(concat_prob=1.0, concat_any_speaker=True))
    data.begin_epoch(1, 1)
    joined = [item for item in range(len(data)) if len(data.plan.parts(item)) == 2]
    assert joined
    for item in joined:
        first, second = (data.utterances[number] for number in data.plan.parts(item))
        assert len(data.waveform(item)) == data.sizes[item] == first.num_samples + second.num_samples
        assert data.head_texts(item) == [f"{first.src_text} {second.src_text}"]
        for (_, language, text), (_, _, one), (_, _, other) in zip(
            data.translations(item), first.targets, second.targets, strict=True
        ):
            assert text == one + ("" if language == "zh-CN" else " ") + other
        assert data.target_sizes[item] >= max(len(data.text.encode(t)) + 2 for _, _, t in data.translations(item))


def test_waves_have_the_announced_sizes_at_any_speed(tree):
    data = load(tree, augmentation=AugmentationConfig(speed_perturb=(0.83, 1.17), concat_prob=0.5))
    data.begin_epoch(1, 3)
    assert [len(data.waveform(item)) for item in range(len(data))] == data.sizes.tolist()


def test_t18_whatever_goes_wrong_while_reading_names_the_recording(tree, monkeypatch):
    data = load(tree)

    def fail(exc, where="st.data.dataset.read_audio"):
        def read(*_):
            raise exc

        monkeypatch.setattr(where, read)

    fail(OSError(5, "Input/output error"), "st.audio.reading._read_recording")
    with pytest.raises(AudioError, match=r"^\S+train_\S+\.flac: Input/output error$"):
        data.waveform(0)
    fail(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError) as caught:
        data.waveform(0)
    assert data.utterances[0].audio in caught.value.__notes__[0]
