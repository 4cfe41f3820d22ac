"""Subword regularisation: what is drawn, how often, and that it can be drawn again."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, permutations

import pytest
from tone_tree import make_tree
from trainer_in_process import make_config

from st.data.config import DataConfig
from st.errors import ConfigError
from st.fairseq_plugin.task import SpeechTranslationTask
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces, train_sentencepiece
from st.text.subword_sampling import MOST_LONGER, SubwordSampler
from st.text.vocabulary import TextVocabulary

SYLLABLES = ("ka", "ri", "mo", "te", "lu", "san", "po", "wi")
SENTENCES = [
    f"{''.join(first)} {''.join(second)}"
    for first in permutations(SYLLABLES, 3)
    for second in combinations(SYLLABLES, 2)
]


def vocabulary_of(folder, kind):
    model = train_sentencepiece(SENTENCES, vocab_size=60 if kind == "unigram" else None, vocab_type=kind)
    (folder / "spm.model").write_bytes(model)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(model), covost_tags(["en"])), encoding="utf-8")
    DataConfig().save(folder)
    return TextVocabulary.load(folder)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return vocabulary_of(tmp_path_factory.mktemp("unigram"), "unigram")


def segmentations(vocabulary, text):
    """Every way to write a word in pieces, and its log-probability, by trying all cuts."""
    model = vocabulary._processor
    pieces = {model.id_to_piece(n): (vocabulary._id_of_piece[n], model.get_score(n)) for n in range(3, len(model))}

    def of(rest):
        if not rest:
            yield [], 0.0
        for end in range(1, len(rest) + 1):
            if rest[:end] in pieces:
                number, score = pieces[rest[:end]]
                for ids, total in of(rest[end:]):
                    yield [number, *ids], score + total

    return list(of("▁" + text))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_each_segmentation_is_drawn_as_often_as_its_probability_says(vocabulary, alpha):
    known = segmentations(vocabulary, "karimosan")
    shortest = min(known, key=lambda each: -each[1])[0]
    known = sorted(known, key=lambda each: -each[1])[:64]
    weights = {tuple(ids): math.exp(alpha * score) for ids, score in known if len(ids) <= len(shortest) + MOST_LONGER}
    assert len(weights) > 5
    draws = 4000
    sampler = SubwordSampler(vocabulary, alpha)
    counts = Counter(tuple(sampler.encode("karimosan", (7, number))) for number in range(draws))
    assert set(counts) <= set(weights)
    for ids, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(counts[ids] / draws - share) < 4 * math.sqrt(share * (1 - share) / draws) + 1e-4


def test_what_is_drawn_writes_the_sentence_and_can_be_drawn_again(vocabulary):
    sampler = SubwordSampler(vocabulary, 0.1)
    text = "karimo tesan powilu"
    drawn = [sampler.encode(text, (1, number)) for number in range(50)]
    assert drawn == [sampler.encode(text, (1, number)) for number in range(50)]
    assert len({tuple(ids) for ids in drawn}) > 5
    best = vocabulary.encode(text)
    assert {vocabulary.decode(ids) for ids in drawn} == {vocabulary.decode(best)}
    assert max(map(len, drawn)) <= len(best) + MOST_LONGER
    assert sampler.encode("", (1, 2)) == []


def test_what_cannot_be_is_refused(vocabulary, tmp_path):
    with pytest.raises(ConfigError, match="is of type char"):
        SubwordSampler(vocabulary_of(tmp_path, "char"), 0.2)
    for alpha in (-0.1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="positive number"):
            SubwordSampler(vocabulary, alpha)


def test_training_sets_have_other_pieces_in_every_epoch_and_dev_has_the_best(tmp_path):
    task = SpeechTranslationTask(
        make_config(make_tree(tmp_path, train=20, dev=6, vocab_type="unigram"), subword_alpha=0.1).task
    )
    for subset in ("train", "dev"):
        task.load_dataset(subset)

    def targets(subset, epoch):
        data = task.datasets[subset].dataset
        data.begin_epoch(1, epoch)
        items = data.collate([data[number] for number in range(len(data))])
        rows = [[token for token in row if token != task.text.pad] for row in items["target"].tolist()]
        assert max(map(len, rows)) <= data.target_sizes.max()
        texts = [task.text.decode(row) for row in rows]
        assert texts == [task.text.decode(task.text.encode(text)) for text in items["references"]]
        return rows

    assert targets("train", 1) == targets("train", 1)
    assert targets("train", 1) != targets("train", 2)
    assert targets("dev", 1) == targets("dev", 2)
    assert [row[1:-1] for row in targets("dev", 1)] == [
        task.text.encode(text) for item in task.datasets["dev"].dataset.utterances for _, _, text in item.targets
    ]
