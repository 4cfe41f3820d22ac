"""Changes of the wave, each against what physics says it should do."""

import math

import numpy as np
import pytest
import soundfile

from st.audio.augmentation import (
    AugmentationConfig,
    add_noise,
    augment,
    change_speed,
    mask_bands,
    mask_time,
    perturbed_size,
    pink_noise,
)
from st.errors import AudioError, ConfigError


def tone(hz, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(16000 * seconds)) / 16000).astype(np.float32)


def power_at(samples, low, high):
    power = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / 16000)
    return power[(hz >= low) & (hz < high)].sum() / power.sum()


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_speed_moves_pitch_and_length_by_the_factor(factor):
    changed = change_speed(tone(1000), factor)
    assert len(changed) == round(16000 / factor)
    hz = np.fft.rfftfreq(len(changed), 1 / 16000)[np.abs(np.fft.rfft(changed)).argmax()]
    assert hz == pytest.approx(1000 * factor, abs=2)
    assert np.abs(changed[500:-500]).max() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("size", [1, 2, 3, 399, 400, 12345])
def test_speed_gives_exactly_the_announced_size(size):
    for factor in (0.5, 0.9, 1.0, 1.1, 2.0):
        assert len(change_speed(np.ones(size, np.float32), factor)) == perturbed_size(size, factor)


def test_speed_one_changes_nothing():
    samples = tone(300)
    assert change_speed(samples, 1.0) is samples


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_noise_has_the_asked_for_power(snr):
    speech, noise = tone(440), 7 * generator().standard_normal(16000).astype(np.float32)
    added = add_noise(speech, noise, snr) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.01)


def test_noise_leaves_silence_alone():
    silence = np.zeros(100, np.float32)
    assert np.array_equal(add_noise(silence, np.ones(100, np.float32), 5.0), silence)
    assert np.array_equal(add_noise(np.ones(100, np.float32), silence, 5.0), np.ones(100))


def test_pink_noise_falls_by_three_decibels_an_octave():
    power = np.abs(np.fft.rfft(pink_noise(1 << 18, generator()))) ** 2
    octaves = [power[1 << n : 2 << n].mean() for n in range(8, 16)]
    steps = 10 * np.log10(np.array(octaves[:-1]) / np.array(octaves[1:]))
    assert steps == pytest.approx([3.01] * 7, abs=0.6)


def test_time_masks_silence_as_much_as_asked_and_no_more():
    samples = np.ones(16000, np.float32)
    sizes = [int((mask_time(samples, 1, 1000, generator(seed)) == 0).sum()) for seed in range(200)]
    assert max(sizes) <= 1000
    assert min(sizes) < 100
    assert 400 < np.mean(sizes) < 600
    assert (samples == 1).all(), "the wave that was given must stay"
    assert len(mask_time(np.ones(3, np.float32), 5, 1000, generator())) == 3


def test_band_masks_remove_a_band_and_leave_the_rest():
    noise = generator().standard_normal(16000).astype(np.float32)
    masked = mask_bands(noise, 1, 800.0, generator(4))
    removed = np.abs(np.fft.rfft(masked)) < 1e-2 * np.abs(np.fft.rfft(noise))
    places = np.flatnonzero(removed)
    assert 10 < len(places) <= 801
    assert (np.diff(places) == 1).all(), "one band, without holes"
    assert np.allclose(np.fft.rfft(masked)[~removed], np.fft.rfft(noise)[~removed], atol=0.05)
    assert power_at(masked, places[0], places[-1]) < 1e-6
    assert masked.dtype == np.float32


def test_the_same_place_in_the_same_epoch_sounds_the_same():
    config = AugmentationConfig(noise="pink", noise_prob=1.0, time_masks=2, band_masks=2)
    first = augment(tone(500), config, np.random.default_rng((1, 2, 3)))
    assert np.array_equal(first, augment(tone(500), config, np.random.default_rng((1, 2, 3))))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not np.array_equal(first, augment(tone(500), config, np.random.default_rng(other)))


def test_without_options_nothing_changes():
    samples = tone(500)
    assert augment(samples, AugmentationConfig(), generator()) is samples
    assert not AugmentationConfig().changes_waves


def test_recordings_of_a_folder_are_added_and_repeat_when_short(tmp_path):
    (tmp_path / "inner").mkdir()
    soundfile.write(tmp_path / "inner" / "hum.wav", 0.5 * tone(3000, 0.1), 16000)
    config = AugmentationConfig(noise=str(tmp_path), noise_prob=1.0, noise_snr=(0.0, 0.0))
    noisy = augment(tone(500), config, generator())
    assert power_at(noisy, 2950, 3050) == pytest.approx(0.5, abs=0.02)


def test_t18_a_noise_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no more")
    config = AugmentationConfig(noise=str(tmp_path), noise_prob=1.0)
    with pytest.raises(AudioError, match=r"broken\.wav"):
        augment(tone(500), config, generator())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed_perturb": (0.0,)}, "`speed_perturb`"),
        ({"noise": "/no/such/folder"}, "`noise` is"),
        ({"noise_prob": 1.5}, "`noise_prob`"),
        ({"noise_snr": (9.0, 3.0)}, "`noise_snr`"),
        ({"concat_prob": -1.0}, "`concat_prob`"),
        ({"noise_snr": (math.nan, 3.0)}, "`noise_snr`"),
        ({"time_masks": -1}, "`time_masks` is -1; expected a number from 0"),
        ({"time_mask_seconds": math.inf}, "`time_mask_seconds`"),
        ({"band_mask_hz": 8000.5}, "`band_mask_hz` is 8000.5; expected a number from 0 to 8000"),
        ({"concat_max_seconds": -1.0}, "`concat_max_seconds`"),
        ({"concat_max_seconds": math.nan}, "`concat_max_seconds`"),
    ],
)
def test_t23_bad_options_name_themselves(options, message):
    with pytest.raises(ConfigError, match=message):
        AugmentationConfig(**options)


def test_t23_a_folder_without_recordings_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no recording in it"):
        augment(tone(100), AugmentationConfig(noise=str(tmp_path), noise_prob=1.0), generator())
