"""Put the rows of embeddings that trimming cut away back into a trained model."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import torch

from st.checkpoints.contents import Contents, unpacked
from st.checkpoints.loading import read_contents, resolve
from st.checkpoints.vocabularies import SlottedVocabulary, VocabularyFiles, find_text
from st.errors import CheckpointError
from st.text.trimming import TRIM_FILENAME, TrimmedVocabulary
from st.text.vocabulary import SPECIALS, TextVocabulary

EMBEDDINGS = "decoder.embed_tokens.weight"


def restore_vocabulary(contents: Contents, original: Path | str, files: VocabularyFiles) -> TextVocabulary:
    """Give a model with a trimmed vocabulary that of the checkpoint whose decoder it began with.

    Rows that were kept stay as they were trained; the others are the original's, which the training never touched.

    Args:
        contents: The trained model; embeddings and vocabulary size are replaced.
        original: Checkpoint with the decoder and all of its embeddings.
        files: Prepared tree, if the model does not carry its table of kept rows; SentencePiece model, if none lies beside
            the original; ids of languages in the original.

    Returns:
        The vocabulary that the model has now.

    Raises:
        CheckpointError: If the model was not trimmed, or not from this original.
    """
    trim = _table(contents, files.data_dir)
    trained, _ = find_text(contents, dataclasses.replace(files, spm=None, language_ids=None))
    path, name = resolve(original)
    whole = read_contents(path)
    size = whole.config.decoder.vocab_size if "decoder" in whole.config.parts else 0
    if size != trim.original_size:
        raise CheckpointError(f"{name}: a decoder of {size} symbols; the vocabulary was cut from {trim.original_size}")
    text, _ = find_text(whole, VocabularyFiles(spm=files.spm))
    if trained is None or text is None or len(trained) != len(trim) or len(text) != size:
        raise CheckpointError(f"{contents.path}: its vocabulary is not the one of {TRIM_FILENAME}")
    if hashlib.sha256(text.model_bytes()).hexdigest() != trim.model_sha256:
        raise CheckpointError(f"{name}: another SentencePiece model than the one that the vocabulary was cut from")
    width = contents.config.decoder.dim
    if whole.config.decoder.dim != width:
        raise CheckpointError(f"{name}: embeddings of {whole.config.decoder.dim}, the trained model's have {width}")
    learned = contents.state[EMBEDDINGS]
    embeddings = whole.state[EMBEDDINGS].to(learned.dtype, copy=True)
    embeddings[torch.tensor(trim.rows)] = learned
    contents.state[EMBEDDINGS] = embeddings
    decoder = dataclasses.replace(contents.config.decoder, vocab_size=size)
    contents.config = dataclasses.replace(contents.config, decoder=decoder)
    contents.files.pop(TRIM_FILENAME, None)
    # A language speaks from the row that it was trained on, wherever the original would look for it.
    slots = {code: trim.rows[trained.language_id(code)] for code in trained.languages} | dict(files.language_ids or {})
    with unpacked({"spm.model": text.model_bytes()}) as folder:
        return SlottedVocabulary(folder / "spm.model", text.symbols[len(SPECIALS) :], text.lang_tag_format, slots)


def _table(contents: Contents, data_dir: Path | None) -> TrimmedVocabulary:
    if TRIM_FILENAME in contents.files:
        return TrimmedVocabulary.from_json(contents.files[TRIM_FILENAME])
    if data_dir is None:
        raise CheckpointError(
            f"{contents.path}: carries no {TRIM_FILENAME}, so its vocabulary was not trimmed, or by an earlier version; "
            "`data_dir` names the prepared tree that has it"
        )
    return TrimmedVocabulary.load(data_dir)
