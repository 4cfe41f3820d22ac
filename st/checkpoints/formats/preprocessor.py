"""What a folder of transformers says of recordings: ``preprocessor_config.json``, or its place in ``processor_config.json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st.checkpoints.formats import fields
from st.checkpoints.formats.settings import read_json_if_any, require
from st.data.config import DataConfig
from st.modules.config import WAVE_EPSILONS, ModelConfig

logger = logging.getLogger(__name__)

PREPROCESSOR_FILENAME = "preprocessor_config.json"
EPSILON_KEY = "wave_epsilon"
"""Setting that only folders of ours have, in the preprocessor's file or in the task state of a fairseq file."""


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """Return the settings of the feature extractor, where transformers finds them; none if the folder has none.

    Raises:
        CheckpointError: If they are of an extractor that is not wav2vec 2.0's.
    """
    nested = read_json_if_any(folder / "processor_config.json").get("feature_extractor")
    settings = nested if isinstance(nested, Mapping) else read_json_if_any(folder / PREPROCESSOR_FILENAME)
    require(settings, fields.REQUIRED["transformers waves"], f"{folder}: feature extractor")
    return dict(settings)


def wave_epsilon(settings: Mapping[str, Any]) -> float:
    """Return what the feature extractor adds to the variance of a recording: transformers' own, unless we wrote it."""
    value = settings.get(EPSILON_KEY)
    return WAVE_EPSILONS["transformers"] if value is None else value


def preprocessor_settings(config: ModelConfig, data: DataConfig) -> dict[str, Any]:
    """Return the settings of a ``Wav2Vec2FeatureExtractor`` that does as training did, but for :data:`EPSILON_KEY`."""
    return fields.TEMPLATES["preprocessor"] | {
        "do_normalize": data.standardize_audio,
        "sampling_rate": data.sample_rate,
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
