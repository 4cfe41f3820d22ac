"""Audio in, translation out.

>>> from st.inference import load_translator
>>> translator = load_translator("checkpoint_best.pt")  # doctest: +SKIP
>>> translator.translate("clip.mp3", to="de").translations["de"]  # doctest: +SKIP
"""

from st.inference.load import load_translator
from st.inference.results import DecodedUtterance, Translation
from st.inference.transcriber import TranscriptOptions
from st.inference.translator import Translator
from st.inference.word_times import TimedText

__all__ = ["DecodedUtterance", "TimedText", "TranscriptOptions", "Translation", "Translator", "load_translator"]
