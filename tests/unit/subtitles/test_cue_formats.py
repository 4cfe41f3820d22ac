"""Files of cues say to other people's readers what they say to ours."""

import io
import itertools
import json
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoken_segments import LEXICON, dice, segments_of

from st.inference.long.segments import Segment, Word
from st.subtitles.cues import Cue, TimedPiece
from st.subtitles.formats.cue_files import parse_cues, read_cues
from st.subtitles.formats.cue_formats import CUE_FORMATS, NAMES_IN_TEXT, SPELLING, CueFile, write_cues
from st.subtitles.rules import rules_for
from st.subtitles.track import lay_out

HOSTILE = "a < b > c --> d & {e} \\N f, 1:02:03,4 <i>g</i> WEBVTT NOTE 5 < 6"
NESTED = [
    Segment(0.0, 4.0, HOSTILE, (), {}, {}, "A > B, <v C>\nD", "en"),
    Segment(
        4.0,
        9.0,
        "second & last",
        (Word(4.0, 5.0, "second"), Word(6.0, 9.0, "& last")),
        {"de": "zweitens"},
        {},
        None,
        "en",
    ),
]


def laid_out(segments, output_format, languages=(None,), code="en"):
    rules = [rules_for("netflix", language or code) for language in languages]
    return lay_out(
        segments,
        languages,
        rules,
        names=output_format in NAMES_IN_TEXT,
        spell=SPELLING.get(output_format, str),
    )


def words(text):
    return text.replace("\\N", " ").split()


# Times within a cue of WebVTT, which that package takes for those of cues, are read by webvtt-py below.
@pytest.mark.parametrize(
    ("output_format", "word_times"), [*((name, False) for name in sorted(CUE_FORMATS)), ("ass", True)]
)
@given(dice=dice, language=st.sampled_from(sorted(LEXICON)))
@settings(max_examples=12)
def test_pysubs2_reads_back_what_was_written(output_format, word_times, dice, language):
    pysubs2 = pytest.importorskip("pysubs2")
    cues = laid_out(segments_of(dice, language), output_format, code=language)
    content = write_cues(cues, output_format, CueFile([language], word_times))
    if not cues:
        return
    events = pysubs2.SSAFile.from_string(content).get_text_events()
    assert len(events) == len(cues)
    for event, cue in zip(events, cues, strict=True):
        assert words(event.plaintext) == words(" ".join(cue.lines))
        assert event.plaintext.count("\n") == len(cue.lines) - 1
        near = 10 if output_format == "ass" else 0
        assert abs(event.start - cue.start_ms) <= near
        assert abs(event.end - cue.end_ms) <= near
    assert all(first.end <= second.start for first, second in itertools.pairwise(events))


@given(dice=dice, language=st.sampled_from(sorted(LEXICON)))
@settings(max_examples=15)
def test_webvtt_py_reads_back_words_and_speakers(dice, language):
    webvtt = pytest.importorskip("webvtt")
    cues = laid_out(segments_of(dice, language), "vtt", code=language)
    read = webvtt.from_buffer(io.StringIO(write_cues(cues, "vtt", CueFile([language], word_times=True))))
    assert len(read.captions) == len(cues)
    for caption, cue in zip(read.captions, cues, strict=True):
        assert words(caption.text.replace("&lt;", "<").replace("&gt;", ">")) == words(" ".join(cue.lines))
        assert round(1000 * caption.start_in_seconds) // 1000 == cue.start_ms // 1000
        assert bool(caption.voice) == (cue.speaker is not None)


@pytest.mark.parametrize("output_format", ["srt", "vtt"])
@given(dice=dice, language=st.sampled_from(sorted(LEXICON)))
@settings(max_examples=15)
def test_our_own_reader_reads_back_everything(output_format, dice, language):
    cues = laid_out(segments_of(dice, language), output_format, code=language)
    read = parse_cues(write_cues(cues, output_format, CueFile([language], word_times=True)))
    assert [(cue.start_ms, cue.end_ms, cue.lines) for cue in read] == [
        (cue.start_ms, cue.end_ms, cue.lines) for cue in cues
    ]


@pytest.mark.parametrize("output_format", ["srt", "vtt"])
def test_signs_of_the_format_stay_text(output_format):
    content = write_cues(laid_out(NESTED, output_format), output_format, CueFile(["en"]))
    assert content.count("-->") == len(parse_cues(content))
    shown = " ".join(line for cue in parse_cues(content) for line in cue.lines)
    spelled = SPELLING.get(output_format, str)(HOSTILE)
    assert shown.endswith(f"{spelled} second & last")


def test_ttml_is_xml_with_languages_and_speakers():
    cues = laid_out(NESTED, "ttml", (None, "de"))
    root = ElementTree.fromstring(write_cues(cues, "ttml", CueFile(["en", "de"])))
    name = "{http://www.w3.org/ns/ttml}"
    paragraphs = root.findall(f".//{name}p")
    languages = [item.get("{http://www.w3.org/XML/1998/namespace}lang") for item in paragraphs]
    assert languages[-2:] == ["en", "de"]
    assert paragraphs[-1].get("begin") == paragraphs[-2].get("begin")
    assert paragraphs[-1].text == "zweitens"
    agent = root.find(".//{http://www.w3.org/ns/ttml#metadata}name")
    assert agent.text == "A > B, <v C> D"


def test_word_times_of_vtt_rise_within_the_cue_and_those_of_ass_add_up():
    pieces = ((TimedPiece("one", 1000, 1400), TimedPiece(" two", 1400, 1400)), (TimedPiece("three", 1700, 2000),))
    cue = Cue(1000, 2000, (("one two", "three"),), None, pieces)
    file = CueFile([None], word_times=True)
    assert write_cues([cue], "vtt", file).splitlines()[3:] == ["one <00:00:01.400>two", "<00:00:01.700>three", ""]
    assert r"{\k40}one{\k0} two\N{\k30}{\k30}three" in write_cues([cue], "ass", file)


def test_two_languages_are_told_apart_in_vtt():
    cues = laid_out(NESTED[1:], "vtt", (None, "de"))
    assert "second &amp; last\n" not in write_cues(cues, "vtt", CueFile(["en", "de"]))
    assert "<lang en>second &amp; last</lang>\n<lang de>zweitens</lang>" in write_cues(
        cues, "vtt", CueFile(["en", "de"])
    )


FOREIGN = {
    "dots.srt": "\ufeff1\r\n0:00:01.5 --> 0:00:02,000 X1:0\r\n<i>Hi</i> {\\an8}there\r\n\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\n- A < B\r\n",
    "notes.vtt": "WEBVTT - x\n\nSTYLE\n::cue { color: red }\n\nNOTE\nhello\n\nintro\n00:01.500 --> 00:02.000 align:start\n"
    "<v Bob><00:01.600>Hi</v> there\n\n01:00:03.000 --> 01:00:04.000\n- A &lt; B\n",
}


@pytest.mark.parametrize("name", sorted(FOREIGN))
def test_what_others_write_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(FOREIGN[name].encode())
    cues = read_cues(tmp_path / name)
    assert [cue.lines for cue in cues] == [["Hi there"], ["- A < B"]]
    assert (cues[0].start_ms, cues[0].end_ms) == (1500, 2000)
    assert cues[1].start_ms % 3_600_000 == 3000


def test_an_ass_file_is_read_through_pysubs2(tmp_path):
    pytest.importorskip("pysubs2")
    cues = laid_out(NESTED, "ass")
    (tmp_path / "a.ass").write_text(write_cues(cues, "ass", CueFile(["en"])), encoding="utf-8")
    assert [cue.lines for cue in read_cues(tmp_path / "a.ass")] == [cue.lines for cue in cues]


def test_documents_are_those_of_whisper_and_openai():
    from st.subtitles.formats.documents import Recording, write_document

    said = Segment(
        1.0, 3.5, "Hi you.", (Word(1.0, 2.0, "Hi", 0.5), Word(2.0, 3.5, "you.", 0.5)), {"ja": "やあ"}, {}, "Bob", "en"
    )
    recording = Recording(
        [said, Segment(3.6, 4.0, "Bye.", speaker="Bob"), Segment(9.0, 9.5, "So.", speaker="Bob")], "en"
    )
    whisper = json.loads(write_document(recording, "json"))
    first = whisper["segments"][0]
    assert whisper["text"] == "Hi you. Bye. So."
    assert (first["seek"], first["text"], first["words"][1]["word"]) == (100, " Hi you.", " you.")
    assert first["avg_logprob"] == pytest.approx(-0.6931, abs=1e-4)
    assert (first["speaker"], first["translations"]) == ("Bob", {"ja": "やあ"})
    verbose = json.loads(write_document(recording, "verbose_json"))
    assert (verbose["task"], verbose["language"], verbose["duration"]) == ("transcribe", "english", 9.5)
    assert verbose["words"][0] == {"word": "Hi", "start": 1.0, "end": 2.0}
    assert json.loads(write_document(recording, "verbose_json", "ja"))["language"] == "japanese"
    assert json.loads(write_document(recording, "json", "ja"))["segments"][0]["text"] == "やあ"
    assert write_document(recording, "tsv").splitlines()[:2] == ["start\tend\ttext", "1000\t3500\tHi you."]
    assert write_document(recording, "text") == "Bob: Hi you. Bye.\n\nBob: So.\n"
