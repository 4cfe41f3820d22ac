"""Changes of the wave that make training see more than was recorded. Everything is off unless asked for.

What happens to an utterance follows from (seed, epoch, place in the epoch) alone, so it is the same with any number of
workers, and again after a resume.

Legend: T samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from st.audio.reading import SAMPLE_RATE, read_audio
from st.errors import AudioError, ConfigError
from st.options import option

Samples = npt.NDArray[np.float32]

NOISE_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")
_KEPT_NOISES = 64
_LIMITS = {
    "noise_prob": 1.0,
    "time_masks": 1_000,
    "time_mask_seconds": 3_600.0,
    "band_masks": 1_000,
    "band_mask_hz": SAMPLE_RATE / 2,
    "concat_prob": 1.0,
    "concat_max_seconds": 3_600.0,
    "crop_seconds": 3_600.0,
}
"""Most that each option may be; the least is 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentationConfig:
    """What may happen to the waves of the training set."""

    speed_perturb: tuple[float, ...] = option(
        (), "speeds of which each utterance draws one, e.g. 0.9,1.0,1.1; tempo and pitch change together"
    )
    noise: str = option("", "noise that is added: white, pink, or a folder of recordings")
    """The folder is searched with its sub-folders."""
    noise_prob: float = option(0.5, "with --noise: probability that an utterance gets some")
    noise_snr: tuple[float, float] = option(
        (5.0, 25.0), "with --noise: lowest and highest ratio of speech to noise, in dB"
    )
    """Drawn evenly."""
    time_masks: int = option(0, "stretches of each utterance's wave that are silenced")
    time_mask_seconds: float = option(0.2, "longest of them; the length is drawn evenly from 0")
    band_masks: int = option(0, "bands of frequency that are removed from each utterance's wave")
    band_mask_hz: float = option(500.0, "widest of them; the width is drawn evenly from 0")
    concat_prob: float = option(
        0.0, "share of utterances that are joined to another of the same speaker and target languages"
    )
    concat_max_seconds: float = option(20.0, "longest result of joining")
    concat_any_speaker: bool = option(False, "join utterances of different speakers too")
    crop_seconds: float = option(
        0.0, "longest stretch that is heard of an utterance, at random; for heads that classify; 0: all of it"
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range or the folder of noises does not exist.
        """
        if any(not 0.5 <= factor <= 2.0 for factor in self.speed_perturb):
            raise ConfigError(f"`speed_perturb` is {self.speed_perturb}; expected factors from 0.5 to 2")
        if not -math.inf < self.noise_snr[0] <= self.noise_snr[1] < math.inf:
            raise ConfigError(f"`noise_snr` is {self.noise_snr}; expected the lower number first")
        for name, most in _LIMITS.items():
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"`{name}` is {getattr(self, name):g}; expected a number from 0 to {most:g}")
        if self.noise not in ("", "white", "pink") and not Path(self.noise).is_dir():
            raise ConfigError(f"`noise` is {self.noise!r}; expected white, pink, or a folder of recordings")

    @property
    def changes_waves(self) -> bool:
        """Whether any utterance may sound different from how it was recorded."""
        masks = self.time_masks or self.band_masks
        return bool(self.speed_perturb or self.noise or masks or self.concat_prob or self.crop_seconds)


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play a wave faster or slower, tempo and pitch together.

    Returns:
        Exactly ``round(T / factor)`` samples, at least one.
    """
    if factor == 1.0:
        return samples
    size = perturbed_size(len(samples), factor)
    changed = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="HQ")[:size]
    return np.pad(changed, (0, size - len(changed))).astype(np.float32, copy=False)


def perturbed_size(num_samples: int, factor: float) -> int:
    """Return the samples of a wave of ``num_samples`` at another speed."""
    return max(round(num_samples / factor), 1)


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise at a ratio of powers; silence on either side is left as it is.

    Args:
        samples: Speech of shape ``(T,)``.
        noise: As many samples, of any loudness.
        snr_db: Power of the speech over that of the noise, in dB.
    """
    speech_power, noise_power = float(np.mean(samples**2)), float(np.mean(noise**2))
    if speech_power == 0.0 or noise_power == 0.0:
        return samples
    scale = np.sqrt(speech_power / noise_power / 10.0 ** (snr_db / 10.0))
    return np.asarray(samples + np.float32(scale) * noise, dtype=np.float32)


def pink_noise(size: int, generator: np.random.Generator) -> Samples:
    """Return noise whose power falls by 3 dB an octave, of shape ``(size,)``."""
    spectrum = np.fft.rfft(generator.standard_normal(size))
    # The lowest bin is the mean, which is no sound.
    scale = np.concatenate([[0.0], 1.0 / np.sqrt(np.arange(1, len(spectrum)))])
    return np.fft.irfft(spectrum * scale, size).astype(np.float32)


def mask_time(samples: Samples, masks: int, longest: int, generator: np.random.Generator) -> Samples:
    """Silence ``masks`` stretches of up to ``longest`` samples each; they may overlap."""
    samples = samples.copy()
    for _ in range(masks):
        size = int(generator.integers(0, min(longest, len(samples)) + 1))
        start = int(generator.integers(0, len(samples) - size + 1))
        samples[start : start + size] = 0.0
    return samples


def mask_bands(samples: Samples, masks: int, widest_hz: float, generator: np.random.Generator) -> Samples:
    """Remove ``masks`` bands of up to ``widest_hz`` each; they may overlap."""
    spectrum = np.fft.rfft(samples)
    hz_per_bin = SAMPLE_RATE / len(samples)
    for _ in range(masks):
        width = float(generator.uniform(0.0, widest_hz))
        low = float(generator.uniform(0.0, SAMPLE_RATE / 2 - width))
        spectrum[int(np.ceil(low / hz_per_bin)) : int(np.ceil((low + width) / hz_per_bin))] = 0.0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def augment(samples: Samples, config: AugmentationConfig, generator: np.random.Generator) -> Samples:
    """Apply noise and masks to a wave; speed and joining happen before, as they change its length.

    Raises:
        AudioError: If a recording of the folder of noises cannot be read; the message names it.
    """
    if config.noise and generator.random() < config.noise_prob:
        noise = _noise(config.noise, len(samples), generator)
        samples = add_noise(samples, noise, float(generator.uniform(*config.noise_snr)))
    if config.band_masks:
        samples = mask_bands(samples, config.band_masks, config.band_mask_hz, generator)
    if config.time_masks:
        samples = mask_time(samples, config.time_masks, round(config.time_mask_seconds * SAMPLE_RATE), generator)
    return samples


def _noise(kind: str, size: int, generator: np.random.Generator) -> Samples:
    if kind == "white":
        return generator.standard_normal(size, dtype=np.float32)
    if kind == "pink":
        return pink_noise(size, generator)
    files = noise_files(kind)
    recording = _read_noise(files[int(generator.integers(len(files)))])
    start = int(generator.integers(len(recording)))
    # A noise that is shorter than the speech begins again.
    return np.take(recording, np.arange(start, start + size), mode="wrap")


@lru_cache(maxsize=4)
def noise_files(folder: str) -> tuple[Path, ...]:
    """Return the recordings below a folder, in the order of their names.

    Raises:
        ConfigError: If there is none.
    """
    files = tuple(sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in NOISE_SUFFIXES))
    if not files:
        raise ConfigError(f"`noise` {folder}: no recording in it; expected files {' '.join(NOISE_SUFFIXES)}")
    return files


@lru_cache(maxsize=_KEPT_NOISES)
def _read_noise(path: Path) -> Samples:
    try:
        return read_audio(path)
    except AudioError as exc:
        raise AudioError(f"`noise`: {exc}", reason=exc.reason) from exc
