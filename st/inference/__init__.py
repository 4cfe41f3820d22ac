"""Audio in, translation out; what users need of it is in :mod:`st` itself."""

from st.inference.load import load_translator
from st.inference.results import DecodedUtterance, Translation
from st.inference.transcriber import TranscriptOptions
from st.inference.translator import Translator
from st.inference.word_times import TimedText

__all__ = ["DecodedUtterance", "TimedText", "TranscriptOptions", "Translation", "Translator", "load_translator"]
