"""Cues as files: SubRip, WebVTT, TTML, Advanced SubStation Alpha."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from st.inference.results.cue_text import clock, srt_text, timed_block, vtt_text
from st.subtitles.cues import Cue, TimedPiece

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ASS_SIGNS = str.maketrans("{}\\", "｛｝＼")
_ASS_HEADER = """\
[Script Info]
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
WrapStyle: 2
ScaledBorderAndShadow: yes

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,60,&H00FFFFFF,&H00A0A0A0,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,60,60,50,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True, slots=True)
class CueFile:
    """What a file says beside its cues."""

    languages: Sequence[str | None]
    """Codes of the texts of each cue; None where they are not known."""
    word_times: bool = False
    """Whether times of words are written, in formats that have them and where they are known."""


def write_cues(cues: Sequence[Cue], output_format: str, file: CueFile) -> str:
    """Return cues as a file, in a format of :data:`CUE_FORMATS`."""
    return CUE_FORMATS[output_format](cues, file)


def _srt(cues: Sequence[Cue], _: CueFile) -> str:
    return "".join(
        f"{number}\n{timed_block(cue.start_ms, cue.end_ms, chr(10).join(map(srt_text, cue.lines)), ',')}"
        for number, cue in enumerate(cues, start=1)
    )


def _vtt(cues: Sequence[Cue], file: CueFile) -> str:
    return "WEBVTT\n\n" + "".join(timed_block(cue.start_ms, cue.end_ms, _vtt_body(cue, file), ".") for cue in cues)


def _vtt_body(cue: Cue, file: CueFile) -> str:
    texts = ["\n".join(map(vtt_text, lines)) for lines in cue.texts]
    if file.word_times and cue.pieces:
        texts[0] = _vtt_words(cue)
    if len(texts) > 1:
        texts = [
            f"<lang {code}>{text}</lang>" if code and text else text
            for code, text in zip(file.languages, texts, strict=True)
        ]
    body = "\n".join(text for text in texts if text)
    return f"<v {vtt_text(cue.speaker)}>{body}" if cue.speaker else body


def _vtt_words(cue: Cue) -> str:
    """Write a time before each word that begins later than the one before it, as the format wants it."""
    lines, now = [], cue.start_ms
    for line in cue.pieces:
        written = ""
        for piece in line:
            text = vtt_text(piece.text)
            if now < piece.start_ms < cue.end_ms:
                now = piece.start_ms
                bare = text.lstrip(" ")
                text = f"{text[: len(text) - len(bare)]}<{clock(now)}>{bare}"
            written += text
        lines.append(written)
    return "\n".join(lines)


def _ttml(cues: Sequence[Cue], file: CueFile) -> str:
    speakers = {
        name: f"s{number}" for number, name in enumerate(dict.fromkeys(cue.speaker for cue in cues if cue.speaker))
    }
    agents = "".join(
        f'      <ttm:agent xml:id="{key}" type="person"><ttm:name type="full">{_xml(name)}</ttm:name></ttm:agent>\n'
        for name, key in speakers.items()
    )
    metadata = f"    <metadata>\n{agents}    </metadata>\n" if agents else ""
    main = quoteattr(file.languages[0] or "")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="http://www.w3.org/ns/ttml#parameter" '
        f'xmlns:ttm="http://www.w3.org/ns/ttml#metadata" xml:lang={main} ttp:timeBase="media">\n'
        f"  <head>\n{metadata}  </head>\n  <body>\n    <div>\n"
        + "".join(_ttml_cue(cue, file, speakers) for cue in cues)
        + "    </div>\n  </body>\n</tt>\n"
    )


def _ttml_cue(cue: Cue, file: CueFile, speakers: dict[str, str]) -> str:
    """Write a paragraph for each language."""
    agent = f' ttm:agent="{speakers[cue.speaker]}"' if cue.speaker else ""
    times = f'begin="{clock(cue.start_ms)}" end="{clock(cue.end_ms)}"'
    several = len(cue.texts) > 1
    return "".join(
        f"      <p {times}{f' xml:lang={quoteattr(code)}' if several and code else ''}{agent}>"
        f"{'<br/>'.join(map(_xml, lines))}</p>\n"
        for code, lines in zip(file.languages, cue.texts, strict=True)
        if lines
    )


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("", text))


def _ass(cues: Sequence[Cue], file: CueFile) -> str:
    lines, free = [], 0
    for cue in cues:
        start = max(cue.start_ms // 10, free)
        free = max(cue.end_ms // 10, start + 1)
        texts = [r"\N".join(map(_ass_text, cue.lines))]
        if file.word_times and cue.pieces:
            others = [_ass_text(line) for lines in cue.texts[1:] for line in lines]
            texts = [r"\N".join([*_ass_karaoke(cue.pieces, start), *others])]
        name = _ass_text(cue.speaker or "").replace(",", ";")
        lines.append(f"Dialogue: 0,{_ass_clock(start)},{_ass_clock(free)},Default,{name},0,0,0,,{texts[0]}\n")
    return _ASS_HEADER + "".join(lines)


def _ass_karaoke(lines: Sequence[Sequence[TimedPiece]], start: int) -> list[str]:
    """Write before each word for how many hundredths of a second it lasts, and before it the silence."""
    now, written = start, []
    for line in lines:
        text = ""
        for piece in line:
            begins, ends = max(piece.start_ms // 10, now), max(piece.end_ms // 10, now)
            text += f"{{\\k{begins - now}}}" if begins > now else ""
            text += f"{{\\k{ends - begins}}}{_ass_text(piece.text)}"
            now = ends
        written.append(text)
    return written


def _ass_text(text: str) -> str:
    return text.translate(_ASS_SIGNS)


def _ass_clock(hundredths: int) -> str:
    seconds, hundredths = divmod(hundredths, 100)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}.{hundredths:02}"


CUE_FORMATS: dict[str, Callable[[Sequence[Cue], CueFile], str]] = {"srt": _srt, "vtt": _vtt, "ttml": _ttml, "ass": _ass}
"""Formats of subtitles."""
SPELLING: dict[str, Callable[[str], str]] = {"srt": srt_text, "ass": _ass_text}
"""How formats write what they have no signs for; the others escape it."""
NAMES_IN_TEXT = frozenset({"srt"})
"""Formats without a place for the name of who speaks."""
WITH_WORD_TIMES = frozenset({"vtt", "ass"})
