"""Tokenizer files for transformers that fit a vocabulary exactly, whole or trimmed."""

from __future__ import annotations

import base64
import logging
from typing import Any

from st.checkpoints.formats import fields
from st.text.sentencepiece_model import keep_pieces, model_type, parse_model
from st.text.sentencepiece_training import NUM_SPM_SPECIALS, mbart50_tags, model_pieces
from st.text.vocabulary import MASK, SPECIALS, TextVocabulary

logger = logging.getLogger(__name__)


def is_mbart50(text: TextVocabulary) -> bool:
    """Return whether a vocabulary is mBART-50's layout over its SentencePiece model, nothing trimmed."""
    return text.symbols[len(SPECIALS) :] == [*model_pieces(text.model_bytes()), *mbart50_tags()]


def fitting_spm(text: TextVocabulary) -> bytes:
    """Return a SentencePiece model with exactly the pieces of the vocabulary, in its order.

    Piece ``n`` of the model (from 3, after ``<unk> <s> </s>``) is symbol ``n + 1`` of the vocabulary.
    """
    model = text.model_bytes()
    ids = {piece.piece: number for number, piece in enumerate(parse_model(model).pieces)}
    wanted = [symbol for symbol in text.symbols[len(SPECIALS) :] if symbol in ids]
    if wanted == model_pieces(model):
        return model
    return keep_pieces(model, [*range(NUM_SPM_SPECIALS), *(ids[symbol] for symbol in wanted)])


def tokenizer_json(text: TextVocabulary) -> dict[str, Any] | None:
    """Return ``tokenizer.json`` of the tokenizers library: same ids, same segmentation as the vocabulary.

    Returns:
        The document, or None for a SentencePiece model that is not of the unigram type, for which there is none.
    """
    model = text.model_bytes()
    kind = model_type(model)
    if kind != "unigram":
        logger.warning(
            "the folder gets no tokenizer for transformers: the SentencePiece model is of type %s, not unigram", kind
        )
        return None
    parsed = parse_model(model)
    scores = {piece.piece: piece.score for piece in parsed.pieces}
    lowest = min(scores.values(), default=0.0)
    names = _names(text)
    special = {n for n, symbol in enumerate(text.symbols) if symbol in (*SPECIALS, MASK) or text.is_tag(n)}
    # A symbol that is no piece must never be chosen for a stretch of text.
    vocabulary = [[name, 0.0 if n in special else scores.get(name, lowest - 100.0)] for n, name in enumerate(names)]
    steps = []
    if charsmap := parsed.normalizer_spec.precompiled_charsmap:
        steps = [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode("ascii")}]
    template, added = fields.TEMPLATES["tokenizer.json"], fields.TEMPLATES["added_token"]
    # A text ends with </s>; the tag that begins it depends on the language and is not the tokenizer's to know.
    return template | {
        "added_tokens": [
            added | {"id": number, "content": names[number], "lstrip": names[number] == MASK}
            for number in sorted(special)
        ],
        "normalizer": {"type": "Sequence", "normalizers": [*steps, *template["normalizer"]["normalizers"]]},
        "model": template["model"] | {"vocab": vocabulary},
    }


def tokenizer_config(text: TextVocabulary) -> dict[str, Any]:
    """Return ``tokenizer_config.json``: mBART-50's own class if the vocabulary is its, a plain one otherwise."""
    tags = [symbol for number, symbol in enumerate(text.symbols) if text.is_tag(number)]
    config = fields.TEMPLATES["text_tokenizer"]
    if is_mbart50(text):
        return config | {"tokenizer_class": "MBart50Tokenizer", "mask_token": MASK, "src_lang": "en_XX"}
    mask = {"mask_token": MASK} if MASK in text.symbols else {}
    return config | mask | {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": tags}


def _names(text: TextVocabulary) -> list[str]:
    """Return the symbols as transformers calls them: mBART-50's tags without the brackets that fairseq writes."""
    if not is_mbart50(text):
        return list(text.symbols)
    return [symbol.strip("[]") if text.is_tag(number) else symbol for number, symbol in enumerate(text.symbols)]
