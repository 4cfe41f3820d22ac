"""``st subtitles`` as people run it."""

import json
import subprocess
import sys

import pytest

from st.cli import main

WORDS = [(0.0, 0.5, "I"), (0.5, 1.0, "came."), (3.0, 3.5, "You"), (3.5, 4.0, "saw"), (4.0, 4.6, "it.")]
SEGMENT = {
    **{"start": 0.0, "end": 5.0, "text": "I came. You saw it.", "translations": {"de": "Ich kam. Du sahst es."}},
    "words": [{"start": start, "end": end, "word": word} for start, end, word in WORDS],
}


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.json"
    path.write_text(json.dumps({"audio": "talk.wav", "language": "en", "segments": [SEGMENT]}), encoding="utf-8")
    return path


def test_the_transcript_is_laid_out(talk, capsys):
    assert main(["subtitles", str(talk)]) == 0
    assert capsys.readouterr().out == (
        "1\n00:00:00,000 --> 00:00:01,000\nI came.\n\n2\n00:00:03,000 --> 00:00:04,600\nYou saw it.\n\n"
    )


def test_the_format_is_what_out_ends_in_and_nothing_is_replaced(talk, tmp_path):
    out = tmp_path / "talk.de.vtt"
    command = ["subtitles", str(talk), "--to", "de-DE", "--out", str(out)]
    assert main(command) == 0
    assert out.read_text(encoding="utf-8").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nIch kam.\n")
    assert main(command) == 2
    assert main([*command, "--overwrite", "--rules", "ted"]) == 0


def test_both_languages_in_two_files_have_equal_times(talk, tmp_path):
    assert main(["subtitles", str(talk), "--to", "de", "--bilingual", "files", "--out", str(tmp_path / "a.srt")]) == 0
    times = [
        [line for line in (tmp_path / name).read_text(encoding="utf-8").splitlines() if "-->" in line]
        for name in ("a.en.srt", "a.de.srt")
    ]
    assert times[0] == times[1]
    assert len(times[0]) == 2


def test_speakers_come_from_rttm(talk, tmp_path, capsys):
    rttm = tmp_path / "talk.rttm"
    rttm.write_text(
        "SPEAKER talk 1 0 2 <NA> <NA> Anna <NA> <NA>\nSPEAKER talk 1 2.5 3 <NA> <NA> Bob <NA> <NA>\n", encoding="utf-8"
    )
    assert main(["subtitles", str(talk), "--speakers", str(rttm), "--format", "text"]) == 0
    assert capsys.readouterr().out == "Anna: I came.\n\nBob: You saw it.\n"
    assert main(["subtitles", str(talk), "--speakers", str(rttm), "--format", "vtt", "--word-times"]) == 0
    assert "<v Bob>You <00:00:03.500>saw" in capsys.readouterr().out


def test_what_breaks_a_rule_is_said_and_reported(talk, tmp_path, capsys):
    report = tmp_path / "report.json"
    command = ["subtitles", str(talk), "--max-speed", "3", "--report", str(report), "--out", str(tmp_path / "a.srt")]
    assert main(command) == 0
    assert "1 of 2 cues break a rule (too fast to read: 1)" in capsys.readouterr().err
    first = json.loads(report.read_text(encoding="utf-8"))[0]
    assert (first["cue"], first["text"]) == (2, "You saw it.")
    assert first["breaks"][0]["rule"] == "speed"


def test_a_file_is_checked(tmp_path, capsys):
    path = tmp_path / "a.srt"
    path.write_text(
        f"1\n00:00:00,000 --> 00:00:04,000\n{'x' * 43}\n\n2\n00:00:03,900 --> 00:00:13,000\na\nb\nc\n\n"
        "3\n00:00:13,010 --> 00:00:14,010\nshort\n\n",
        encoding="utf-8",
    )
    assert main(["subtitles", "--check", str(path), "--json", "--lang", "en"]) == 1
    found = json.loads(capsys.readouterr().out)
    counts = {rule: of["cues"] for rule, of in found["rules"].items()}
    assert counts == {"characters": 1, "lines": 1, "speed": 0, "short": 0, "long": 1, "gap": 1, "overlap": 1}
    assert (found["cues"], found["breaking"]) == (3, 2)
    loose = ["--max-characters", "50", "--max-lines", "3", "--max-duration", "10", "--min-gap", "0"]
    assert main(["subtitles", "--check", str(path), *loose]) == 1
    out = capsys.readouterr().out
    assert "1 of 3 cues break a rule of netflix" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--to", "fr"], "no such translation; it has de"),
        (["--bilingual"], "--bilingual needs --to"),
        (["--word-times"], "srt has no place for them"),
        (["--max-speed", "0"], "--max-speed is 0.0"),
        (["--min-duration", "9"], "--min-duration is 9.0 and --max-duration is 7"),
        (["--rules", "disney"], "expected one of netflix, bbc, ted"),
        (["--against", "x.srt"], "--against"),
        (["--check", "--to", "de"], "--check goes without --to"),
    ],
    ids=["language", "bilingual", "word-times", "speed", "durations", "rules", "against", "check"],
)
def test_wrong_options_are_refused(talk, options, said, capsys):
    assert main(["subtitles", str(talk), *options]) == 2
    assert said in capsys.readouterr().err


def test_no_torch_is_needed():
    code = "import sys, st.commands.subtitles, st.subtitles.track, st.subtitles.formats.segment_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_suber_is_scored_where_its_package_is(talk, tmp_path, capsys):
    out = tmp_path / "a.srt"
    assert main(["subtitles", str(talk), "--out", str(out)]) == 0
    code = main(["subtitles", "--check", str(out), "--lang", "en", "--against", str(out)])
    try:
        import suber  # noqa: F401
    except ImportError:
        assert code == 1
        assert "pip install --no-deps subtitle-edit-rate" in capsys.readouterr().err
    else:
        assert code == 0
        assert "SubER 0.00" in capsys.readouterr().out
