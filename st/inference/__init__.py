"""Audio in, translation out; what users need of it is in :mod:`st` itself.

Names are imported when they are first used, so that :mod:`st.inference.long.segments` and formats need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st.inference.alignment.word_times import TimedText as TimedText
    from st.inference.load import load_translator as load_translator
    from st.inference.results.decoded import DecodedUtterance as DecodedUtterance
    from st.inference.results.decoded import Translation as Translation
    from st.inference.transcription.transcriber import TranscriptOptions as TranscriptOptions
    from st.inference.translator import Translator as Translator

_HOMES = {
    "DecodedUtterance": "results.decoded",
    "TimedText": "alignment.word_times",
    "TranscriptOptions": "transcription.transcriber",
    "Translation": "results.decoded",
    "Translator": "translator",
    "load_translator": "load",
}
"""In which module of this folder each name is."""


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List what users need."""
    return list(_HOMES)
