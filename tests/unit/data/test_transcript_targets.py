"""Transcripts as targets of the decoder, beside the translations."""

from __future__ import annotations

from pathlib import Path

import pytest

from st.data.dataset import TranslationDataset
from st.data.manifest import ManifestRow, write_manifest
from st.errors import UsageError
from st.evaluation.covost2 import CODES
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces, train_sentencepiece
from st.text.vocabulary import TextVocabulary, read_dictionary


def _row(clip: str, source: str, target: str, heard: str, written: str) -> ManifestRow:
    return ManifestRow(clip, f"audio/{source}/{clip}.flac", 16_000, written, "s", heard, source, target)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rows = {
        "train_fr_en": [_row("a", "fr", "en", "Un chat.", "A cat."), _row("b", "fr", "en", "Un chien.", "A dog.")],
        "train_de_en": [_row("k", "de", "en", "Ein Tier.", "An animal.")],
        # c: its translation was of no use, its transcript is.
        "asr_train_fr": [
            _row("a", "fr", "fr", "Un chat.", "Un chat."),
            _row("b", "fr", "fr", "Un chien.", "Un chien."),
            _row("c", "fr", "fr", "Un âne.", "Un âne."),
        ],
        "asr_train_de": [_row("k", "de", "de", "Ein Tier.", "Ein Tier.")],
    }
    for name, content in rows.items():
        write_manifest(tmp_path / f"{name}.tsv", content)
    texts = [row.tgt_text for content in rows.values() for row in content]
    spm = train_sentencepiece(texts, vocab_type="char")
    (tmp_path / "spm.model").write_bytes(spm)
    (tmp_path / "dict.txt").write_text(dictionary_text(model_pieces(spm), covost_tags(CODES)), encoding="utf-8")
    return tmp_path


def _load(tree: Path, subset: str, directions: list[str] | None, **options: bool) -> TranslationDataset:
    text = TextVocabulary(tree / "spm.model", read_dictionary(tree / "dict.txt"))
    return TranslationDataset.load(tree, subset, directions, text, {"ctc": CtcVocabulary.build({})}, **options)


def _targets(dataset: TranslationDataset) -> dict[str, list[tuple[str, str]]]:
    return {item.audio: [(code, text) for _, code, text in item.targets] for item in dataset.utterances}


def test_transcripts_are_one_more_target_of_their_recording(tree: Path) -> None:
    dataset = _load(tree, "train", ["fr_en", "de_en"], add_transcripts=True)
    assert _targets(dataset) == {
        "audio/fr/a.flac": [("en", "A cat."), ("fr", "Un chat.")],
        "audio/fr/b.flac": [("en", "A dog."), ("fr", "Un chien.")],
        "audio/de/k.flac": [("en", "An animal."), ("de", "Ein Tier.")],
        "audio/fr/c.flac": [("fr", "Un âne.")],
    }
    number = [item.audio for item in dataset.utterances].index("audio/fr/a.flac")
    batch = dataset.collate([{"index": number, "waveform": [0.0]}])
    assert batch["directions"] == ["fr_en", "fr_fr"]
    tags = [dataset.text.symbols[int(row[0])] for row in batch["target"]]
    assert tags == ["<lang:en>", "<lang:fr>"]
    assert batch["target"][1][1:].tolist()[: len("Un chat.")] == dataset.text.encode("Un chat.")[: len("Un chat.")]


def test_without_the_option_there_are_none(tree: Path) -> None:
    found = _targets(_load(tree, "train", None))
    assert [len(targets) for targets in found.values()] == [1, 1, 1]


@pytest.mark.parametrize(("subset", "directions"), [("train", ["fr_en"]), ("train_fr_en", None)])
def test_only_the_spoken_languages_of_the_directions_asked_for(
    tree: Path, subset: str, directions: list[str] | None
) -> None:
    found = _targets(_load(tree, subset, directions, add_transcripts=True))
    assert sorted(found) == ["audio/fr/a.flac", "audio/fr/b.flac", "audio/fr/c.flac"]
    assert {code for targets in found.values() for code, _ in targets} == {"en", "fr"}


def test_a_tree_without_transcripts_is_an_error_that_names_them(tree: Path) -> None:
    for path in tree.glob("asr_*"):
        path.unlink()
    with pytest.raises(UsageError, match="asr_train"):
        _load(tree, "train", None, add_transcripts=True)
