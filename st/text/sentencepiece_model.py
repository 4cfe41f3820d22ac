"""Read and edit a serialised SentencePiece model by the protobuf classes that SentencePiece brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from st.doors.parsing import parsing
from st.errors import ConfigError

NORMAL = 1
"""``type`` of an ordinary piece; the others are unknown, control, user-defined, unused and byte pieces."""


def parse_model(model: bytes) -> Any:
    """Return the ``ModelProto`` of a serialised model.

    Its ``pieces`` have a ``piece`` (the text), a ``score`` (logarithm of its probability in a unigram model) and a
    ``type``.

    Raises:
        ConfigError: If the bytes are not such a message, or a piece has no text or no score.
    """
    with parsing("the model", ConfigError, expected="a SentencePiece model", also=(DecodeError,)):
        proto = sentencepiece_model_pb2.ModelProto.FromString(model)
        for number, piece in enumerate(proto.pieces):
            # Text is decoded when it is asked for.
            if not piece.piece or not piece.HasField("score"):
                raise ValueError(f"piece {number} has no text or no score")
    return proto


def model_type(model: bytes) -> str:
    """Return ``unigram``, ``bpe``, ``word`` or ``char``.

    Raises:
        ConfigError: As for :func:`parse_model`.
    """
    spec = parse_model(model).trainer_spec
    return str(spec.ModelType.Name(spec.model_type).lower())


def keep_pieces(model: bytes, kept: Sequence[int]) -> bytes:
    """Return a model with the pieces of the ids ``kept``, in their order, and everything else as it was.

    Raises:
        ConfigError: As for :func:`parse_model`.
    """
    proto = parse_model(model)
    pieces = [proto.pieces[number] for number in kept]
    del proto.pieces[:]
    proto.pieces.extend(pieces)
    proto.trainer_spec.vocab_size = len(kept)
    # Among them are test sentences of older versions, which expect the pieces that are gone.
    proto.DiscardUnknownFields()
    return bytes(proto.SerializeToString())


def without_rules_path(model: bytes) -> bytes:
    """Return a model that does not say where the table of its normalisation rules lay."""
    proto = parse_model(model)
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return bytes(proto.SerializeToString())
