"""Options of the task that say what an epoch of training is made of."""

import math
from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import FairseqDataclass

from st.audio.augmentation import AugmentationConfig
from st.errors import ConfigError


def option(default: Any, text: str) -> Any:
    """Declare an option with its default and its help."""
    return field(default=default, metadata={"help": text})


@dataclass
class DataOptions(FairseqDataclass):
    """Mixing of directions, and changes of the training set's waves; by default there are none."""

    add_transcripts: bool = option(
        False, "teach the decoder to transcribe as well: transcripts of the training set are targets, too"
    )
    sampling_alpha: float = option(
        1.0, "share of a direction of n translations in an epoch: n to this power; 1: each once, 0: directions alike"
    )
    speed_perturb: str = option(
        "", "speeds of which each utterance draws one, e.g. 0.9,1.0,1.1; tempo and pitch change together"
    )
    noise: str = option("", "noise that is added: white, pink, or a folder of recordings")
    noise_prob: float = option(0.5, "with --noise: probability that an utterance gets some")
    noise_snr: str = option("5,25", "with --noise: lowest and highest ratio of speech to noise, in dB")
    time_masks: int = option(0, "stretches of each utterance's wave that are silenced")
    time_mask_seconds: float = option(0.2, "longest of them; the length is drawn evenly from 0")
    band_masks: int = option(0, "bands of frequency that are removed from each utterance's wave")
    band_mask_hz: float = option(500.0, "widest of them; the width is drawn evenly from 0")
    concat_prob: float = option(
        0.0, "share of utterances that are joined to another of the same speaker and target languages"
    )
    concat_max_seconds: float = option(20.0, "longest result of joining")
    concat_any_speaker: bool = option(False, "join utterances of different speakers too")


def augmentation_config(cfg: Any) -> AugmentationConfig:
    """Read the options of augmentation.

    Raises:
        ConfigError: If one is malformed or out of range; the message names it.
    """
    snr = parse_numbers("--noise-snr", cfg.noise_snr)
    if len(snr) != 2:
        raise ConfigError(f"--noise-snr is {cfg.noise_snr!r}; expected two numbers, e.g. 5,25")
    return AugmentationConfig(
        speed_factors=parse_numbers("--speed-perturb", cfg.speed_perturb),
        noise=cfg.noise,
        noise_prob=cfg.noise_prob,
        noise_snr=(snr[0], snr[1]),
        time_masks=cfg.time_masks,
        time_mask_seconds=cfg.time_mask_seconds,
        band_masks=cfg.band_masks,
        band_mask_hz=cfg.band_mask_hz,
        concat_prob=cfg.concat_prob,
        concat_max_seconds=cfg.concat_max_seconds,
        concat_any_speaker=cfg.concat_any_speaker,
    )


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
