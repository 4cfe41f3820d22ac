"""Sentences of the training set as candidates: the search against scikit-learn's, the choice against the formula."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from st.data.manifest import ManifestRow, write_manifest
from st.decoding.ctc_prefix import PrefixOptions, ctc_prefix_search
from st.errors import ConfigError
from st.inference import TranscriptOptions, Translator
from st.inference.translation_memory import MemoryOptions, SimilarSentences, TranslationMemory, memory_digest

PAIRS = [
    ("ein kleiner vogel", "un petit oiseau"),
    ("zwei kleine vögel", "deux petits oiseaux"),
    ("der satz", "la phrase"),
]


def _sentences(number: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefghé", k=chance.randint(1, 7))) for _ in range(60)]
    return [" ".join(chance.choices(words, k=chance.randint(1, 8))) for _ in range(number)]


def test_similarities_are_those_of_scikit_learn():
    sentences, asked = _sentences(200, 1), [*_sentences(20, 2), "Ab", "zzz", ""]
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(2, 6), sublinear_tf=True)
    known = vectors.fit_transform(sentences)
    found = SimilarSentences(sentences)
    for sentence in asked:
        # Its queries leave out n-grams that no sentence has, which shortens them; the order is the same.
        expected = (vectors.transform([sentence]) @ known.T).toarray()[0]
        nearest = found.nearest([sentence], 10)
        values = [value for _, value in nearest]
        assert values == sorted(values, reverse=True)
        assert len(nearest) == min(10, int((expected > 0).sum()))
        if nearest:
            np.testing.assert_allclose(
                sorted(expected, reverse=True)[: len(nearest)] / expected.max(), np.array(values) / values[0], rtol=1e-4
            )


def test_a_sentence_is_nearest_to_itself():
    sentences = [sentence for sentence in dict.fromkeys(_sentences(50, 3)) if len(sentence) > 1]
    found = SimilarSentences(sentences)
    for number, sentence in enumerate(sentences):
        nearest = dict(found.nearest([sentence.upper()], 3))
        assert nearest[number] == max(nearest.values()) == pytest.approx(1.0, abs=1e-5)


def test_several_sentences_ask_with_the_mean_of_their_similarities():
    known, asked = SimilarSentences(_sentences(40, 1)), _sentences(3, 4)
    single = [dict(known.nearest([sentence], 40)) for sentence in asked]
    for number, similarity in known.nearest(asked, 40):
        assert similarity == pytest.approx(sum(each.get(number, 0.0) for each in single) / 3, abs=1e-6)


def _shared(one: str, other: str) -> float:
    """Share of letters in the longest common subsequence."""
    one, other = one.replace(" ", ""), other.replace(" ", "")
    longest = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            longest[i, j] = longest[i - 1, j - 1] + 1 if a == b else max(longest[i - 1, j], longest[i, j - 1])
    return 2 * int(longest[-1, -1]) / (len(one) + len(other))


@pytest.mark.parametrize(("weight", "drawn"), [(0.0, 0), (3.0, 2), (1000.0, 0), (1000.0, 5)])
def test_best_is_by_score_and_similarity(translator: Translator, waves: list[np.ndarray], weight: float, drawn: int):
    plain = translator.decode_batch(waves, [["fr"]] * len(waves))
    options = MemoryOptions(count=2, drawn=drawn, weight=weight, least=0.1)
    memory = TranslationMemory({"fr": PAIRS}, options, keep=9)
    chosen = memory(translator, waves, plain)
    similar = SimilarSentences([said for said, _ in PAIRS])
    searched = 0
    for row, (before, after) in enumerate(zip(plain, chosen, strict=True)):
        expected = {item.text: item.score for item in before.nbest.get("fr", ())}
        heard = [before.transcript]
        if before.nbest:
            heard += translator.sample_transcripts([waves[row]], drawn)[0]
        assert len(heard) == 1 + (drawn if before.nbest else 0)
        for number, similarity in similar.nearest(heard, 2) if before.nbest else ():
            searched += 1
            said, text = PAIRS[number]
            bonus = weight * ((similarity + np.mean([_shared(each, said) for each in heard])) / 2 - 0.1)
            expected[text] = translator.score(waves[row], text, "fr").score + bonus
        found = after.nbest.get("fr", ())
        assert {item.text: pytest.approx(item.score, abs=1e-3) for item in found} == expected
        assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
        assert after.translations["fr"] == (found[0].text if found else "")
        assert after.transcript == before.transcript
    assert searched


def test_a_language_without_sentences_keeps_its_translations(translator: Translator, waves: list[np.ndarray]):
    plain = translator.decode_batch(waves[:1], [["de"]])
    assert TranslationMemory({"fr": PAIRS})(translator, waves[:1], plain) == plain


def _row(said: str, translation: str) -> ManifestRow:
    return ManifestRow("clip", "clip.wav", 16000, translation, "s", said, "de", "fr")


def test_a_tree_is_read_and_named(tmp_path: Path):
    write_manifest(tmp_path / "train_de_fr.tsv", [_row(*pair) for pair in (*PAIRS, ("", "rien"), PAIRS[0])])
    write_manifest(tmp_path / "asr_train_de.tsv", [_row("nur text", "nur text")])
    memory = TranslationMemory.from_tree(tmp_path)
    assert memory._pairs == {"fr": PAIRS}
    before = memory_digest(tmp_path)
    write_manifest(tmp_path / "train_de_fr.tsv", [_row(*PAIRS[1])])
    assert memory_digest(tmp_path) != before


def test_what_else_the_search_found_asks_instead_of_draws(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    search = PrefixOptions(beam=4, nbest=3)
    searching = Translator(
        translator.model,
        translator.text,
        translator.ctc,
        options=translator.options,
        transcripts=TranscriptOptions(search=search),
    )
    [result] = searching.decode_batch(waves[:1], [["fr"]])
    encoded = translator._encode(waves[:1])
    with torch.inference_mode():
        [found] = ctc_prefix_search(translator.model.ctc_logits(encoded), encoded.lengths, search)
    texts = [translator.ctc.decode(each.labels, collapse=False) for each in found]
    assert [result.transcript, *result.alternatives] == texts
    assert len(texts) == 3
    memory, asked = TranslationMemory({"fr": PAIRS}), []
    monkeypatch.setattr(memory, "nearest", lambda heard, _: asked.append(heard) or [])
    memory(searching, waves[:1], [result])
    assert asked == [texts]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "`count` is 0; expected at least 1"),
        ({"drawn": -1}, "`drawn` is -1; expected at least 0"),
        ({"weight": -1}, "`weight` is -1"),
        ({"least": 2}, "from 0 to 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        MemoryOptions(**options)


def test_nothing_to_remember_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="a folder that `st prepare` wrote"):
        TranslationMemory.from_tree(tmp_path)
    with pytest.raises(ConfigError, match="no sentence with a transcript and a translation"):
        TranslationMemory({"fr": [("", "rien")]})
    with pytest.raises(ConfigError, match="has 100,001 sentences, and is for models of little speech"):
        TranslationMemory({"fr": [(str(number), "x") for number in range(100_001)]})


def test_command_line(run, tmp_path: Path):
    write_manifest(tmp_path / "train_de_fr.tsv", [_row(*pair) for pair in PAIRS])
    code, out, _ = run("translate", "a.wav", "--to", "fr", "--memory", str(tmp_path))
    assert code == 0
    assert out.count("\n") == 1
    transcript = json.loads(run("translate", "a.wav", "--to", "fr", "--memory", str(tmp_path), "--format", "json")[1])[
        "transcript"
    ]
    write_manifest(tmp_path / "asr_train_de.tsv", [_row("x x x x", "x x x x")])
    helped = json.loads(run("translate", "a.wav", "--to", "fr", "--memory", str(tmp_path), "--format", "json")[1])[
        "transcript"
    ]
    assert helped + "\n" == run("transcribe", "a.wav", "--lm", str(tmp_path), "--beam", "16")[1] != transcript + "\n"
    code, _, err = run("translate", "a.wav", "--to", "fr", "--memory", str(tmp_path), "--length-reward", "1")
    assert code == 2
    assert "--memory excludes --rescore and --length-reward" in err
    code, _, err = run("translate", "a.wav", "--to", "fr", "--memory", str(tmp_path / "none"))
    assert code == 1
    assert "`st prepare` wrote" in err
