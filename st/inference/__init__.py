"""Audio in, translation out.

>>> from st.inference import load_translator
>>> translator = load_translator("checkpoint_best.pt")  # doctest: +SKIP
>>> translator.translate("clip.mp3", to="de").translations["de"]  # doctest: +SKIP
"""

from st.inference.load import load_translator
from st.inference.translator import DecodedUtterance, Translation, Translator

__all__ = ["DecodedUtterance", "Translation", "Translator", "load_translator"]
