"""Speak text with eSpeak NG, the same way whatever was spoken before.

eSpeak NG keeps state between utterances that neither its random seed nor a new initialisation resets (phases of
flutter and waveform). The library is therefore loaded anew for each utterance, which takes about two milliseconds.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

from covost.sample.voices import Voice
from st.errors import StError

ESPEAK_SAMPLE_RATE = 22050
"""Hz, of every eSpeak NG voice."""

ESPEAK_LANGUAGES: dict[str, str] = {"zh-CN": "cmn", "sv-SE": "sv", "en": "en-us", "pt": "pt-br", "mn": "tt"}
"""eSpeak NG's names where they differ from CoVoST's.

There is no Mongolian voice: Tatar stands in for it, which reads every letter of the Mongolian alphabet, ``ө`` and
``ү`` included, as Mongolian sounds or near ones.
"""

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: AUDIO_OUTPUT_SYNCHRONOUS
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: without it, missing data ends the process
_LONGEST_PATH = 130  # bytes; eSpeak NG cuts off longer ones, having room for 160 with its file names
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_UTF8 = 1  # espeakCHARS_UTF8
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


_links: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@cache
def _data_path() -> bytes:
    """Return a path of eSpeak NG's data that is short enough for it."""
    path = os.fsencode(espeakng_loader.get_data_path())
    if len(path) <= _LONGEST_PATH:
        return path
    _links.append(tempfile.TemporaryDirectory(prefix="espeak-"))
    link = Path(_links[-1].name) / "espeak-ng-data"
    link.symlink_to(os.fsdecode(path))
    return os.fsencode(link)


@contextmanager
def _engine(language: str, variant: str) -> Iterator[ctypes.CDLL]:
    """Load a fresh copy of eSpeak NG with one voice and unload it afterwards."""
    data_path = _data_path()
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        if library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, _DONT_EXIT) != ESPEAK_SAMPLE_RATE:
            raise StError(f"eSpeak NG cannot read its data in {os.fsdecode(data_path)}; reinstall espeakng-loader")
        name = ESPEAK_LANGUAGES.get(language, language) + (f"+{variant}" if variant else "")
        if library.espeak_SetVoiceByName(name.encode()) != 0:
            raise StError(f"eSpeak NG has no voice {name!r}; reinstall espeakng-loader")
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        yield library
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)


def speak(text: str, language: str, voice: Voice) -> NDArray[np.int16]:
    """Read ``text`` aloud.

    Args:
        text: What :func:`covost.sample.readings.spoken_text` returned.
        language: CoVoST code.
        voice: Who speaks.

    Returns:
        Samples of shape ``(T,)`` at 22,050 Hz.

    Raises:
        StError: If eSpeak NG cannot be used or says nothing.
    """
    chunks: list[bytes] = []

    def collect(samples: int | None, num_samples: int, _events: int | None) -> int:
        if samples and num_samples > 0:
            chunks.append(ctypes.string_at(samples, 2 * num_samples))
        return 0

    callback = _CALLBACK(collect)  # a name of its own keeps it alive while the engine calls it
    encoded = text.encode() + b"\0"
    with _engine(language, voice.variant) as library:
        library.espeak_SetSynthCallback(callback)
        library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
        library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None)
    if not chunks:
        raise StError(f"eSpeak NG is silent for {text!r} in {language}")
    return np.frombuffer(b"".join(chunks), dtype=np.int16)
