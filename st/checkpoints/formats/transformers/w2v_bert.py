"""Settings of w2v-BERT 2.0 in transformers (``Wav2Vec2BertConfig`` and its feature extractor) beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st.checkpoints.formats import fields
from st.checkpoints.formats.settings import require
from st.checkpoints.formats.transformers.preprocessor import read_preprocessor
from st.doors.shown import shown
from st.errors import CheckpointError
from st.modules.encoder_config import EncoderConfig

W2V_BERT = "wav2vec2-bert"
"""Its ``model_type``."""
_POSITIONS = "position_embeddings_type"
_NO_DISTANCES = {"left_max_position_embeddings": 0, "right_max_position_embeddings": 0}


def w2v_bert_config(settings: Mapping[str, Any], folder: Path) -> EncoderConfig:
    """Return the shape of an encoder.

    Args:
        settings: Its ``config.json``.
        folder: Where its feature extractor's settings are; without them they are the usual ones.

    Raises:
        CheckpointError: If a setting asks for what our encoder does not have.
    """
    settings = dict(settings)
    require(settings, fields.REQUIRED["transformers conformer"], str(folder))
    if _POSITIONS in settings and settings[_POSITIONS] is None:
        settings |= _NO_DISTANCES
    pooling = 0
    if settings.get("add_adapter"):
        require(settings, fields.REQUIRED["transformers pooling"], str(folder))
        pooling = settings.get("num_adapter_layers", 1)
    known = fields.from_transformers("conformer", settings)
    bands = fields.from_transformers("log-mel", read_preprocessor(folder, mel=True))
    width, dim = settings.get("feature_projection_input_dim", 160), known["dim"]
    if width != bands["mel_bands"] * bands["mel_stack"]:
        raise CheckpointError(
            f"{folder}: feature_projection_input_dim is {shown(width)}; its feature extractor makes "
            f"{bands['mel_stack']} times {bands['mel_bands']} numbers (stride, num_mel_bins)"
        )
    if pooling and (settings.get("output_hidden_size") or dim) != dim:
        raise CheckpointError(
            f"{folder}: not an architecture of this project: output_hidden_size is {settings['output_hidden_size']}, "
            f"expected {dim} (an adapter as wide as the encoder); train with output_hidden_size left out"
        )
    return EncoderConfig(**known, **bands, layer_kind="conformer", conv_layers=(), pooling_layers=pooling)


def w2v_bert_settings(encoder: EncoderConfig) -> dict[str, Any]:
    """Return the ``Wav2Vec2BertConfig`` of an encoder.

    Raises:
        CheckpointError: If transformers has no such encoder.
    """
    if not encoder.mel_stack:
        raise CheckpointError("transformers' Wav2Vec2BertModel reads Kaldi's spectrogram (mel_stack): keep the .pt")
    positions = encoder.left_distances or encoder.right_distances
    return {
        "model_type": W2V_BERT,
        **fields.to_transformers("conformer", encoder),
        _POSITIONS: "relative_key" if positions else None,
        "feature_projection_input_dim": encoder.mel_bands * encoder.mel_stack,
        "add_adapter": encoder.pooling_layers > 0,
        "num_adapter_layers": max(encoder.pooling_layers, 1),
        "adapter_kernel_size": 3,
        "adapter_stride": 2,
    }
