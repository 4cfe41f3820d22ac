"""What FFmpeg may open and how long it may take, whatever a file says."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from endless import ends
from ffmpeg_files import likeness, made, speech_like

from st.audio.ffmpeg import _KINDS, _SHARED, Kind
from st.audio.reading import read_audio, read_recording
from st.errors import AudioError

# No other file and no address is opened.


def mov_with_reference(target: Path) -> bytes:
    """Return a MOV whose samples lie in another file, by an absolute path in an alias of its data reference."""
    data = bytearray(made("mov", "pcm_s16le", 16_000))
    place = data.index(b"dref")
    assert data[place + 16 : place + 20] == b"url "
    path = str(target).encode()
    alias = bytes(6) + struct.pack(">H", 2) + bytes(122) + bytes(14) + bytes(6)
    alias += struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2) + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    grown = len(entry) - 12
    changed = data[: place + 12] + entry + data[place + 24 :]
    for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        size = changed.rindex(name, 0, place + 4) - 4
        changed[size : size + 4] = struct.pack(">I", int.from_bytes(changed[size : size + 4], "big") + grown)
    return bytes(changed)


def naming(target: Path) -> dict[str, bytes]:
    path = str(target)
    return {
        "ffconcat": f"ffconcat version 1.0\nfile {path}\n".encode(),
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile://{path}\n#EXT-X-ENDLIST\n".encode(),
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{path}"/></svg>'.encode(),
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=tool:{path}\nm=audio 5004 RTP/AVP 0\n".encode(),
        "mpd": f'<?xml version="1.0"?><MPD><Period><AdaptationSet><BaseURL>{path}</BaseURL></AdaptationSet></Period></MPD>'.encode(),
        "asx": f'<asx version="3.0"><entry><ref href="{path}"/></entry></asx>'.encode(),
        "mov": mov_with_reference(target),
    }


@pytest.mark.parametrize("ending", ["ffconcat", "m3u8", "svg", "sdp", "mpd", "asx", "mov"])
@pytest.mark.parametrize("named", ["", ".m4a"])
def test_no_other_file_is_opened(ending: str, named: str, tmp_path: Path) -> None:
    target = tmp_path / "secret.raw"
    target.write_bytes(bytes(200_000))
    path = tmp_path / f"a.{ending}{named}"
    path.write_bytes(naming(target)[ending])
    opened: list[str] = []
    watching = True
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if watching and event == "open" else None)
    before = target.stat().st_atime_ns
    try:
        # The samples that the file itself has, or none.
        recording = read_recording(path, sample_rate=16_000)
        assert ending == "mov"
        assert likeness(recording.samples, speech_like(16_000)[0]) > 0.99
    except AudioError as error:
        assert error.reason == "undecodable"  # noqa: PT017
    finally:
        watching = False
    assert target.stat().st_atime_ns == before
    assert str(target) not in opened
    assert not any("secret" in name for name in opened)


def test_the_reference_of_the_mov_above_is_one() -> None:
    """FFmpeg follows it when it may: the test above would see it."""
    data = mov_with_reference(Path("/nowhere/secret.raw"))
    asked: list[str] = []

    def refuse(url: str, *_: object) -> None:
        asked.append(url)
        raise FileNotFoundError(url)

    options = {"enable_drefs": "1", "use_absolute_path": "1"}
    with pytest.raises(FileNotFoundError):
        av.open(io.BytesIO(data), format="mov", options=options, io_open=refuse)
    assert any("secret" in url for url in asked)


# Rubbish takes seconds.


@pytest.mark.parametrize("kind", [*_KINDS, *_SHARED], ids=lambda kind: kind.demuxer)
@pytest.mark.parametrize("fill", ["noise", "zeros"])
def test_fault_16_rubbish_behind_a_mark_is_refused_in_a_moment(kind: Kind, fill: str) -> None:
    marks = {"mov": b"\0\0\0\x20ftypM4A ", "avi": b"RIFF\xff\xff\xff\x7fAVI LIST", "mpegts": b"\x47" + bytes(187) + b"\x47",
             "ogg": b"OggS\0\2" + bytes(22) + b"\x80theora", "matroska": b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f",
             "wav": b"RIFF\xff\xff\xff\x7fWAVEfmt ", "aiff": b"FORM\0\1\0\0AIFFCOMM", "caf": b"caff\0\1\0\0desc",
             "asf": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "amr": b"#!AMR\n\xff", "aac": b"\xff\xf1\x50\x80",
             "ac3": b"\x0b\x77\0\0\x10", "flv": b"FLV\1\5\0\0\0\x09", "mpeg": b"\0\0\1\xba\x44", "rm": b".RMF\0\0\0\x12",
             "wv": b"wvpk", "ape": b"MAC \x96\x0f", "tta": b"TTA1\1\0"}  # fmt: skip
    size = 1 << 23
    data = marks[kind.demuxer] + (np.random.default_rng(0).bytes(size) if fill == "noise" else bytes(size))
    with ends(5):
        if kind.demuxer == "amr" and fill == "zeros":
            data = data[: 1 << 16]  # Zeros are frames of AMR.
            assert len(read_audio(data)) > 0
        else:
            with pytest.raises(AudioError) as caught:
                read_audio(data)
            assert caught.value.reason == "undecodable"
