"""Segments, turns of speakers and files of subtitles, and the doors that ``st subtitles`` reads them by."""

from __future__ import annotations

import json
from pathlib import Path

from fuzzing.trial import Sample
from st.subtitles.formats.cue_files import read_cues
from st.subtitles.formats.cue_formats import CueFile, write_cues
from st.subtitles.formats.documents import Recording, write_document
from st.subtitles.formats.segment_files import read_segments
from st.subtitles.make import make_subtitles
from st.subtitles.speakers import assign_speakers, read_rttm, split_by_speaker


def seeds(folder: Path) -> None:
    """Write one of each."""
    words = [
        {"word": word, "start": second, "end": second + 0.5} for second, word in enumerate(("red", "tree,", "3", "km."))
    ]
    segment = {
        "start": 0,
        "end": 4.0,
        "text": "red tree, 3 km.",
        "words": words,
        "translations": {"ja": "赤い木、3km。"},
    }
    content = {"language": "en", "segments": [segment, {"start": 5, "end": 6.5, "text": "So.", "speaker": "B"}]}
    (folder / "talk.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "talk.rttm").write_text(
        "SPEAKER talk 1 0.00 1.80 <NA> <NA> anna <NA> <NA>\nSPEAKER talk 1 1.80 3.00 <NA> <NA> bob <NA> <NA>\n",
        encoding="utf-8",
    )
    recording = read_segments(folder / "talk.json")
    for name in ("srt", "vtt"):
        text = make_subtitles(recording, name, to="ja", bilingual=True, word_times=True)
        (folder / f"talk.{name}").write_text(text, encoding="utf-8")


def lay_out() -> None:
    """Lay segments out in all formats."""
    recording = read_segments(Path("talk.json"))
    segments = split_by_speaker(assign_speakers(recording.segments, read_rttm(Path("talk.rttm"), "talk")))
    recording = Recording(segments, recording.language, recording.name, recording.duration_s)
    for name in ("srt", "vtt", "ttml", "ass"):
        make_subtitles(recording, name, to="ja", bilingual=True, word_times=True).encode("utf-8")
    for name in ("json", "verbose_json", "tsv", "text"):
        write_document(recording, name).encode("utf-8")


def read() -> None:
    """Read subtitles, and write them again."""
    for name in ("talk.srt", "talk.vtt"):
        write_cues(read_cues(Path(name)), "vtt", CueFile([None]))


SAMPLES = {
    "segments": Sample(seeds, (lay_out,), "talk.json"),
    "speakers": Sample(seeds, (lay_out,), "talk.rttm"),
    "cues": Sample(seeds, (read,), "talk.[sv]*"),
}
