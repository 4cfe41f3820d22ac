"""Subtitles of a recording in one call: the rules of each text, the layout, the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from st.subtitles.conformity import full_width_language
from st.subtitles.cues import Cue
from st.subtitles.formats.cue_formats import NAMES_IN_TEXT, SPELLING, CueFile, write_cues
from st.subtitles.formats.documents import Recording
from st.subtitles.rules import Rules, rules_for
from st.subtitles.track import lay_out

SAMPLE = 200
"""Segments that are looked at for the script of a text whose language is not known."""


def rules_of_text(preset: str, code: str | None, text: str, changes: Mapping[str, Any]) -> Rules:
    """Return the rules of a preset for a text: by its language, or else by its script.

    Args:
        preset: ``netflix``, ``bbc`` or ``ted``.
        code: Language of the text; None where it is not known.
        text: Some of it.
        changes: Fields of :class:`Rules` that replace those of the preset, unless they are None.

    Raises:
        ConfigError: As :func:`st.subtitles.rules.rules_for`.
    """
    return rules_for(preset, code or full_width_language(text), **changes)


def make_cues(
    recording: Recording,
    languages: Sequence[str | None] = (None,),
    *,
    output_format: str = "srt",
    preset: str = "netflix",
    separate: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> list[Cue]:
    """Lay a recording out as cues for a format.

    Args:
        recording: Each segment of one speaker.
        languages: The texts to be shown: None for the transcript, and codes of translations.
        output_format: A key of :data:`st.subtitles.formats.cue_formats.CUE_FORMATS`.
        preset: As :func:`rules_of_text`.
        separate: As :func:`st.subtitles.track.lay_out`.
        changes: As :func:`rules_of_text`.
    """
    some = recording.segments[:SAMPLE]
    rules = [
        rules_of_text(
            preset,
            code or recording.language,
            "".join(recording.text_of(segment, code) for segment in some),
            changes or {},
        )
        for code in languages
    ]
    return lay_out(
        recording.segments,
        languages,
        rules,
        separate=separate,
        names=output_format in NAMES_IN_TEXT,
        spell=SPELLING.get(output_format, str),
    )


def make_subtitles(
    recording: Recording,
    output_format: str = "srt",
    *,
    to: str | None = None,
    bilingual: bool = False,
    preset: str = "netflix",
    word_times: bool = False,
    **changes: Any,
) -> str:
    """Return the subtitles of a recording as a file.

    Args:
        recording: Each segment of one speaker.
        output_format: ``srt``, ``vtt``, ``ttml`` or ``ass``.
        to: Code of a translation; None for the transcript.
        bilingual: Whether both are shown in each cue.
        preset: ``netflix``, ``bbc`` or ``ted``.
        word_times: Whether times of words are written, in ``vtt`` and ``ass``.
        changes: Fields of :class:`Rules` that replace those of the preset.

    Raises:
        ConfigError: As :func:`st.subtitles.rules.rules_for`.
    """
    languages = [None, to] if bilingual and to is not None else [to]
    cues = make_cues(recording, languages, output_format=output_format, preset=preset, changes=changes)
    return write_cues(cues, output_format, CueFile([code or recording.language for code in languages], word_times))
