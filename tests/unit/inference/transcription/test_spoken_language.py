"""Which language is spoken: by a head that classifies, by what the decoder would write, or by letters; and how sure it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from st.checkpoints.bundle import ModelBundle
from st.data.config import DataConfig
from st.decoding.options import BeamOptions, Hypothesis
from st.errors import ConfigError
from st.inference import TranscriptOptions, Translator
from st.inference.identification.identifier import Identifier
from st.inference.transcription.choice import name_languages
from st.inference.transcription.spoken_language import LanguageEvidence, choose
from st.inference.transcription.transcriber import AUTO, Transcriber
from st.modules.config import HeadConfig
from st.modules.model import SpeechTranslator
from st.text.class_labels import ClassLabels
from st.text.ctc_vocabulary import CtcVocabulary

LANGUAGES = ("en", "ja", "ru")
SAID = {"en": "birds", "ja": "つの文", "ru": "слово"}


def test_letters_tell_languages_of_different_scripts(tiny_model, translator: Translator) -> None:
    evidence = LanguageEvidence(tiny_model, translator.ctc, LANGUAGES, {})
    logits = torch.zeros(3, 8, len(translator.ctc))
    for row, text in enumerate(SAID.values()):
        for frame, letter in enumerate(text):
            logits[row, frame, translator.ctc.symbols.index(letter)] = 12.0
        logits[row, len(text) :, 0] = 12.0
    lengths = torch.tensor([8, 8, 8])
    found = choose(LANGUAGES, evidence(None, logits, lengths))
    assert [one.code for one in found] == list(SAID)
    assert all(one.probability > 0.99 for one in found)
    # What is behind the end of an utterance is no evidence.
    logits[0, 5:] = logits[2, :3]
    assert choose(LANGUAGES, evidence(None, logits[:1], torch.tensor([5])))[0].code == "en"


def test_languages_with_the_same_letters_are_not_told_apart_and_it_is_known(tiny_model, translator: Translator) -> None:
    evidence = LanguageEvidence(tiny_model, translator.ctc, ("en", "ja", "fr"), {})
    assert evidence.alike == [["en", "fr"]]
    logits = torch.zeros(1, 4, len(translator.ctc))
    logits[0, :, translator.ctc.symbols.index("b")] = 12.0
    [found] = choose(evidence.codes, evidence(None, logits, torch.tensor([4])))
    assert found.probability == pytest.approx(0.5, abs=1e-3)


@pytest.fixture(scope="module")
def classifier(tiny_model, tiny_config, translator: Translator) -> ModelBundle:
    """The tiny model with a head that classifies languages."""
    head = HeadConfig(kind="utterance", size=4)
    torch.manual_seed(3)
    model = SpeechTranslator(dataclasses.replace(tiny_config, heads={**tiny_config.heads, "language": head})).eval()
    model.load_state_dict(tiny_model.state_dict(), strict=False)
    with torch.no_grad():
        for parameter in model.get_submodule("language").parameters():
            parameter.mul_(20)
    labels = {"ctc": translator.ctc, "language": ClassLabels(["deu", "ja", "en", "ru"])}
    return ModelBundle(model, translator.text, labels, DataConfig(), "tiny")


def test_a_head_that_classifies_languages_is_asked_first(classifier: ModelBundle, waves: list[np.ndarray]) -> None:
    options = TranscriptOptions(languages=("en", "de", "ja"))
    own = Translator(
        classifier.model, classifier.text, classifier.ctc, transcripts=options, labels=classifier.labels, keep_all=True
    )
    identifier = Identifier(classifier)
    codes = {"deu": "de", "ja": "ja", "en": "en"}
    found = own.decode_batch(waves, [[]] * len(waves))
    for wave, result in zip(waves, found, strict=True):
        scores = {codes[one.label]: one.score for one in identifier(wave).labels if one.label in codes}
        best = max(scores, key=scores.__getitem__)
        assert result.language == best
        assert result.language_probability == pytest.approx(scores[best] / sum(scores.values()), abs=2e-3)
    assert len({result.language for result in found}) > 1, "random weights shall not always say the same"


def test_the_text_is_that_of_the_language_that_was_chosen(
    translator: Translator, waves: list[np.ndarray], monkeypatch
) -> None:
    """The decoder writes in each language; the most probable text counts, and is written as if its language were given."""
    decoder = BeamOptions(beam=2, max_len_b=12, joint_ctc_weight=0.3)
    search, totals = Transcriber._search, []

    def watched(self: Transcriber, encoded, logits, spoken, options) -> list[Hypothesis]:
        found = search(self, encoded, logits, spoken, options)
        if options.beam == 1:
            totals.append({spoken[0]: [sum(best.token_scores[1:]) for best in found]})
        return found

    monkeypatch.setattr(Transcriber, "_search", watched)

    def texts(**options: object) -> list:
        options = TranscriptOptions(decoder=decoder, **options)
        own = Translator(translator.model, translator.text, translator.ctc, transcripts=options, keep_all=True)
        return own.decode_batch(waves[:4], [[]] * 4)

    found = texts(languages=LANGUAGES)
    by_code = {code: row for one in totals for code, row in one.items()}
    expected = [max(LANGUAGES, key=lambda code, n=n: by_code[code][n]) for n in range(4)]
    assert [result.language for result in found] == expected
    given = {code: texts(language=code) for code in set(expected)}
    assert [result.transcript for result in found] == [given[code][n].transcript for n, code in enumerate(expected)]


def test_each_segment_of_a_long_recording_has_its_language(tmp_path: Path, run) -> None:
    rate = 16_000
    tone = np.sin(np.arange(33 * rate) * 0.3) * np.abs(np.sin(np.arange(33 * rate) / 3000))
    noise = np.random.default_rng(4).standard_normal(33 * rate) * 0.1
    soundfile.write(tmp_path / "long.wav", (0.3 * tone + noise).astype(np.float32), rate)
    options = ["--lang", "en,ja", "--format", "segments", "--no-vad", "--keep-all"]
    code, out, err = run("transcribe", str(tmp_path / "long.wav"), *options)
    assert code == 0, err
    segments = [line for line in map(json.loads, out.splitlines()) if "text" in line]
    assert len(segments) > 1
    assert all(line["language"] in ("en", "ja") and 0.5 <= line["language_probability"] <= 1 for line in segments)
    assert "what is spoken is chosen among en ja" in err
    code, out, _ = run("transcribe", "a.wav", "--lang", "ja,en", "--format", "json")
    assert json.loads(out)["language"] in ("en", "ja")


def test_languages_that_nobody_knows_are_asked_for(run) -> None:
    code, _, err = run("transcribe", "a.wav", "--lang", AUTO)
    assert code == 2, err
    assert "does not say which languages it was trained on; name those to choose from by --lang" in err


def test_the_languages_of_a_model_are_those_of_its_training_or_its_head(classifier: ModelBundle) -> None:
    auto = TranscriptOptions(languages=(AUTO,))
    assert name_languages(auto, classifier).languages == ("de", "ja", "en", "ru")
    trained = dataclasses.replace(classifier, trained_directions=("fr_en", "es_en", "fr_de"))
    assert name_languages(auto, trained).languages == ("fr", "es")
    alone = dataclasses.replace(classifier, trained_directions=("fr_en",))
    assert name_languages(auto, alone) == TranscriptOptions(language="fr")
    with pytest.raises(ConfigError, match="contradict each other"):
        TranscriptOptions(languages=("de", "fr"), language="de")


def test_a_vocabulary_of_a_language_tells_it_from_others_of_its_script(tiny_model, translator, tmp_path: Path) -> None:
    CtcVocabulary.build({"de": ["der satz"]}).save(tmp_path / "ctc_vocab_de.json")
    CtcVocabulary.build({"en": ["three birds"]}).save(tmp_path / "ctc_vocab_en.json")
    evidence = LanguageEvidence(tiny_model, translator.ctc, ("en", "de"), {}, tmp_path)
    assert evidence.alike == []
    logits = torch.zeros(1, 1, len(translator.ctc))
    logits[0, 0, translator.ctc.symbols.index("z")] = 9.0
    assert choose(evidence.codes, evidence(None, logits, torch.tensor([1])))[0].code == "de"
