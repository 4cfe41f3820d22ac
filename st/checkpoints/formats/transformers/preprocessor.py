"""What a folder of transformers says of recordings: ``preprocessor_config.json``, or its place in ``processor_config.json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st.checkpoints.formats import fields
from st.checkpoints.formats.settings import read_json_if_any, require
from st.data.config import DataConfig
from st.modules.config import ModelConfig
from st.modules.encoder_config import WAVE_EPSILONS

logger = logging.getLogger(__name__)

PREPROCESSOR_FILENAME = "preprocessor_config.json"
USUAL = "Wav2Vec2FeatureExtractor"
EXTRACTORS = {USUAL: WAVE_EPSILONS["transformers"], "OmniASRFeatureExtractor": WAVE_EPSILONS["fairseq"]}
"""What each kind of feature extractor adds to the variance of a recording; for the rest they do the same."""
EPSILON_KEY = "wave_epsilon"
"""Setting that only folders of ours have, in the preprocessor's file or in the task state of a fairseq file."""


def read_preprocessor(folder: Path, *, mel: bool = False) -> dict[str, Any]:
    """Return the settings of the feature extractor, where transformers finds them; none if the folder has none.

    Args:
        folder: Of the model.
        mel: Whether the model reads w2v-BERT's spectrogram instead of waves.

    Raises:
        CheckpointError: If they are of an extractor that is none of :data:`EXTRACTORS`, or not w2v-BERT's with ``mel``.
    """
    nested = read_json_if_any(folder / "processor_config.json").get("feature_extractor")
    settings = nested if isinstance(nested, Mapping) else read_json_if_any(folder / PREPROCESSOR_FILENAME)
    if mel:
        require(settings, fields.REQUIRED["transformers log-mel"], f"{folder}: feature extractor")
        return dict(settings)
    known = {"feature_extractor_type": USUAL} if settings.get("feature_extractor_type") in list(EXTRACTORS) else {}
    require({**settings, **known}, fields.REQUIRED["transformers waves"], f"{folder}: feature extractor")
    return dict(settings)


def wave_epsilon(settings: Mapping[str, Any], extractor: str = USUAL) -> float:
    """Return what the feature extractor adds to the variance of a recording: what its kind does, unless we wrote it.

    Args:
        settings: What :func:`read_preprocessor` found.
        extractor: Row of :data:`EXTRACTORS` that the model has if they do not say.
    """
    value = settings.get(EPSILON_KEY)
    return EXTRACTORS[settings.get("feature_extractor_type") or extractor] if value is None else value


def preprocessor_settings(config: ModelConfig, data: DataConfig) -> dict[str, Any]:
    """Return the settings of a feature extractor that does as training did, but for :data:`EPSILON_KEY`."""
    if config.encoder.mel_stack:
        return fields.TEMPLATES["log-mel preprocessor"] | {
            "feature_size": config.encoder.mel_bands,
            "sampling_rate": data.sample_rate,
            **fields.to_transformers("log-mel", config.encoder),
        }
    return fields.TEMPLATES["preprocessor"] | {
        "do_normalize": data.standardize_audio,
        "sampling_rate": data.sample_rate,
        # With a norm over time transformers counts padding whatever it is told, and asks not to be told.
        "return_attention_mask": config.encoder.conv_norm != "group",
        EPSILON_KEY: config.encoder.wave_epsilon,
    }


def name_epsilon(config: ModelConfig, data: DataConfig, target: str) -> None:
    """Warn that quiet recordings are another input where a model goes, if what is added to their variance differs there.

    Args:
        config: Shape of the model.
        data: How its recordings are handled.
        target: A name of :data:`WAVE_EPSILONS`.
    """
    if data.standardize_audio and config.encoder.wave_epsilon != WAVE_EPSILONS[target]:
        logger.warning(
            "this model adds %g to the variance of a recording, %s itself %g: there recordings with an rms below about "
            "0.03 are another input; this project reads what is written here as it was",
            config.encoder.wave_epsilon,
            target,
            WAVE_EPSILONS[target],
        )
