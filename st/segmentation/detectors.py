"""Which detector of speech is used: Silero's where it is installed, levels where it is not."""

from __future__ import annotations

import logging

from st.segmentation.levels import LevelDetector, SpeechDetector
from st.segmentation.silero import SileroDetector, missing

logger = logging.getLogger(__name__)

_told: set[str] = set()


def make_detector() -> SpeechDetector:
    """Return a new detector, for one recording; say once if it is the lesser one."""
    lacking = missing()
    if not lacking:
        return SileroDetector()
    if "levels" not in _told:
        _told.add("levels")
        logger.warning(
            "speech is found by how loud it is, and music counts as speech: %s not installed; pip install 'xlsr-st[vad]' "
            "brings Silero's detector",
            " and ".join(lacking).replace("_", "-") + (" are" if len(lacking) > 1 else " is"),
        )
    return LevelDetector()
