"""Recordings of any length: windows joined in the logits, segments in batches, nothing left out, threads, resumption."""

from __future__ import annotations

import copy
import dataclasses
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from chirps import make_wave
from tone_language import VOCABULARY, ToneTranslator, random_words, speak

from st.data.clips import Clips
from st.errors import AudioError, ConfigError
from st.inference import TranscriptOptions, Translator
from st.inference.ensemble import ctc_logits
from st.inference.long.decoding import LongDecoder
from st.inference.long.journal import Journal
from st.inference.long.pieces import Heard, Skipped, join_transcripts
from st.inference.long.types import Begun, Finished, LongOptions, LongSource
from st.inference.long.windows import LongEncoder, measure
from st.inference.results.decoded import DecodedUtterance, Translation
from st.inference.transcription.transcriber import Transcriber
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


class LongToneTranslator(ToneTranslator):
    """Hears the language of tones in recordings of any length."""

    keep_all, clips = False, Clips()

    def __init__(self) -> None:
        self.transcriber = Transcriber.__new__(Transcriber)
        self.transcriber.model, self.transcriber.ctc, self.transcriber.text = self.model, VOCABULARY, None
        self.transcriber.options = TranscriptOptions()
        self.transcriber._frame_s, self.transcriber._impossible = 0.02, None
        self.transcriber._lm = self.transcriber._words = self.transcriber._evidence = None

    def decode(self, waveforms: list, _targets: list, *, times: bool) -> list[DecodedUtterance]:
        """Hear each recording by itself."""
        waves = [torch.as_tensor(wave)[None] for wave in waveforms]
        encoded = [self.model.encode(wave, torch.tensor([wave.size(1)])) for wave in waves]
        return [self.transcriber.of_logits(ctc_logits([self], [one])[0], times=times) for one in encoded]


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


def pieces_of(decoder: LongDecoder, path: Path | str) -> list[Heard | Skipped]:
    (_, first), *middle, (_, last) = decoder.decode([LongSource(str(path), path)])
    assert isinstance(first, Begun)
    assert last == Finished()
    pieces = [piece for _, piece in middle]
    check_accounts(pieces, first.duration_s)
    return pieces


def check_accounts(pieces: list[Heard | Skipped], duration_s: float) -> None:
    """Every second is in a piece, none in two."""
    spans = [(piece.segment.start, piece.segment.end) if isinstance(piece, Heard) else (piece.start, piece.end)
             for piece in pieces]  # fmt: skip
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == duration_s
    assert all(start < end for start, end in spans)


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


# -- memory -------------------------------------------------------------------------------------------------------


class Silence:
    """Stands for the stream of a recording of many hours: silence, with a word in each minute if there is to be one."""

    def __init__(self, seconds: int, word: np.ndarray) -> None:
        self.seconds, self.minute = seconds, np.zeros(16_000 * 60, dtype=np.float32)
        self.minute[: len(word)] = word

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def blocks(self) -> Iterator[np.ndarray]:
        for _ in range(self.seconds // 60):
            yield self.minute

    def is_truncated(self) -> bool:
        return False


class Deaf(LongToneTranslator):
    """Writes the same everywhere."""

    longest = 0.0

    def decode(self, waveforms, target_languages, *, times):
        assert times
        self.longest = max(self.longest, sum(map(len, waveforms)) / 16_000)
        return [
            DecodedUtterance("word", {"de": "Wort"}, words=()) for _ in zip(waveforms, target_languages, strict=True)
        ]


def peak_of(seconds: int, word: np.ndarray, targets: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, list]:
    """Return the most memory that decoding takes, in bytes, and the pieces."""
    for module in ("windows", "decoding"):
        monkeypatch.setattr(f"st.inference.long.{module}.open_audio", lambda _: Silence(seconds, word))
    tracemalloc.start()
    pieces = pieces_of(LongDecoder(Deaf(), targets), "synthetic.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, pieces


@pytest.mark.parametrize("hours", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_hours_of_silence_are_one_piece_in_bounded_memory(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    peak, pieces = peak_of(hours * 3600, np.zeros(0, dtype=np.float32), ["de"], monkeypatch)
    assert pieces == [Skipped(0.0, hours * 3600.0, "silent")]
    # A few numbers for each frame of 32 ms.
    assert peak < 20_000_000 + hours * 10_000_000


@pytest.mark.parametrize("targets", [["de"], []])
def test_memory_does_not_grow_with_the_length(targets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    word, _ = speak(["word"])
    peaks = [peak_of(minutes * 60, word, targets, monkeypatch) for minutes in (10, 60)]
    assert [sum(isinstance(piece, Heard) for piece in pieces) for _, pieces in peaks] == [10, 60]
    # All samples of 50 minutes are 192 MB.
    assert peaks[1][0] - peaks[0][0] < 10_000_000


# -- what is made up ----------------------------------------------------------------------------------------------


def test_what_is_made_up_is_left_out_and_told_unless_all_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    word, _ = speak(["word"])
    text = "ja " * 400
    circles = DecodedUtterance("word", {"de": text}, {"de": [Translation(text, -0.5, False)]}, mean_blank=0.7)
    monkeypatch.setattr(Deaf, "decode", lambda _, waves, *__, **___: [circles] * len(waves))
    _, pieces = peak_of(120, word, ["de"], monkeypatch)
    assert [piece.reason for piece in pieces] == ["invented", "silent", "invented", "silent"]
    assert pieces[0].decoded.translations["de"].startswith("ja ja")
    monkeypatch.setattr(Deaf, "keep_all", True)
    _, pieces = peak_of(120, word, ["de"], monkeypatch)
    assert [isinstance(piece, Heard) for piece in pieces] == [True, False, True, False]
