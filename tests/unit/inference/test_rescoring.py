from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from decoding_models import make_memory, make_model, make_prefix

from st.cli import main
from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions
from st.decoding.rescoring import score_targets
from st.errors import ConfigError, DecodingError
from st.inference import Translator
from st.inference.rescoring import RescoreOptions, Rescorer
from st.modules.model import SpeechTranslator
from st.text.vocabulary import TextVocabulary


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"length_penalty": 0.6, "temperature": 1.7},
        {"normalize_scores": False, "max_len_b": 6},
    ],
)
def test_score_of_a_hypothesis_is_the_beams(options: dict[str, float]) -> None:
    model, memory = make_model(), make_memory(4)
    beam = BeamOptions(**{"beam": 4, "nbest": 4, "max_len_b": 20, **options})
    found = beam_search(model, memory, make_prefix(4), beam)
    rows = torch.arange(4).repeat_interleave(4)
    hypotheses = [one for row in found for one in row]
    assert len({len(one.tokens) for one in hypotheses}) > 1
    scored = score_targets(model, memory.select(rows), [one.tokens for one in hypotheses], beam)
    for one, other in zip(hypotheses, scored, strict=True):
        assert other.tokens == one.tokens
        assert other.score == pytest.approx(one.score, abs=1e-4)
        assert other.token_scores == pytest.approx(one.token_scores, abs=1e-4)


def test_targets_beyond_the_positions_are_an_error_and_none_are_none() -> None:
    model, memory = make_model(), make_memory(1)
    assert score_targets(model, memory, [], BeamOptions()) == []
    assert len(score_targets(model, memory, [[4] * 63], BeamOptions())) == 1
    with pytest.raises(DecodingError, match="64 tokens; the decoder has positions for 63"):
        score_targets(model, memory, [[4] * 64], BeamOptions())


def _with(translator: Translator, **options) -> Translator:
    return Translator(translator.model, translator.text, translator.ctc, options=BeamOptions(**options))


def test_score_of_a_text_is_that_of_its_pieces(translator: Translator, waves: list[np.ndarray]) -> None:
    scored = translator.score(waves[0], "der Satz", "de")
    text = translator.text
    assert scored.tokens == (text.language_id("de"), *text.encode("der Satz"))
    assert scored.text == "der Satz"
    found = translator.decode_batch(waves[:2], [["de"], ["fr"]])
    again = translator.score_batch(
        waves[:2], [(1, "fr", found[1].nbest["fr"][0].tokens), (0, "de", found[0].nbest["de"][0].tokens)]
    )
    assert again[0].score == pytest.approx(found[1].nbest["fr"][0].score, abs=1e-4)
    assert again[1].score == pytest.approx(found[0].nbest["de"][0].score, abs=1e-4)
    with pytest.raises(ConfigError, match="for 'xx'; it has tags for: en fr"):
        translator.score(waves[0], "der Satz", "xx")
    with pytest.raises(DecodingError, match="too short"):
        translator.score(waves[0][:9], "der Satz", "de")


@pytest.fixture
def other(translator: Translator) -> Translator:
    """A second model of the same vocabulary."""
    torch.manual_seed(11)
    model = SpeechTranslator(translator.model.config).eval()
    with torch.no_grad():
        model.decoder.layer_norm.weight.mul_(1.6)
    return Translator(model, translator.text, translator.ctc)


def test_scores_are_weighed_and_the_order_follows(
    translator: Translator, other: Translator, waves: list[np.ndarray]
) -> None:
    beam = _with(translator, beam=5, nbest=5, max_len_b=15)
    plain = beam.decode_batch(waves[:4], [["de", "fr"], ["de"], [], ["ja"]])
    beam.rescorer = Rescorer(RescoreOptions(weight=0.7, length_reward=0.1, keep=3), other)
    moved = 0
    for number, (before, after) in enumerate(
        zip(plain, beam.decode_batch(waves[:4], [["de", "fr"], ["de"], [], ["ja"]]), strict=True)
    ):
        assert list(after.translations) == list(before.translations)
        assert after.transcript == before.transcript
        for code, items in before.nbest.items():
            expected = {}
            for item in items:
                [second] = other.score_batch([waves[number]], [(0, code, item.tokens)])
                expected[item.tokens] = 0.3 * item.score + 0.7 * second.score + 0.1 * (len(item.tokens) + 1)
            order = sorted(expected, key=lambda tokens: -expected[tokens])[:3]
            assert [item.tokens for item in after.nbest[code]] == order
            assert [item.score for item in after.nbest[code]] == pytest.approx([expected[t] for t in order], abs=1e-4)
            assert after.translations[code] == after.nbest[code][0].text
            moved += order[0] != items[0].tokens
    assert moved


def test_the_same_model_or_no_weight_changes_nothing(
    translator: Translator, other: Translator, waves: list[np.ndarray]
) -> None:
    beam = _with(translator, beam=4, nbest=4, max_len_b=15)
    plain = beam.decode_batch(waves, [["de"]] * 8)
    for weight, second in ((1.0, _with(translator)), (0.0, other)):
        beam.rescorer = Rescorer(RescoreOptions(weight=weight, keep=4), second)
        for one, result in zip(plain, beam.decode_batch(waves, [["de"]] * 8), strict=True):
            before, after = one.nbest["de"], result.nbest["de"]
            assert [item.score for item in after] == pytest.approx([item.score for item in before], abs=1e-4)
    beam.rescorer = Rescorer(RescoreOptions(keep=4, length_reward=5.0))
    for result in beam.decode_batch(waves, [["de"]] * 8):
        lengths = [len(item.tokens) for item in result.nbest["de"]]
        assert lengths == sorted(lengths, reverse=True)


def test_models_with_another_dictionary_read_the_text(
    translator: Translator, waves: list[np.ndarray], tree: Path
) -> None:
    shuffled = TextVocabulary(tree / "spm.model", translator.text.symbols[:3:-1])
    second = Translator(translator.model, shuffled, translator.ctc, options=translator.options)
    beam = _with(translator, beam=3, nbest=3, max_len_b=10)
    beam.rescorer = Rescorer(RescoreOptions(weight=1.0, keep=3), second)
    for item in beam.decode_batch(waves[:1], [["de"]])[0].nbest["de"]:
        tokens = (shuffled.language_id("de"), *shuffled.encode(item.text))
        assert item.score == pytest.approx(second.score_batch(waves[:1], [(0, "de", tokens)])[0].score, abs=1e-4)


def test_too_short_recordings_pass_through(translator: Translator, other: Translator, waves: list[np.ndarray]) -> None:
    beam = _with(translator, beam=2, nbest=2, max_len_b=10)
    beam.rescorer = Rescorer(RescoreOptions(), other)
    short, fine = beam.decode_batch([waves[0][:5], waves[1]], [["de"], ["de"]])
    assert (short.reason, dict(short.translations)) == ("too_short", {"de": ""})
    assert fine.nbest["de"]


def test_what_the_second_model_cannot_take_keeps_the_scores_of_the_first(
    translator: Translator, waves: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    [fine, unheard] = _with(translator, beam=3, nbest=3, max_len_b=6).decode_batch(waves[:2], [["de"]] * 2)
    [too_long] = _with(translator, beam=3, nbest=3, max_len_b=15).decode_batch(waves[2:3], [["de"]])
    plain = [fine, unheard, too_long]
    config = translator.model.config
    torch.manual_seed(11)
    narrow = dataclasses.replace(config.decoder, max_positions=max(len(item.tokens) for item in too_long.nbest["de"]))
    second = Translator(SpeechTranslator(dataclasses.replace(config, decoder=narrow)), translator.text, None)
    second._min_samples = len(waves[1]) + 1
    after = Rescorer(RescoreOptions(weight=0.5, keep=3), second)(translator, waves[:3], plain)
    assert "2 recordings" in caplog.text
    scores = [[[item.score for item in one.nbest["de"]] for one in results] for results in (plain, after)]
    assert scores[1][1:] == [pytest.approx(row) for row in scores[0][1:]]
    assert scores[1][0] != pytest.approx(scores[0][0])


@pytest.mark.parametrize(
    "options", [{"weight": 1.2}, {"weight": -0.1}, {"keep": 0}, {"length_reward": math.nan}, {"length_reward": -1e300}]
)
def test_rescore_options_out_of_range_are_errors(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="is"):
        RescoreOptions(**options)


def test_second_model_that_cannot_translate_is_an_error(translator: Translator) -> None:
    config = dataclasses.replace(translator.model.config, parts=("encoder",))
    second = Translator(SpeechTranslator(config), None, translator.ctc)
    with pytest.raises(DecodingError, match="cannot translate"):
        Rescorer(RescoreOptions(), second)


def test_rescoring_on_the_command_line(
    checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")
    common = ["translate", str(recordings / "a.wav"), "--checkpoint", str(checkpoint), "--to", "de", "--beam", "3"]
    common += ["--max-len-b", "12", "--device", "cpu", "--format", "json"]
    assert main([*common, "--nbest", "3"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert main([*common, "--nbest", "2", "--rescore", str(checkpoint), "--rescore-weight", "1"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert [item["text"] for item in same["nbest"]["de"]] == [item["text"] for item in plain["nbest"]["de"][:2]]
    assert main([*common, "--length-reward", "9"]) == 0
    long = json.loads(capsys.readouterr().out)["translations"]["de"]
    assert long in [item["text"] for item in plain["nbest"]["de"]]
    assert main([*common, "--rescore", str(checkpoint), "--rescore-weight", "2"]) == 2
    assert "--rescore-weight is 2.0" in capsys.readouterr().err
