"""A prepared tree without data, and a training checkpoint over it."""

from __future__ import annotations

import pytest
import reference_models as ref
from training_checkpoints import make_model, save_training

from st.data.config import DataConfig
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import covost_tags, dictionary_text, model_pieces


@pytest.fixture(scope="module")
def spm():
    return ref.make_spm()


@pytest.fixture
def tree(tmp_path, spm):
    """A prepared tree with its vocabularies and nothing else."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "spm.model").write_bytes(spm)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(spm), covost_tags(["en", "fr", "ca"])))
    CtcVocabulary.build({"en": ["speech translation", "zwölf"]}).save(folder / "ctc_vocab.json")
    DataConfig(directions=("fr_en",)).save(folder)
    return folder


@pytest.fixture
def training(tree, tmp_path):
    labels = len(CtcVocabulary.load(tree / "ctc_vocab.json"))
    symbols = 4 + len((tree / "dict.txt").read_text().splitlines())
    model = make_model(symbols, labels)
    return model, save_training(model, tree, tmp_path / "checkpoint.pt")
