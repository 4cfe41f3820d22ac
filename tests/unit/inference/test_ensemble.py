"""Ensembles and sampling, from the translator to the command line."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from st.cli import main
from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions
from st.decoding.sampling import SamplingOptions
from st.errors import ConfigError
from st.inference import Translator
from st.inference.long.windows import LongEncoder, measure
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.vocabulary import TextVocabulary

OPTIONS = BeamOptions(beam=3, nbest=3, max_len_b=20)


@pytest.fixture(scope="module")
def other_model(tiny_model: SpeechTranslator) -> SpeechTranslator:
    """Like the tiny model, but of another opinion."""
    model = copy.deepcopy(tiny_model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def make(model: SpeechTranslator, like: Translator, options: BeamOptions = OPTIONS) -> Translator:
    return Translator(model, like.text, like.ctc, options=options)


def test_an_ensemble_translates_with_the_mean_of_its_models(
    translator: Translator, other_model: SpeechTranslator, waves: list[np.ndarray]
) -> None:
    first, second = make(translator.model, translator), make(other_model, translator)
    alone = [make(model, translator).decode_batch(waves, [["de"]] * 8) for model in (first.model, second.model)]
    first.join(second)
    found = first.decode_batch(waves, [["de"]] * 8)
    memories = [each.model.adapt(each._encode(waves)) for each in (first, second)]
    forced = torch.full((8,), first.text.language_id("de"))
    expected = beam_search([first.model, second.model], memories, forced, OPTIONS)
    assert [[one.tokens for one in result.nbest["de"]] for result in found] == [
        [one.tokens for one in hypotheses] for hypotheses in expected
    ]
    texts = [[result.translations["de"] for result in results] for results in (found, *alone)]
    assert texts[0] != texts[1]
    assert texts[0] != texts[2]


def test_an_ensemble_writes_down_what_all_its_models_hear(
    translator: Translator, other_model: SpeechTranslator, waves: list[np.ndarray]
) -> None:
    models, ctc = [translator.model, other_model], translator.ctc
    ensemble = make(models[0], translator)
    ensemble.join(make(models[1], translator))
    heard = [result.transcript for result in ensemble.decode_batch(waves, [[]] * len(waves))]
    expected = []
    for wave in waves:  # one by one, by the definition: the label with the largest product of probabilities
        encoded = [make(model, translator)._encode([wave]) for model in models]
        product = torch.stack(
            [model.ctc_logits(one).softmax(-1)[0] for model, one in zip(models, encoded, strict=True)]
        ).prod(0)
        expected.append(ctc.decode(product.argmax(-1).tolist()))
    assert heard == expected
    alone = [[make(model, translator).decode_batch([wave], [[]])[0].transcript for wave in waves] for model in models]
    assert heard != alone[0]
    assert heard != alone[1]
    drawn = ensemble.sample_transcripts(waves, 2)
    assert drawn != make(models[0], translator).sample_transcripts(waves, 2)


def test_a_model_with_other_letters_has_no_part_in_the_transcript(
    translator: Translator, other_model: SpeechTranslator, waves: list[np.ndarray]
) -> None:
    ensemble = make(translator.model, translator)
    letters = CtcVocabulary({symbol: number for number, symbol in enumerate([*translator.ctc.symbols[:-1], "ß"])})
    ensemble.join(Translator(other_model, translator.text, letters))
    found = ensemble.decode_batch(waves, [["de"]] * len(waves))
    alone = make(translator.model, translator).decode_batch(waves, [["de"]] * len(waves))
    assert [result.transcript for result in found] == [result.transcript for result in alone]
    assert [result.translations for result in found] != [result.translations for result in alone]


def test_an_ensemble_scores_a_text_as_its_search_does(
    translator: Translator, other_model: SpeechTranslator, waves: list[np.ndarray]
) -> None:
    ensemble = make(translator.model, translator)
    ensemble.join(make(other_model, translator))
    items = [(row, item) for row, found in enumerate(ensemble.decode_batch(waves, [["de"]] * 8))
             for item in found.nbest["de"] if not item.truncated]  # fmt: skip
    assert items
    scored = ensemble.score_batch(waves, [(row, "de", item.tokens) for row, item in items])
    assert [one.score for one in scored] == pytest.approx([item.score for _, item in items], abs=1e-4)


def test_models_of_an_ensemble_must_share_the_dictionary(translator: Translator, tree: Path) -> None:
    text = TextVocabulary.load(tree)
    text.symbols[10], text.symbols[11] = text.symbols[11], text.symbols[10]
    ensemble = make(translator.model, translator)
    with pytest.raises(ConfigError, match=f"{len(text)} and {len(text)} symbols which differ"):
        ensemble.join(Translator(translator.model, text, None))


def test_an_ensemble_hears_a_long_recording_as_one_window_after_the_other(
    translator: Translator, other_model: SpeechTranslator, tmp_path: Path
) -> None:
    recording = np.random.default_rng(0).standard_normal(45 * 16_000).astype(np.float32) / 10
    soundfile.write(tmp_path / "long.wav", recording, 16_000, subtype="FLOAT")
    wave = measure(tmp_path / "long.wav", 1e-5)
    models = [make(model, translator) for model in (translator.model, other_model)]
    apart = [torch.cat(list(LongEncoder(model).logits(tmp_path / "long.wav", wave))) for model in models]
    models[0].join(models[1])
    together = torch.cat(list(LongEncoder(models[0]).logits(tmp_path / "long.wav", wave)))
    expected = sum(logits.log_softmax(-1) for logits in apart) / 2
    torch.testing.assert_close(together, expected, atol=1e-4, rtol=0)


def test_recognisers_of_an_ensemble_need_the_same_letters_and_no_dictionary(translator: Translator) -> None:
    alone = Translator(translator.model, None, translator.ctc)
    alone.join(Translator(translator.model, None, translator.ctc))
    assert len(alone.ensemble) == 1
    letters = CtcVocabulary({symbol: number for number, symbol in enumerate([*translator.ctc.symbols[:-1], "ß"])})
    with pytest.raises(ConfigError, match="must have the same letters in their CTC heads"):
        alone.join(Translator(translator.model, None, letters))


def test_sampling_options_make_a_translator_draw(translator: Translator, waves: list[np.ndarray]) -> None:
    draws = SamplingOptions(beam=4, nbest=4, max_len_b=20, seed=1)
    found = [
        [
            item.text
            for item in make(translator.model, translator, options).decode_batch(waves[:1], [["de"]])[0].nbest["de"]
        ]
        for options in (draws, draws, SamplingOptions(beam=4, nbest=4, max_len_b=20, seed=2))
    ]
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) > 1
    greedy = make(translator.model, translator, BeamOptions(beam=1, max_len_b=20)).decode_batch(waves[:1], [["de"]])
    drawn = make(translator.model, translator, SamplingOptions(beam=1, max_len_b=20, top_k=1))
    assert drawn.decode_batch(waves[:1], [["de"]])[0].translations == greedy[0].translations


def test_draws_of_a_recording_depend_on_no_other(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = make(translator.model, translator, SamplingOptions(beam=2, nbest=2, max_len_b=12, seed=1))
    together = drawing.decode_batch(waves[:4], [["de", "fr"], ["de"], ["fr"], ["de"]])
    # Everything in a part of its own, in another order.
    monkeypatch.setattr("st.decoding.parts.MAX_NUMBERS", 1)
    again = drawing.decode_batch(waves[3::-1], [["de"], ["fr"], ["de"], ["de", "fr"]])[::-1]
    assert [one.translations for one in again] == [one.translations for one in together]
    [first, second] = drawing.decode_batch([waves[0], waves[0]], [["de"], ["de"]])
    assert first.translations == second.translations
    assert first.translations["de"] == together[0].translations["de"]


@pytest.fixture
def run(checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_NO_TUNE", "1")
    common = ["translate", str(recordings / "a.wav"), "--to", "de", "--device", "cpu", "--max-len-b", "20"]

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([*common, "--checkpoint", str(checkpoint), *map(str, arguments)])
        return (code, *capsys.readouterr())

    return call


def test_a_model_twice_translates_as_it_does_alone(run, checkpoint: Path) -> None:
    assert run("--ensemble", checkpoint, "--ensemble", checkpoint)[:2] == run()[:2]


def test_a_model_twice_writes_what_it_writes_alone(
    checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")
    command = ["transcribe", str(recordings / "a.wav"), "--checkpoint", str(checkpoint), "--device", "cpu"]
    found = []
    for more in ([], ["--ensemble", str(checkpoint)]):
        assert main([*command, *more]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] != ""


def test_draws_of_the_command_follow_the_seed(run) -> None:
    def draws(*arguments: str) -> list[str]:
        code, out, _ = run("--sample", "--nbest", "4", "--format", "json", *arguments)
        assert code == 0
        return [item["text"] for item in json.loads(out)["nbest"]["de"]]

    first = draws("--temperature", "2")
    assert len(first) == 4
    assert first == draws("--temperature", "2", "--seed", "0")
    assert first != draws("--temperature", "2", "--seed", "7")
    assert len(set(draws("--top-k", "1"))) == 1
    best = draws("--top-p", "0.000001")
    assert len(set(best)) == 1
    assert draws("--top-p", "1e-300") == draws("--temperature", "0.0001") == best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--top-k", "3"), "--top-k needs --sample"),
        (("--seed", "3"), "--seed needs --sample"),
        (("--sample", "--nbest", "0"), "--nbest is 0; expected at least 1"),
        (("--sample", "--top-p", "1.5"), "--top-p is 1.5; expected from 0 to 1"),
        (("--sample", "--temperature", "1e-40"), "--temperature is 1e-40; expected at least 0.0001"),
        (("--sample", "--seed", str(2**64)), f"--seed is {2**64}; expected from -2^63 to 2^64 - 1"),
        (("--sample", "--seed", str(-(2**63) - 1)), "expected from -2^63 to 2^64 - 1"),
    ],
)
def test_options_of_drawing_that_make_no_sense_are_refused(run, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
