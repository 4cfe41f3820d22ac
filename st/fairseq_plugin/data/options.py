"""Options of the task that say what an epoch of training is made of."""

import math
from dataclasses import dataclass
from typing import Any

from fairseq.dataclass import FairseqDataclass

from st.audio.augmentation import AugmentationConfig
from st.errors import ConfigError
from st.fairseq_plugin.options import with_options_of
from st.options import option, options


@dataclass
class _Mixing(FairseqDataclass):
    add_transcripts: bool = option(
        False, "teach the decoder to transcribe as well: transcripts of the training set are targets, too"
    )
    sampling_alpha: float = option(
        1.0, "share of a direction of n translations in an epoch: n to this power; 1: each once, 0: directions alike"
    )
    subword_alpha: float = option(
        0.0,
        "subword regularisation of the targets: in every epoch other pieces, drawn among the 64 best segmentations by their "
        "probability to this power, such as 0.2; 0: always the best segmentation",
    )


DataOptions: Any = with_options_of(_Mixing, {"": AugmentationConfig})
"""Mixing of directions, and changes of the training set's waves; by default there are none."""


def augmentation_config(cfg: Any) -> AugmentationConfig:
    """Read the options of augmentation.

    Raises:
        ConfigError: If one is malformed or out of range; the message names it.
    """
    values = {item.name: getattr(cfg, item.name) for item in options(AugmentationConfig)}
    for name in ("speed_perturb", "noise_snr"):
        values[name] = parse_numbers(f"--{name.replace('_', '-')}", values[name])
    if len(values["noise_snr"]) != 2:
        raise ConfigError(f"--noise-snr is {cfg.noise_snr!r}; expected two numbers, e.g. 5,25")
    return AugmentationConfig(**values)


def parse_numbers(name: str, text: str) -> tuple[float, ...]:
    """Parse ``"0.9,1.0,1.1"``; nothing for an empty text.

    Raises:
        ConfigError: If a part is no finite number; the message names the option.
    """
    try:
        numbers = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{name} is {text!r}; expected numbers separated by commas")
    return numbers
