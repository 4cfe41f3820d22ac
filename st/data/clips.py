"""What is known of the recordings that a model learned from: long ones are cut alike (:mod:`st.segmentation.clips`)."""

from __future__ import annotations

from dataclasses import dataclass

from st.doors.shown import shown
from st.errors import ConfigError

MOST_SILENCE_S = 60.0


@dataclass(kw_only=True, frozen=True, slots=True)
class Silences:
    """Seconds without speech of the recordings, by Silero's detector. One that is late, or goes on, makes them negative."""

    before_s: float
    """From the beginning to the first word, in the middle of all clips."""
    after_s: float
    """From the last word to the end, in the middle."""
    within_s: float
    """The longest pause between words; one clip in twenty has a longer one."""

    def __post_init__(self) -> None:
        """Raise ConfigError if a value is no number of seconds."""
        for value in (self.before_s, self.after_s, self.within_s):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MOST_SILENCE_S:
                raise ConfigError(f"found {shown(value)}; expected seconds")


@dataclass(kw_only=True, frozen=True, slots=True)
class Clips:
    """The recordings that a model learned from."""

    longest_s: float = 0.0
    """Seconds that they usually do not exceed; 0 if unknown."""
    silences: Silences | None = None
    """None if unknown."""
