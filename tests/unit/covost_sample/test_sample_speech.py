"""Every language is read as words, by voices that are the same whatever was said before."""

from __future__ import annotations

import ctypes
import random
import re

import numpy as np
import pytest

from covost.sample import lexicon, speech
from covost.sample.draw import SentenceDrawer
from covost.sample.readings import spoken_text
from covost.sample.speech import ESPEAK_SAMPLE_RATE, speak
from covost.sample.voices import HELD_OUT_VOICES, VARIANTS, Voice, max_voices, voices
from st.data.manifest import SPLITS
from st.errors import StError
from st.evaluation.covost2 import CODES
from st.text.languages import language

VOICE = Voice("f2", 50, 185, "female")

READ_AS_ENGLISH = {"fr": {"Danemark", "livres sterling", "zlotys polonais"}}
"""eSpeak NG's own dictionary says these in English (or Polish), as words."""


def phonemes(text: str, code: str) -> str:
    """Return how eSpeak NG pronounces ``text``, in IPA; ``(en)`` marks words it reads as another language."""
    ipa = 2
    with speech._engine(code, "") as library:
        library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        rest = ctypes.c_char_p(text.encode())
        clauses: list[str] = []
        while rest.value is not None:
            clauses.append(library.espeak_TextToPhonemes(ctypes.byref(rest), speech._UTF8, ipa).decode())
    return ", ".join(clauses)


def _vocabulary(code: str) -> list[str]:
    words = [lexicon.weekday(item, code) for item in lexicon.WEEKDAYS]
    words += [lexicon.date(item % 7, item, item + 8, code) for item in lexicon.MONTHS]
    words += [lexicon.territory(item, code) for item in lexicon.TERRITORIES]
    words += [lexicon.language_name(item, code) for item in lexicon.LANGUAGE_NAMES]
    words += [lexicon.amount(item, number + 2, code) for number, item in enumerate(lexicon.CURRENCIES)]
    words += [lexicon.measure(item, number + 2, code) for number, item in enumerate(lexicon.UNITS)]
    words += [lexicon.relative_time((item, 1), number, code) for number, item in enumerate(lexicon.SPANS, 11)]
    return words


@pytest.mark.parametrize("code", CODES)
def test_every_language_is_read_as_words_of_its_own(code: str) -> None:
    for text in _vocabulary(code):
        said = phonemes(spoken_text(text, code), code)
        assert said.strip(", "), text
        # A sign that eSpeak NG does not know is named in English: "Chinese letter", "Japanese letter", "symbol".
        if not any(text.endswith(known) for known in READ_AS_ENGLISH.get(code, ())) and "Złoty" not in text:
            assert not re.search(r"\([a-z]{2,3}(-[a-z]+)?\)", said), (text, said)
        # Letters spelled one by one would each be a stressed word of its own.
        if code not in ("zh-CN",):
            spoken = spoken_text(text, code)
            assert said.count("ˈ") <= 3 * len(re.findall(r"\w+", spoken)), (spoken, said)


@pytest.mark.parametrize("code", CODES)
def test_every_language_speaks_at_a_plausible_pace(code: str) -> None:
    drawer = SentenceDrawer(random.Random(1))
    for _ in range(3):
        text = drawer.draw().write(code)
        samples = speak(spoken_text(text, code), code, VOICE)
        seconds = len(samples) / ESPEAK_SAMPLE_RATE
        letters = len(re.findall(r"\w", text))
        slow, fast = (0.08, 1.0) if language(code).script in ("Hans", "Jpan") else (0.03, 0.15)
        assert slow * letters < seconds < fast * letters + 1.5, (text, seconds)
        assert samples.dtype == np.int16
        assert np.abs(samples.astype(np.int32)).max() > 3000


def test_what_was_said_before_does_not_change_a_clip() -> None:
    first = speak("Friday, Brazil", "en", VOICE)
    speak("vendredi, Brésil, Norvège et Japon", "fr", Voice("m7", 40, 150, "male"))
    second = speak("Friday, Brazil", "en", VOICE)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("split", SPLITS)
def test_every_variant_speaks_and_differs_from_the_others(split: str) -> None:
    sounds = {variant: speak("hello", "en", Voice(variant, 50, 185, "")).tobytes() for variant in VARIANTS[split]}
    assert len(set(sounds.values())) == len(sounds)


def test_an_unknown_voice_is_an_error() -> None:
    with pytest.raises(StError, match="no voice 'xx-none"):
        speak("hello", "xx-none", VOICE)


def test_a_long_path_to_the_data_does_not_end_the_process(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ESpeak NG cuts paths at 160 bytes, and then ends the process unless told not to."""
    expected = speak("hello", "en", VOICE)
    folder = tmp_path_factory.mktemp("deep") / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    (folder / "espeak-ng-data").symlink_to(speech.espeakng_loader.get_data_path())
    monkeypatch.setattr(speech.espeakng_loader, "get_data_path", lambda: str(folder / "espeak-ng-data"))
    speech._data_path.cache_clear()
    try:
        np.testing.assert_array_equal(speak("hello", "en", VOICE), expected)
    finally:
        speech._data_path.cache_clear()


def test_missing_data_is_an_error(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_data_path", lambda: bytes(tmp_path_factory.mktemp("none")))
    with pytest.raises(StError, match="cannot read its data"):
        speak("hello", "en", VOICE)


def test_no_speaker_and_no_timbre_is_in_two_splits() -> None:
    speakers = {split: voices(split, max_voices(split)) for split in SPLITS}
    variants = {split: {voice.variant for voice in speakers[split]} for split in SPLITS}
    identities = {split: {voice.client_id("en") for voice in speakers[split]} for split in SPLITS}
    for sets in (variants, identities):
        assert not sets["train"] & sets["dev"]
        assert not sets["train"] & sets["test"]
        assert not sets["dev"] & sets["test"]
    for split, number in HELD_OUT_VOICES.items():
        assert number <= max_voices(split)
    for split in SPLITS:
        assert len(identities[split]) == max_voices(split)


def test_speakers_of_another_language_are_other_people() -> None:
    assert VOICE.client_id("en") != VOICE.client_id("de")
    assert re.fullmatch(r"[0-9a-f]{128}", VOICE.client_id("en"))


def test_too_many_voices_are_refused() -> None:
    with pytest.raises(ValueError, match="dev has 10 voices, not 11"):
        voices("dev", 11)
