"""Let pyctcdecode decode what the tests decode, and write down what it finds: ``pyctcdecode.json``.

pyctcdecode is no longer maintained and needs NumPy 1, and kenlm is built from its sources:

    python -m venv env && env/bin/pip install "numpy<2" pyctcdecode==0.5.0 kenlm==0.3.0
    PYTHONPATH=tests env/bin/python tests/golden/make_pyctcdecode.py

The texts in the file are sentences of the sample corpus in normalised spelling; ``--texts`` writes them anew, in an
environment of this project.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyctcdecode_cases import SETTINGS, alphabet, arpa, given, words_of

FILE = Path(__file__).with_name("pyctcdecode.json")
LANGUAGES = ("en", "de", "fr", "tr")
TRAIN, TEST, FEW = 300, 60, 15


def sentences() -> dict[str, Any]:
    """Draw what the language models learn from, and what is said."""
    import random

    from covost.sample.draw import SentenceDrawer
    from st.text.normalisation import normalise

    found = {}
    for language in LANGUAGES:
        drawer = SentenceDrawer(random.Random(18))
        texts = [normalise(drawer.draw().write(language), language) for _ in range(TRAIN + TEST)]
        found[language] = {"learned": texts[:TRAIN], "said": texts[TRAIN:]}
    return found


def decode(texts: dict[str, Any], setting: str) -> list[tuple[str, float]]:
    import kenlm
    from pyctcdecode.alphabet import Alphabet
    from pyctcdecode.decoder import BeamSearchDecoderCTC
    from pyctcdecode.language_model import LanguageModel

    options = dict(SETTINGS[setting])
    labels = alphabet(texts["learned"] + texts["said"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lm.arpa"
        path.write_text(arpa(texts["learned"]), encoding="utf-8")
        unigrams = words_of(texts["learned"]) if options.get("unigrams", True) else []
        weights = {name: options[name] for name in LanguageModel.JSON_ATTRS if name in options}
        model = LanguageModel(kenlm.Model(str(path)), unigrams, **weights) if options.get("model", True) else None
        decoder = BeamSearchDecoderCTC(Alphabet(labels, False), model)
    search = {"beam": "beam_width", "beam_floor": "beam_prune_logp", "label_floor": "token_min_logp"}
    search |= {"hotwords": "hotwords", "hotword_weight": "hotword_weight"}
    asked = {theirs: options[ours] for ours, theirs in search.items() if ours in options}
    found = []
    said = texts["said"] if setting == "defaults" else texts["said"][:FEW]
    for seed, text in enumerate(said):
        best = decoder.decode_beams(given(setting, text, labels, seed), **asked)[0]
        found.append((best[0], round(float(best[-1]), 4)))
    return found


def main() -> None:
    if "--texts" in sys.argv:
        content = {language: texts | {"found": {}} for language, texts in sentences().items()}
    else:
        content = json.loads(FILE.read_text(encoding="utf-8"))
        for language, texts in content.items():
            chosen = SETTINGS if language == "en" else ["defaults"]
            texts["found"] = {setting: decode(texts, setting) for setting in chosen}
    FILE.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
