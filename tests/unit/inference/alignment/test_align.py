"""Texts and recordings of any length: windows, gaps, missing words, letters that the head lacks, formats, the command."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from tone_language import VOCABULARY, Spoken, ToneTranslator, changed_text, random_words, write_speech

from st.cli import main
from st.decoding.alignment import viterbi
from st.errors import AudioError, ConfigError, DecodingError
from st.inference import Translator
from st.inference.alignment.alignable import AlignableText, AlignOptions
from st.inference.alignment.aligned import Alignment
from st.inference.alignment.formats import ALIGNMENT_FORMATS, write_alignment
from st.inference.alignment.recording import align_recording
from st.inference.alignment.text_words import UnknownLetters, divide
from st.inference.long.windows import LongEncoder, cut, measure, plan_windows

HALF_FRAME_S = 0.011


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Spoken]]:
    """A recording of 100 seconds and what is said when."""
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    return str(path), write_speech(path, random_words(120, 1))


def _errors(alignment: Alignment, spoken: list[Spoken], numbers: list[int | None]) -> list[float]:
    """How far the beginnings of the words are off that were said and found."""
    return [
        abs(word.timed.start_s - spoken[number].start_s)
        for word, number in zip(alignment.words, numbers, strict=True)
        if number is not None and word.heard
    ]


# -- windows ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.integers(1, 1500), st.integers(1, 1000), st.integers(0, 100))
def test_windows_keep_every_frame_once_and_have_context(frames: int, single: int, kept: int, context: int) -> None:
    windows = plan_windows(frames, single, kept, context)
    assert [window.start for window in windows] == [0, *(window.stop for window in windows[:-1])]
    assert windows[-1].stop == frames
    for window in windows:
        assert 0 < window.stop - window.start <= max(kept, single)
        assert window.first == max(0, window.start - context)
        assert window.last == min(frames, window.stop + context)
    assert frames > single or len(windows) == 1


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_cut_gives_overlapping_pieces_of_blocks_of_any_size(sizes: list[int], steps: list[int]) -> None:
    samples = np.arange(sum(sizes), dtype=np.float32)
    blocks = np.split(samples, np.cumsum(sizes)[:-1])
    spans = [(start, min(len(samples), start + 25)) for start in itertools.accumulate(steps) if start < len(samples)]
    pieces = list(cut(iter(blocks), spans, "x"))
    assert all((piece == samples[start:stop]).all() for piece, (start, stop) in zip(pieces, spans, strict=True))
    with pytest.raises(AudioError, match="changed while"):
        list(cut(iter(blocks), [(0, len(samples) + 1)], "x"))


def test_long_recordings_have_the_frames_of_one_window(
    talk: tuple[str, list[Spoken]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tone model hears only the samples of a frame, so that windows may change nothing."""
    translator = ToneTranslator()
    wave = measure(talk[0], 1e-5)
    found = torch.cat(list(LongEncoder(translator).logits(talk[0], wave)))
    monkeypatch.setattr("st.inference.long.windows.SINGLE_S", 1e9)
    whole = torch.cat(list(LongEncoder(translator).logits(talk[0], wave)))
    assert len(whole) == (wave.num_samples - 400) // 320 + 1
    assert (found == whole).all()


def test_the_whole_recording_is_brought_to_zero_mean_and_unit_variance(tmp_path: Path) -> None:
    samples = 0.1 + 0.2 * np.random.default_rng(0).standard_normal(700_000).clip(-2, 2)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    wave = measure(tmp_path / "a.wav", 1e-5)
    assert wave.num_samples == 700_000
    assert wave.mean == pytest.approx(samples.mean(), abs=1e-6)
    assert wave.deviation == pytest.approx(np.sqrt(samples.var() + 1e-5), rel=1e-5)


# -- alignment ----------------------------------------------------------------------------------------------------


def test_words_of_a_long_recording_begin_where_they_were_said(talk: tuple[str, list[Spoken]]) -> None:
    path, spoken = talk
    alignment = align_recording(ToneTranslator(), path, " ".join(word.text for word in spoken))
    assert [word.timed.text for word in alignment.words] == [word.text for word in spoken]
    assert alignment.missing == []
    assert alignment.unwritten == ()
    assert max(_errors(alignment, spoken, list(range(len(spoken))))) < HALF_FRAME_S
    for word, said in zip(alignment.words, spoken, strict=True):
        assert word.timed.end_s == pytest.approx(said.end_s, abs=2 * HALF_FRAME_S)
        assert "".join(letter.text for letter in word.letters) == said.text
        assert word.timed.start_s == word.letters[0].start_s
        assert word.timed.confidence > 0.9


@pytest.mark.parametrize(("missing", "extra"), [(0.3, 0.0), (0.0, 0.3), (0.3, 0.3)])
@pytest.mark.parametrize("pinned", [False, True])
def test_a_third_of_the_text_may_be_missing_and_a_third_too_much(
    missing: float, extra: float, pinned: bool, talk: tuple[str, list[Spoken]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, spoken = talk
    if pinned:
        monkeypatch.setattr("st.inference.alignment.recording.TABLE_CELLS", 0)
        monkeypatch.setattr(viterbi, "TABLE_CELLS", 1 << 17)
    words, numbers = zip(*changed_text([word.text for word in spoken], missing, extra, seed=3), strict=True)
    alignment = align_recording(ToneTranslator(), path, " ".join(words))
    assert max(_errors(alignment, spoken, list(numbers))) < HALF_FRAME_S
    found = [word.heard for word in alignment.words]
    assert all(heard for heard, number in zip(found, numbers, strict=True) if number is not None)
    assert sum(heard for heard, number in zip(found, numbers, strict=True) if number is None) <= 0.1 * len(words)
    unsaid = [spoken[number] for number in range(len(spoken)) if number not in numbers]
    told = sum(stretch.end_s - stretch.start_s for stretch in alignment.unwritten)
    assert bool(unsaid) == bool(told)
    for stretch in alignment.unwritten:
        assert any(word.start_s < stretch.end_s and stretch.start_s < word.end_s for word in unsaid)


def test_a_star_stands_for_what_is_not_in_the_text(talk: tuple[str, list[Spoken]]) -> None:
    path, spoken = talk
    texts = [word.text for word in spoken]
    text = " ".join([*texts[:40], "<star>", *texts[60:100], "<star>"])
    options = AlignOptions(star="none", all_words=True)
    alignment = align_recording(ToneTranslator(), path, text, options)
    assert max(_errors(alignment, spoken, [*range(40), *range(60, 100)])) < HALF_FRAME_S
    heard = [stretch.text for stretch in alignment.unwritten]
    assert heard == [" ".join(texts[40:60]), " ".join(texts[100:])]
    without = align_recording(ToneTranslator(), path, text.replace("<star>", ""), options)
    assert max(_errors(without, spoken, [*range(40), *range(60, 100)])) > 1


def test_letters_that_the_head_lacks_are_replaced_or_left_out_and_told(tmp_path: Path) -> None:
    said = ["deja", "xyz", "vu", "cafe"]
    spoken = write_speech(tmp_path / "a.wav", said)
    alignment = align_recording(ToneTranslator(), str(tmp_path / "a.wav"), "Déjà – 1984, vu? «Cafþe» 7")
    times = [(word.timed.text, word.heard) for word in alignment.words]
    assert times == [("Déjà –", True), ("1984,", True), ("vu?", True), ("«Cafþe»", True), ("7", False)]
    assert alignment.unknown.replaced == {"é": 1, "à": 1}
    assert alignment.unknown.left_out == {"1": 1, "9": 1, "8": 1, "4": 1, "þ": 1, "7": 1}
    for word, expected in zip(alignment.words, spoken, strict=False):
        assert word.timed.start_s == pytest.approx(expected.start_s, abs=HALF_FRAME_S)
        assert word.timed.end_s == pytest.approx(expected.end_s, abs=2 * HALF_FRAME_S)


def test_divided_words_keep_every_sign_of_the_text() -> None:
    text = "«Ab» c-d,\n\n 12 – e1f"
    unknown = UnknownLetters()
    words = divide(text, VOCABULARY, keep_unknown=True, unknown=unknown)
    assert [text[word.start : word.end] for word in words] == ["«Ab»", "c-d,", "12 –", "e1f"]
    assert [word.unknown for word in words] == ["", "", "12", ""]
    assert unknown.left_out == {"1": 2, "2": 1}
    assert [text[word.start : word.end] for word in divide(text, VOCABULARY)] == ["«Ab»", "c-d,\n\n 12 –", "e1f"]


@pytest.mark.parametrize(
    ("star", "expected"),
    [
        ("words", [True, True, True, True]),
        ("lines", [True, False, True, True]),
        ("edges", [True, False, True, False]),
        ("none", [False, False, True, False]),
    ],
)
def test_where_something_else_may_be_said(star: str, expected: list[bool]) -> None:
    text = AlignableText("ab cd <*> ef\ngh", VOCABULARY, AlignOptions(star=star))
    lattice = text.lattice()
    starts = [int(np.flatnonzero(lattice.words == word)[0]) for word in range(4)]
    assert [lattice.columns[start - 1] == 1 for start in starts] == expected
    assert text.lines == [0, 0, 0, 1]


@pytest.mark.parametrize("text", ["", " … \n", "1984", "<star>"])
def test_texts_without_letters_are_errors(text: str) -> None:
    with pytest.raises(DecodingError, match="no letter"):
        AlignableText(text, VOCABULARY, AlignOptions())


@pytest.mark.parametrize("wrong", [{"star": "always"}, {"star_price": 0.0}, {"skip_price": float("nan")}])
def test_wrong_options_are_errors(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}` is"):
        AlignOptions(**wrong)


def test_a_text_that_must_be_said_and_does_not_fit_is_an_error(tmp_path: Path) -> None:
    write_speech(tmp_path / "a.wav", ["ab"])
    soundfile.write(tmp_path / "short.wav", np.zeros(300), 16_000)
    text = "many words that nobody said " * 9
    with pytest.raises(DecodingError, match="needs more frames"):
        align_recording(ToneTranslator(), tmp_path / "a.wav", text, AlignOptions(all_words=True))
    with pytest.raises(AudioError, match="too short for one frame"):
        align_recording(ToneTranslator(), tmp_path / "short.wav", "ab")
    assert [word.heard for word in align_recording(ToneTranslator(), tmp_path / "a.wav", "zz ab " + text).words][:3] == [
        False, True, False
    ]  # fmt: skip


def test_without_liberties_a_real_model_gives_the_times_of_translator_align(
    translator: Translator, recordings: Path
) -> None:
    options = AlignOptions(star="none", all_words=True)
    alignment = align_recording(translator, recordings / "c.flac", "der erste Satz", options)
    expected = translator.align(recordings / "c.flac", "der erste Satz")
    assert [(word.text, word.start_s, word.end_s) for word in alignment.heard] == [
        (word.text, word.start_s, word.end_s) for word in expected
    ]
    assert [word.confidence for word in alignment.heard] == pytest.approx(
        [word.confidence for word in expected], abs=2e-3
    )


# -- formats ------------------------------------------------------------------------------------------------------

TEXT = 'abc "def\nzzqqxx\nghi jkl'


@pytest.fixture(scope="module")
def alignment(tmp_path_factory: pytest.TempPathFactory) -> Alignment:
    path = tmp_path_factory.mktemp("small") / "a b.wav"
    write_speech(path, ["abc", "def", "mnopq", "ghi", "jkl"])
    return align_recording(ToneTranslator(), str(path), TEXT, name="a b.wav")


def test_subtitles_follow_the_lines_of_the_text(alignment: Alignment) -> None:
    assert write_alignment(alignment, "srt").split("\n\n")[:2] == [
        '1\n00:00:00,300 --> 00:00:01,260\nabc "def',
        "2\n00:00:02,460 --> 00:00:03,420\nghi jkl",
    ]
    assert write_alignment(alignment, "vtt", "word").startswith("WEBVTT\n\n00:00:00.300 --> 00:00:00.620\nabc\n")


def test_a_textgrid_has_intervals_without_holes_in_all_tiers(alignment: Alignment) -> None:
    written = write_alignment(alignment, "textgrid")
    tiers = written.split("    item [")[2:]
    names = [re.search(r'name = "(.*)"', tier)[1] for tier in [*tiers, written.split("    item [")[1]]]
    assert sorted(names) == ["letters", "segments", "unwritten", "words"]
    end = float(re.search(r"xmax = (.*)", written)[1])
    for tier in written.split("    item [")[1:]:
        intervals = re.findall(r'xmin = (\S+)\n +xmax = (\S+)\n +text = "(.*)"\n', tier)
        assert int(re.search(r"size = (\d+)", tier)[1]) == len(intervals)
        assert float(intervals[0][0]) == 0
        assert float(intervals[-1][1]) == end
        assert all(one[1] == other[0] for one, other in itertools.pairwise(intervals))
        assert all(float(one[0]) < float(one[1]) for one in intervals)
    assert '"""def"' in written


def test_tables_have_a_line_for_each_piece(alignment: Alignment) -> None:
    assert [line.split(" ")[:5] for line in write_alignment(alignment, "ctm").splitlines()] == [
        ["a_b.wav", "1", "0.300", "0.320", "abc"],
        ["a_b.wav", "1", "0.940", "0.320", '"def'],
        ["a_b.wav", "1", "2.460", "0.320", "ghi"],
        ["a_b.wav", "1", "3.100", "0.320", "jkl"],
    ]
    assert write_alignment(alignment, "audacity").splitlines()[2] == "2.460000\t2.780000\tghi"
    assert write_alignment(alignment, "text", "letter").splitlines()[1] == "0.42\t0.50\tb"
    assert write_alignment(alignment, "tsv").splitlines()[0] == "audio\tstart\tend\ttext\tconfidence"


def test_json_tells_what_was_not_said_and_what_is_not_in_the_text(alignment: Alignment) -> None:
    content = json.loads(write_alignment(alignment, "json"))
    assert content["text"] == TEXT
    assert [word["word"] for word in content["words"] if not word["heard"]] == ["zzqqxx"]
    assert "start" not in content["words"][2]
    assert [extra["heard"] for extra in content["unwritten"]] == ["mnopq"]
    assert content["words"][3]["letters"][0]["letter"] == "g"
    assert content["unknown_letters"] == {"replaced": {}, "left_out": {}}


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run ``st align`` with the tone model in a folder with a recording and its text."""
    monkeypatch.setattr("st.commands.align.load_model", lambda _: ToneTranslator())
    monkeypatch.chdir(tmp_path)
    write_speech(tmp_path / "a.wav", ["abc", "def", "mnopq"])
    (tmp_path / "a.txt").write_text("\ufeffAbc dèf 12\nzzyyxx", encoding="utf-8")
    (tmp_path / "other.txt").write_text("ppp qqq", encoding="utf-8")
    (tmp_path / "numbers.txt").write_text("ppp 42 qqq", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["align", "--checkpoint", "c.pt", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_the_command_writes_times_and_says_what_it_did(command, tmp_path: Path) -> None:
    code, out, err = command("a.wav", "a.txt")
    assert code == 0
    assert out.splitlines()[:2] == ["0.30\t0.62\tAbc", "0.94\t1.26\tdèf"]
    assert "3 of 4 words found" in err
    assert "aligned by the letter without its marks, as the model does not have it: è (1)" in err
    assert "left out: 1 (1) 2 (1)" in err
    assert command("a.wav", "a.txt", "--out", "a.TextGrid")[0] == 0
    assert (tmp_path / "a.TextGrid").read_text(encoding="utf-8").startswith('File type = "ooTextFile"')


@pytest.mark.parametrize("output_format", ALIGNMENT_FORMATS)
def test_every_format_can_be_asked_for(command, output_format: str) -> None:
    code, out, _ = command("a.wav", "a.txt", "--format", output_format, "--times", "letter")
    assert (code, bool(out)) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-", "-"], 2, "standard input"),
        (["a.wav", "a.txt", "--out", "a.txt"], 2, "would replace a.txt, which is read"),
        (["a.wav", "a.txt", "--star-price", "-1"], 2, "--star-price is -1.0; expected a number above 0"),
        (["a.wav", "a.txt", "--lang", "nonsense"], 2, "nonsense"),
        (["a.wav", "none.txt"], 1, "none.txt: No such file"),
        (["none.wav", "a.txt"], 1, "none.wav: no such file"),
        (["a.wav", "latin.txt"], 1, "latin.txt: not UTF-8 text"),
        (["a.wav", "other.txt"], 1, "none of the 2 words of the text was heard"),
        (["a.wav", "numbers.txt"], 1, "none of the 3 words of the text was heard"),
    ],
)
def test_what_cannot_be_aligned_is_one_sentence(command, arguments: list[str], code: int, message: str) -> None:
    found, out, err = command(*arguments)
    assert (found, out) == (code, "")
    assert message in err.splitlines()[-1]


def test_a_checkpoint_is_opened_by_the_command(run, recordings: Path) -> None:
    (recordings / "text.txt").write_text("der erste Satz", encoding="utf-8")
    code, out, _ = run("align", "late one.wav", "text.txt", "--star", "none", "--all-words")
    assert code == 0
    assert [line.split("\t")[2] for line in out.splitlines()] == ["der", "erste", "Satz"]
