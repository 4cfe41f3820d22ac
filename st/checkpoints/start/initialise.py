"""Start a training from published weights: XLS-R into the encoder, mBART-50 into the decoder."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from st.checkpoints.assemble import check_names, listed, require_finite
from st.checkpoints.contents import Contents, unpacked
from st.checkpoints.loading import read_contents, resolve
from st.checkpoints.origins import origin_name, origins_of
from st.checkpoints.start.behaviour import BEHAVIOUR
from st.checkpoints.start.fewer_layers import drop_layers
from st.checkpoints.vocabularies import VocabularyFiles, find_text
from st.errors import CheckpointError
from st.kernels.mapped_memory import give_back
from st.modules.config import DecoderConfig
from st.modules.model import SpeechTranslator
from st.modules.text_decoder import POSITION_OFFSET
from st.text.trimming import TrimmedVocabulary
from st.text.vocabulary import TextVocabulary

logger = logging.getLogger(__name__)

EMBEDDINGS = "embed_tokens.weight"
POSITIONS = "embed_positions.weight"
ADAPTER = ".adapter_layer."


def load_encoder(
    model: SpeechTranslator, source: Path | str, *, language: str | None = None, new_adapters: bool = False
) -> tuple[str, ...]:
    """Copy the speech encoder of any checkpoint into a model; of more layers than it has, evenly spaced ones.

    Args:
        model: Its encoder is overwritten; nothing else is touched.
        source: Anything that :func:`st.load` opens and that has a speech encoder.
        language: As for :func:`st.load`.
        new_adapters: Whether the adapters of the model's layers stay as they are. They do where the checkpoint has none.

    Returns:
        Names of what the weights come from, see :mod:`st.checkpoints.origins`.

    Raises:
        CheckpointError: If the file has no encoder, or any of its tensors is missing, unexpected or of another shape;
            the model is unchanged then.
    """
    contents, name, state = _read(source, "encoder", language)
    mine, theirs = model.config.encoder, contents.config.encoder
    state = drop_layers(state, "encoder", theirs.num_layers, mine.num_layers, source=name)
    if mine.adapter_dim and (new_adapters or not theirs.adapter_dim):
        state = {key: tensor for key, tensor in state.items() if ADAPTER not in key}
        state |= {key: tensor.detach() for key, tensor in model.encoder.named_parameters() if ADAPTER in key}
        theirs = dataclasses.replace(theirs, adapter_dim=mine.adapter_dim)
    wrong = [
        f"{field} is {getattr(theirs, field)}, expected {getattr(mine, field)}"
        for field in BEHAVIOUR["encoder"]
        if getattr(theirs, field) != getattr(mine, field)
    ]
    if wrong:
        raise CheckpointError(f"{name}: does not fit the model's encoder: {'; '.join(wrong)}")
    _copy(model, "encoder", state, name, contents)
    logger.info("%s: encoder of %s, %d tensors", name, contents.format, len(state))
    return _origins(contents, name)


def load_decoder(
    model: SpeechTranslator,
    source: Path | str,
    text: TextVocabulary,
    *,
    spm: Path | None = None,
    trim: TrimmedVocabulary | None = None,
) -> tuple[str, ...]:
    """Copy the text decoder of any checkpoint into a model, with the embeddings that the model's vocabulary needs.

    The activation and the embedding scale of the checkpoint become the model's. A vocabulary that is smaller than the
    checkpoint's, or in another order, gets the rows of its own symbols; a language tag gets the row of the language's
    slot (``ca`` that of ``es_XX``, ``cy`` that of ``fi_FI``). Positions beyond ``max_positions`` are left out, and layers
    beyond the model's number, evenly spaced ones being kept.

    Args:
        model: Its decoder is overwritten; nothing else is touched.
        source: Anything that :func:`st.load` opens and that has a text decoder.
        text: Vocabulary of the model.
        spm: SentencePiece model of the checkpoint, if it has none beside it.
        trim: Which rows of an original vocabulary ``text`` has, if it was trimmed; used where the checkpoint has that
            many, so that no other file is needed.

    Returns:
        Names of what the weights come from, see :mod:`st.checkpoints.origins`.

    Raises:
        CheckpointError: If the file has no decoder, a tensor does not fit, or its vocabulary lacks symbols of ``text``;
            the model is unchanged then.
    """
    contents, name, state = _read(source, "decoder")
    state[EMBEDDINGS] = _embeddings(contents, state[EMBEDDINGS], text, spm, trim)
    rows = model.config.decoder.max_positions + POSITION_OFFSET
    state[POSITIONS] = state[POSITIONS][:rows]
    mine, theirs = model.config.decoder, contents.config.decoder
    state = drop_layers(state, "decoder", theirs.num_layers, mine.num_layers, source=name)
    if mine.num_heads != theirs.num_heads:
        raise CheckpointError(f"{name}: num_heads is {theirs.num_heads}, expected {mine.num_heads}")
    _copy(model, "decoder", state, name, contents)
    _adopt(model, activation=theirs.activation, scale_embedding=theirs.scale_embedding)
    sizes = f"{len(text)} of {theirs.vocab_size} symbols, {theirs.activation}"
    logger.info("%s: decoder of %s, %s", name, contents.format, sizes)
    return _origins(contents, name)


def _origins(contents: Contents, name: str) -> tuple[str, ...]:
    """Return the origins of a checkpoint; one of ours that does not say is called by its own name."""
    found = origins_of(contents, name)
    return (origin_name(name),) if found is None else found


def _read(source: Path | str, part: str, language: str | None = None) -> tuple[Contents, str, dict[str, Tensor]]:
    """Return what a checkpoint holds, its name, and the tensors of one of its parts by their names within the part."""
    path, name = resolve(source, language=language)
    contents = read_contents(path, language=language)
    if part not in contents.config.parts:
        raise CheckpointError(
            f"{name}: a {contents.format} file has no {part}; it has: {' '.join(contents.config.parts)}"
        )
    prefix = f"{part}."
    tensors = contents.state.items()
    return contents, name, {key.removeprefix(prefix): tensor for key, tensor in tensors if key.startswith(prefix)}


def _copy(model: SpeechTranslator, part: str, state: Mapping[str, Tensor], name: str, contents: Contents) -> None:
    """Copy all tensors of a part or none."""

    def label(ours: str) -> str | None:
        return contents.keymap.theirs(f"{part}.{ours}")

    parameters = dict(model.get_submodule(part).named_parameters())
    check_names(parameters, state, source=name, label=label)
    require_finite(state, source=name, label=label)
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(state[key])
            if contents.mapped and state[key].data_ptr() != parameter.data_ptr():
                give_back(state[key])


def _adopt(model: SpeechTranslator, **settings: Any) -> None:
    """Change settings of a model's decoder."""
    config: DecoderConfig = dataclasses.replace(model.config.decoder, **settings)
    model.config = dataclasses.replace(model.config, decoder=config)
    for module in (model.decoder, *model.decoder.layers):
        module.config = config


def _embeddings(
    contents: Contents, embeddings: Tensor, text: TextVocabulary, spm: Path | None, trim: TrimmedVocabulary | None
) -> Tensor:
    """Return one row per symbol of ``text``."""
    theirs = _vocabulary(contents, spm)
    if trim is not None and (len(text), len(embeddings)) == (len(trim), trim.original_size):
        may_be_its = theirs is None or hashlib.sha256(theirs.model_bytes()).hexdigest() == trim.model_sha256
        if may_be_its:
            return embeddings.index_select(0, torch.tensor(trim.rows))
    if theirs is None:  # it comes without one: mBART-50's over the model of ``text`` is meant
        with unpacked({"spm.model": text.model_bytes()}) as folder:
            theirs, _ = find_text(contents, VocabularyFiles(spm=spm or folder / "spm.model"))
    if theirs is None or len(theirs) != contents.config.decoder.vocab_size:
        found, expected = len(theirs or ()), contents.config.decoder.vocab_size
        raise CheckpointError(f"{contents.path}: its dictionary has {found} symbols, its decoder {expected}")
    if theirs.symbols == text.symbols:
        return embeddings
    return embeddings.index_select(0, torch.tensor(embedding_rows(text, theirs, source=str(contents.path))))


def _vocabulary(contents: Contents, spm: Path | None) -> TextVocabulary | None:
    """Return the checkpoint's vocabulary, None if there is none beside it."""
    try:
        return find_text(contents, VocabularyFiles(spm=spm))[0]
    except CheckpointError:
        return None


def embedding_rows(text: TextVocabulary, theirs: TextVocabulary, *, source: str) -> list[int]:
    """Return for every symbol of ``text`` its row in another vocabulary's embeddings.

    Raises:
        CheckpointError: If the other vocabulary lacks symbols; the message lists them.
    """
    rows = {symbol: row for row, symbol in enumerate(theirs.symbols)}
    for code in theirs.languages:
        if code in text.languages:  # a tag that is spelt otherwise there
            rows.setdefault(text.lang_tag_format.replace("{}", code), theirs.language_id(code))
    missing = [symbol for symbol in text.symbols if symbol not in rows]
    if missing:
        raise CheckpointError(
            f"{source}: {listed('symbols of the dictionary that its vocabulary lacks', missing)}; prepare the data "
            f"with the SentencePiece model of the checkpoint"
        )
    return [rows[symbol] for symbol in text.symbols]
