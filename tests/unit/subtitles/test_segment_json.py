"""JSON of other tools and of ours becomes segments; what is none is refused with its place."""

import json

import pytest

from st.errors import DecodingError
from st.inference.long.segments import Segment, Word
from st.subtitles.formats.documents import Recording, write_document
from st.subtitles.formats.segment_files import parse_segments

WORDS = [{"word": " Hi", "start": 1.0, "end": 1.5, "probability": 0.9}, {"word": " you.", "start": 1.5, "end": 2.0}]
FORMS = {
    "whisper": {
        "text": " Hi you.",
        "language": "en",
        "segments": [{"start": 1, "end": 2.0, "text": " Hi you.", "words": WORDS}],
    },
    "verbose_json": {
        **{"task": "transcribe", "language": "english", "duration": 9.0, "text": "Hi you."},
        **{"segments": [{"id": 0, "start": 1.0, "end": 2.0, "text": " Hi you."}], "words": WORDS},
    },
    "whisperx": {
        "segments": [
            {
                **{"start": 1.0, "end": 2.0, "text": " Hi you."},
                "words": [{**WORDS[0], "score": 0.9, "speaker": "A"}, {"word": "1999"}, WORDS[1]],
            }
        ],
        "language": "en",
    },
    "list": [{"start": 1.0, "end": 2.0, "text": "Hi you.", "language": "en", "words": WORDS}],
    "words alone": {"text": "Hi you.", "language": "eng", "words": WORDS},
}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_forms_of_other_tools_say_the_same(name):
    recording = parse_segments(json.dumps(FORMS[name]).encode(), "a.json")
    (segment,) = recording.segments
    assert (segment.start, segment.end, segment.text, segment.language) == (1.0, 2.0, "Hi you.", "en")
    assert [(word.start, word.end, word.word) for word in segment.words] == [(1.0, 1.5, "Hi"), (1.5, 2.0, "you.")]


def test_json_lines_of_st_translate_are_one_segment():
    line = {
        **{"audio": "x/talk.wav", "text": "Hallo.", "transcript": "Hello.", "translations": {"de": "Hallo."}},
        "segments": [{"start": 0.0, "end": 2.5, "text": "Hallo."}],
    }
    recording = parse_segments((json.dumps(line) + "\n").encode(), "a.json")
    assert recording.segments == [Segment(0.0, 2.5, "Hello.", (), {"de": "Hallo."})]
    assert recording.name == "x/talk.wav"


def test_json_of_long_recordings_is_read_in_both_forms():
    first = {"start": 0.5, "end": 2.0, "text": "Hello.", "translations": {"de": "Hallo."}, "language": "en"}
    second = {"start": 4.0, "end": 5.0, "text": "Bye.", "translations": {"de": "Ade."}, "language": "en"}
    skipped = {"start": 2.0, "end": 4.0, "skipped": "silence"}
    whole = {"text": "Hallo. Ade.", "transcript": "Hello. Bye.", "translations": {"de": "Hallo. Ade."}}
    document = {"audio": "a.wav", **whole, "segments": [first, second], "skipped": [skipped]}
    lines = "".join(json.dumps({"audio": "a.wav", **item}) + "\n" for item in (first, skipped, second))
    for content in (json.dumps(document), lines):
        recording = parse_segments(content.encode(), "a.json")
        assert recording.name == "a.wav"
        assert [(item.text, item.translations) for item in recording.segments] == [
            ("Hello.", {"de": "Hallo."}),
            ("Bye.", {"de": "Ade."}),
        ]


def test_json_of_st_transcribe_and_of_st_align_is_read():
    common = {"audio": "talk.wav", "text": "Hi you. Bye.", "duration": 9.0}
    segments = [{"start": 1.0, "end": 2.0, "text": "Hi you."}, {"start": 5.0, "end": 5.5, "text": "Bye."}]
    words = [*WORDS, {"word": "Bye.", "start": 5.0, "end": 5.5}]
    transcribed = common | {"transcript": "Hi you. Bye.", "segments": segments, "words": words, "empty_because": None}
    unheard = {"word": "not", "line": 0, "heard": False}
    aligned = common | {"segments": segments, "words": [*words[:2], unheard, words[2]], "unwritten": [{"heard": "x"}]}
    for content in (transcribed, aligned):
        first, second = parse_segments(json.dumps(content).encode(), "a.json").segments
        assert [word.word for word in first.words] == ["Hi", "you."]
        assert [word.word for word in second.words] == ["Bye."]


def test_our_own_json_is_read_back():
    words = (Word(0.0, 1.0, "Hello", 0.5, "Bob"), Word(1.0, 2.0, "you.", 0.75, "Bob"))
    other = {"ja": (Word(0.0, 2.0, "やあ"),)}
    said = Segment(0.0, 2.5, "Hello you.", words, {"ja": "やあ"}, other, "Bob", "en")
    content = write_document(Recording([said], "en"), "json")
    assert parse_segments(content.encode(), "a.json").segments == [said]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"nope", "not JSON of segments"),
        (b"[" * 100_000, "not JSON of segments"),
        (b"3", "expected an object with segments"),
        (b"{}", "no segments and no words"),
        (b'{"segments": [3]}', "segment 1 is 3"),
        (b'{"segments": [{"start": 0, "end": 1, "text": ""}, {"start": "0", "end": 1}]}', "segment 2: start is '0'"),
        (b'{"segments": [{"start": NaN, "end": 1}]}', "expected seconds"),
        (b'{"segments": [{"start": 1e400, "end": 1}]}', "expected seconds"),
        (b'{"segments": [{"start": -1, "end": 1}]}', "expected seconds"),
        (b'{"segments": [{"start": true, "end": 1}]}', "expected seconds"),
        (b'{"segments": [{"start": 2, "end": 1}]}', "expected it to end later"),
        (b'{"segments": [{"start": 0, "end": 1, "text": 5}]}', "expected a text"),
        (b'{"segments": [{"start": 0, "end": 1, "translations": {"de": 5}}]}', "expected texts by language"),
        (b'{"segments": [{"start": 0, "end": 1, "words": ["a"]}]}', "expected an object with word"),
        (b'{"audio": "a", "segments": []}\n{"audio": "b", "segments": []}\n', "2 recordings"),
        (b'{"audio": "a", "start": 0, "end": 1}\n{"audio": "b", "start": 0, "end": 1}\n', "2 recordings"),
        (b'{"start": 0}\n{[}\n', "a.json:2: not JSON"),
    ],
    ids=[
        *(
            "no-json",
            "brackets",
            "number",
            "empty",
            "no-object",
            "text-for-time",
            "nan",
            "infinite",
            "negative",
            "boolean",
        ),
        *(
            "backwards",
            "number-for-text",
            "number-for-translation",
            "text-for-word",
            "several",
            "segments-of-several",
            "damaged-line",
        ),
    ],
)
def test_what_is_none_is_refused_in_a_sentence(content, found):
    with pytest.raises(DecodingError, match=found):
        parse_segments(content, "a.json")


def test_no_segments_is_an_empty_recording():
    assert parse_segments(b'{"text": "", "segments": [], "language": "en"}', "a.json").segments == []
