"""Recordings of any length: windows joined in the logits, segments in batches, nothing left out, threads, resumption."""

from __future__ import annotations

import copy
import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from chirps import make_wave
from long_tones import LongToneTranslator, check_accounts, pieces_of
from tone_language import VOCABULARY, random_words, speak

from st.data.clips import Clips
from st.errors import AudioError, ConfigError
from st.inference import Translator
from st.inference.long.decoding import LongDecoder
from st.inference.long.journal import Journal
from st.inference.long.pieces import Heard, Skipped, join_transcripts
from st.inference.long.types import LongOptions, LongSource
from st.inference.long.windows import LongEncoder, measure
from st.segmentation.spans import Span

EVERYTHING = LongOptions(vad=False)
FRAME_S = 0.02


@pytest.fixture(autouse=True)
def _levels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tones and chirps are no speech to Silero's detector, where it is installed."""
    monkeypatch.setattr("st.segmentation.detectors.missing", lambda: ["silero_vad"])


@pytest.fixture(scope="module", name="translator")
def translator_that_may_write_anything(translator: Translator) -> Translator:
    """The tiny model, of whose random texts none is left out."""
    free = copy.copy(translator)
    free.keep_all = True
    return free


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """Three minutes: speech, a long silence, speech, noise, a tone, speech; and what is said when."""
    pieces, said, now = [], [], 0.0
    generator = np.random.default_rng(0)
    for number, between in enumerate(
        (
            np.zeros(16_000 * 25),
            np.concatenate([0.05 * generator.standard_normal(16_000 * 16), np.zeros(48_000)]),
            np.zeros(0),
        )
    ):
        samples, spoken = speak(random_words(40, number))
        said += [dataclasses.replace(word, start_s=word.start_s + now, end_s=word.end_s + now) for word in spoken]
        pieces += [samples, between]
        now += (len(samples) + len(between)) / 16_000
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, np.concatenate(pieces), 16_000, subtype="FLOAT")
    return path, said


# -- transcripts --------------------------------------------------------------------------------------------------


def test_a_talk_has_every_word_where_it_was_said_and_none_beside(talk: tuple[Path, list]) -> None:
    path, said = talk
    pieces = pieces_of(LongDecoder(LongToneTranslator(), []), path)
    words = [word for piece in pieces if isinstance(piece, Heard) for word in piece.segment.words]
    assert [word.word for word in words] == [word.text for word in said]
    assert max(abs(word.start - spoken.start_s) for word, spoken in zip(words, said, strict=True)) < 0.6 * FRAME_S
    assert max(abs(word.end - spoken.end_s) for word, spoken in zip(words, said, strict=True)) < 1.2 * FRAME_S
    reasons = {piece.reason for piece in pieces if isinstance(piece, Skipped)}
    assert reasons == {"silent", "no_speech"}
    skipped = sum(piece.end - piece.start for piece in pieces if isinstance(piece, Skipped))
    assert 25 + 19 - 4 < skipped < 25 + 19
    assert all(piece.segment.end - piece.segment.start <= 20.1 for piece in pieces if isinstance(piece, Heard))


@pytest.mark.parametrize(("clip_s", "longest_s"), [(0.0, 20), (3.0, 5), (8.0, 8), (25.0, 20)])
def test_segments_are_no_longer_than_the_clips_that_a_model_learned_from(
    talk: tuple[Path, list], clip_s: float, longest_s: float
) -> None:
    (model := LongToneTranslator()).clips = Clips(longest_s=clip_s)
    heard = [piece for piece in pieces_of(LongDecoder(model, []), talk[0]) if isinstance(piece, Heard)]
    assert 0.6 * longest_s < max(each.segment.end - each.segment.start for each in heard) < longest_s + 0.5


@pytest.mark.parametrize(("clip_s", "windows"), [(0.0, True), (9.9, False), (10.0, True)])
def test_a_model_of_short_clips_transcribes_segments(
    talk: tuple[Path, list], clip_s: float, windows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model := LongToneTranslator()).clips = Clips(longest_s=clip_s)
    if windows:
        monkeypatch.setattr(LongToneTranslator, "decode", None)
    else:
        monkeypatch.setattr("st.inference.long.decoding.transcribe_frames", None)
    pieces = pieces_of(LongDecoder(model, []), talk[0])
    words = [word.word for piece in pieces if isinstance(piece, Heard) for word in piece.segment.words]
    assert words == [word.text for word in talk[1]]


def test_segments_that_somebody_brought_may_be_longer(talk: tuple[Path, list], translator: Translator) -> None:
    model = copy.copy(translator)
    model.clips = Clips(longest_s=3.0)
    events = LongDecoder(model, []).decode([LongSource("talk", talk[0], [Span(0, 12 * 16_000)])])
    pieces = [event for _, event in events if isinstance(event, Heard)]
    assert [(piece.segment.start, piece.segment.end) for piece in pieces] == [(0, 12)]


@pytest.mark.parametrize("vad", [True, False])
def test_where_it_is_cut_changes_no_word(talk: tuple[Path, list], vad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = talk
    monkeypatch.setattr("st.inference.long.transcripts.PAUSE_S", 1e6)
    pieces = pieces_of(LongDecoder(LongToneTranslator(), [], LongOptions(vad=vad)), path)
    text, places = join_transcripts([piece for piece in pieces if isinstance(piece, Heard)])
    if vad:
        assert text == " ".join(word.text for word in said)
    else:  # This model takes noise for letters, and is asked about all of it.
        wave = measure(path, 1e-5)
        whole = torch.cat(list(LongEncoder(LongToneTranslator()).logits(path, wave)))
        assert text == VOCABULARY.decode(whole.argmax(dim=-1).tolist())
    assert len(places) == sum(isinstance(piece, Heard) for piece in pieces)


# -- windows against undivided ------------------------------------------------------------------------------------

TOLERANCE = 0.05
"""Of logits with a standard deviation of about 1, on frames that are kept: attention sees other frames at the edges."""


def test_windowed_logits_are_those_of_the_undivided_recording(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", make_wave(60.0, 1), 16_000, subtype="FLOAT")
    wave = measure(tmp_path / "a.wav", translator.model.config.encoder.wave_epsilon)
    found = torch.cat(list(LongEncoder(translator).logits(tmp_path / "a.wav", wave)))
    monkeypatch.setattr("st.inference.long.windows.SINGLE_S", 1e9)
    whole = torch.cat(list(LongEncoder(translator).logits(tmp_path / "a.wav", wave)))
    assert found.shape == whole.shape
    errors = ((found - whole).abs().mean(dim=-1) / whole.std()).numpy()
    assert errors.mean() < TOLERANCE
    encoder = LongEncoder(translator)
    part = torch.cat(list(encoder.logits(tmp_path / "a.wav", wave, parts=[(100, 900), (2000, 2400)])))
    assert len(part) == 1200
    kept = torch.cat([whole[100:900], whole[2000:2400]])
    assert ((part - kept).abs().mean(dim=-1) / whole.std()).mean() < TOLERANCE


# -- translations -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy seconds of chirps with pauses."""
    path = tmp_path_factory.mktemp("meeting") / "meeting.flac"
    parts = [make_wave(seconds, seed) for seed, seconds in enumerate((3.0, 26.0, 1.0, 5.0, 9.0))]
    silence = np.zeros(16_000 * 4, dtype=np.float32)
    soundfile.write(path, np.concatenate([piece for part in parts for piece in (silence, part)]), 16_000)
    return path


def test_segments_are_translated_as_if_they_were_files(translator: Translator, meeting: Path) -> None:
    result = translator.translate_long(meeting, to=["de", "ja"])
    samples, _ = soundfile.read(meeting, dtype="float32")
    assert result.duration == pytest.approx(len(samples) / 16_000)
    pieces = list(result.pieces())
    check_accounts(pieces, result.duration)
    assert result.skipped == [piece for piece in pieces if isinstance(piece, Skipped)]
    segments = [piece.segment for piece in pieces if isinstance(piece, Heard)]
    assert len(segments) >= 6
    for segment in segments:
        alone = translator.translate(samples[round(segment.start * 16_000) : round(segment.end * 16_000)], ["de", "ja"])
        assert segment.translations == alone.translations
        assert segment.text == alone.transcript
        assert all(segment.start <= word.start <= word.end <= segment.end for word in segment.words)
        assert " ".join(word.word for word in segment.words).replace(" ", "") == segment.text.replace(" ", "")


def test_segments_of_one_s_own_are_kept_to(translator: Translator, meeting: Path) -> None:
    own = [(4.0, 7.0), (11.0, 25.5), (60.0, 400.0)]
    result = translator.translate_long(meeting, to="de", segments=own)
    pieces = list(result.pieces())
    check_accounts(pieces, result.duration)
    assert [(piece.segment.start, piece.segment.end) for piece in pieces if isinstance(piece, Heard)][:2] == own[:2]


def test_a_generator_decodes_no_more_than_is_asked_for(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.wav", np.tile(make_wave(10.0), 40), 16_000)
    decoded: list[float] = []
    decode = Translator.decode

    def counted(self, waveforms, targets, **options):
        decoded.append(sum(map(len, waveforms)) / 16_000)
        return decode(self, waveforms, [[] for _ in targets], **options)

    monkeypatch.setattr(Translator, "decode", counted)
    segments = iter(translator.translate_long(tmp_path / "long.wav", to="de", options=EVERYTHING))
    assert decoded == []
    next(segments)
    assert 60 <= sum(decoded) <= 80
    list(segments)
    assert sum(decoded) == pytest.approx(400)
    assert all(size <= 620 for size in decoded)


@pytest.mark.parametrize("kind", ["empty", "short", "array", "bytes", "file"])
def test_anything_that_stands_for_audio_may_be_given(translator: Translator, tmp_path: Path, kind: str) -> None:
    wave = make_wave(40.0, 3)
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    audio = {
        "empty": np.zeros(0, dtype=np.float32),
        "short": make_wave(0.02),
        "array": wave,
        "bytes": (tmp_path / "a.wav").read_bytes(),
        "file": (tmp_path / "a.wav").open("rb"),
    }[kind]
    result = translator.translate_long(audio, to="de", options=EVERYTHING)
    pieces = list(result.pieces())
    if kind == "empty":
        assert (pieces, result.duration) == ([], 0.0)
        return
    check_accounts(pieces, result.duration)
    if kind == "short":
        assert [piece.reason for piece in pieces] == ["too_short"]
    else:
        expected = translator.translate_long(tmp_path / "a.wav", to="de", options=EVERYTHING)
        assert [piece.segment for piece in pieces if isinstance(piece, Heard)] == list(expected)


def test_what_cannot_be_read_is_said_at_once(translator: Translator, recordings: Path) -> None:
    with pytest.raises(AudioError, match=r"page\.mp3"):
        translator.translate_long(recordings / "page.mp3", to="de")
    with pytest.raises(ConfigError, match="xx"):
        translator.translate_long(recordings / "a.wav", to="xx-none")


def test_a_file_that_shrinks_while_it_is_read_ends_in_a_named_piece(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.tile(make_wave(10.0), 20), 16_000)
    monkeypatch.setattr("st.inference.long.decoding.FIRST_POOL_S", 20.0)
    result = translator.translate_long(path, to="de", options=EVERYTHING)
    soundfile.write(path, np.tile(make_wave(10.0), 7), 16_000)
    pieces = []
    with pytest.raises(AudioError, match="changed while it was read"):
        pieces.extend(result.pieces())
    assert result.skipped[-1].reason == "unreadable"
    assert result.skipped[-1].end == 200.0
    assert result.skipped[-1].start >= 50


def test_a_translator_serves_several_threads(translator: Translator, meeting: Path, recordings: Path) -> None:
    names = [meeting, recordings / "a.wav", recordings / "b.mp3"]
    expected = [list(translator.translate_long(name, to="de")) for name in names]
    found: dict[tuple[int, int], list] = {}

    def work(number: int, name: int) -> None:
        found[number, name] = list(translator.translate_long(names[name], to="de"))

    threads = [threading.Thread(target=work, args=(number, number % 3)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key: found[key] for key in found} == {(number, number % 3): expected[number % 3] for number in range(6)}


# -- resumption ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [["de"], []])
def test_i_a_run_that_was_killed_goes_on_to_the_same_result(
    translator: Translator, meeting: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets
) -> None:
    monkeypatch.setattr("st.inference.long.decoding.FIRST_POOL_S", 10.0)
    sources = [LongSource(name, recordings / name) for name in ("a.wav", "page.mp3", "long.wav")]
    sources.insert(2, LongSource("meeting", meeting))
    expected = [*LongDecoder(translator, targets).decode(sources)]
    path, calls = tmp_path / "j.partial", []
    for stop_after in (1, 2, 4, 10**6):
        events = LongDecoder(translator, targets, journal=Journal(path, "run")).decode(sources)
        for number, _ in enumerate(events):
            if number == stop_after * 3:
                break
        with path.open("ab") if path.exists() else (tmp_path / "x").open("ab") as handle:
            handle.write(b'{"unit": "pool 9", "rec')  # as a killed process leaves it
    events = LongDecoder(translator, targets, journal=Journal(path, "run")).decode(sources)
    decode = Translator.decode
    monkeypatch.setattr(Translator, "decode", lambda *args, **options: calls.append(1) or decode(*args, **options))
    assert str([*events]) == str(expected)
    assert calls == []
    assert Journal(path, "another run").get("pool 0") is None
