from __future__ import annotations

import gc
import io
import os
from pathlib import Path

import numpy as np
import pytest
from concurrency import check_at_once

from st.audio import memory_file
from st.audio.memory_file import MemoryFile
from st.audio.reading import encode_flac, read_audio
from st.errors import AudioError


@pytest.fixture(autouse=True)
def _no_spare_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_file._spare, "handle", None)


@pytest.fixture(params=["memfd", "refused", "absent"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system that has anonymous files, forbids them, or never heard of them."""

    def refuse(name: str) -> int:
        raise OSError(1, "not permitted", name)

    if request.param == "refused":
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    elif request.param == "absent":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memfd")
    return str(request.param)


def test_what_is_written_is_read_back_with_and_without_anonymous_files(system: str) -> None:
    with MemoryFile(b"abc" * 1000) as memory:
        assert isinstance(memory.handle, int) == (system == "memfd")
        assert memory.content() == b"abc" * 1000
    samples = (np.arange(-3000, 3000) / 32768).astype(np.float32)
    assert np.array_equal(read_audio(encode_flac(samples)), samples)


def test_the_bytes_of_a_recording_do_not_depend_on_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.sin(np.arange(20_000) / 7).astype(np.float32)
    encoded = encode_flac(samples)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert encode_flac(samples) == encoded
    assert isinstance(MemoryFile().handle, io.BytesIO)


def test_no_descriptor_is_left_open() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    payload = encode_flac(np.zeros(500, dtype=np.float32))
    read_audio(payload)  # One is kept for the next.
    gc.collect()  # what other tests have left open is not closed meanwhile
    before = count()
    for _ in range(20):
        read_audio(payload)
        with pytest.raises(AudioError):
            read_audio(b"")
        with pytest.raises(AudioError):
            read_audio(b"<html>")
    assert count() == before


def noise(seed: int, length: int) -> bytes:
    return encode_flac(np.random.default_rng(seed).uniform(-0.9, 0.9, length).astype(np.float32))


def test_a_file_used_again_holds_nothing_of_the_last_one() -> None:
    with MemoryFile(b"long content") as memory:
        first = memory.handle
    with MemoryFile(b"short") as memory:
        assert memory.handle == first
        assert memory.content() == b"short"
        with MemoryFile(b"nested") as other:
            assert other.handle != memory.handle
            assert (memory.content(), other.content()) == (b"short", b"nested")


def test_threads_and_forked_processes_do_not_mix_their_recordings() -> None:
    payloads = [noise(seed, 2000 + 700 * seed) for seed in range(6)]
    expected = [read_audio(payload) for payload in payloads]

    def check(number: int) -> bool:
        return all(np.array_equal(read_audio(payloads[number]), expected[number]) for _ in range(60))

    check_at_once(check)
    assert check(0)
