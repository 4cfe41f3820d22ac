"""Rules of subtitles, and the presets that people ask for by name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from st.errors import ConfigError
from st.text.languages import language, subtags


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a cue may be. Lengths are in characters of :func:`st.subtitles.measure.length`."""

    max_characters: float = 42
    """On one line."""
    max_lines: int = 2
    """In one cue."""
    max_speed: float = 17
    """Characters to be read in a second, spaces included."""
    min_s: float = 5 / 6
    """Shortest cue, in seconds."""
    max_s: float = 7
    """Longest cue, in seconds."""
    min_gap_s: float = 2 / 24
    """Between two cues, in seconds."""
    join_gap_s: float = 0.5
    """A shorter gap is closed, but for ``min_gap_s``; 0 leaves gaps as they are."""
    full_width: bool = False
    """Whether a full-width character counts 1 and others a half; otherwise others count 1 and full-width ones 2."""

    def __post_init__(self) -> None:
        """Check the figures.

        Raises:
            ConfigError: If no cue could obey them.
        """
        for name in ("max_characters", "max_lines", "max_speed", "max_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected more than 0")
        if self.max_lines != int(self.max_lines):
            raise ConfigError(f"`max_lines` is {self.max_lines}; expected a whole number")
        for name in ("min_s", "min_gap_s", "join_gap_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected 0 or more")
        if self.min_s > self.max_s:
            raise ConfigError(f"`min_s` is {self.min_s} and `max_s` is {self.max_s}; expected the first to be less")


_CHINESE = {"max_characters": 16, "max_speed": 9, "full_width": True}
_JAPANESE = {"max_characters": 13, "max_speed": 4, "full_width": True}
_KOREAN = {"max_characters": 16, "max_speed": 12, "full_width": True}
_TELETEXT_HALF = {"max_characters": 18}
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Timed Text Style Guides: general requirements, and those of languages. Frames are of 24 a second.
    "netflix": {"": {}, "en": {"max_speed": 20}, "zh": _CHINESE, "ja": _JAPANESE, "ko": _KOREAN},
    # Subtitle Guidelines: 160 to 180 words a minute, which are 15 characters a second at 5 a word; 0.3 s a word; a gap of a
    # second or none. The longest cue is not theirs. They say nothing of full-width scripts: half a line, Netflix's speed.
    "bbc": {
        "": {"max_characters": 37, "max_speed": 15, "min_s": 0.3, "min_gap_s": 0, "join_gap_s": 1},
        "zh": _CHINESE | _TELETEXT_HALF,
        "ja": _JAPANESE | _TELETEXT_HALF,
        "ko": _KOREAN | _TELETEXT_HALF,
    },
    # TED Translators' cheat sheet, whose figures are for Latin script; for others Netflix's, but 21 characters in Japanese.
    "ted": {
        "": {"max_speed": 21, "min_s": 1, "min_gap_s": 0, "join_gap_s": 0},
        "zh": _CHINESE,
        "ja": _JAPANESE | {"max_characters": 21},
        "ko": _KOREAN,
    },
}
"""By name and language: what differs from the defaults; the empty language holds for all, and others on top of it."""

_FULL_WIDTH_SCRIPTS = {"Hans": "zh", "Hant": "zh", "Hani": "zh", "Jpan": "ja", "Kore": "ko"}


def rules_for(preset: str, code: str | None, **changes: Any) -> Rules:
    """Return the rules of a preset for a language.

    Args:
        preset: A key of :data:`PRESETS`.
        code: Language of the text, by any usual code; None where it is not known.
        changes: Fields of :class:`Rules` that replace those of the preset, unless they are None.

    Raises:
        ConfigError: If there is no such preset, or a change is impossible.
        UsageError: If ``code`` is no code of a language.
    """
    if preset not in PRESETS:
        raise ConfigError(f"`rules` is {preset!r}; expected one of {', '.join(PRESETS)}")
    unknown = changes.keys() - {field.name for field in fields(Rules)}
    if unknown:
        raise ConfigError(f"rules have no {', '.join(sorted(unknown))}")
    of = PRESETS[preset]
    given = {name: value for name, value in changes.items() if value is not None}
    return Rules(**(of[""] | of.get(_written(code), {}) | given))


def _written(code: str | None) -> str:
    """Return the language whose figures hold: that of the script if it is full-width."""
    if code is None:
        return ""
    known = language(code)
    return _FULL_WIDTH_SCRIPTS.get(known.script, subtags(known.code)[0])
