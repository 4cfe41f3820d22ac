from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from st.checkpoints.bundle import bundle_files
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.commands.shared.recordings import run_recordings
from st.decoding.options import BeamOptions
from st.decoding.parts import search_numbers
from st.errors import AudioError, CheckpointError, ConfigError, DecodingError, UsageError
from st.evaluation.covost2 import CODES
from st.inference import Translator, load_translator
from st.modules.config import ModelConfig
from st.modules.model import SpeechTranslator
from st.text.vocabulary import TextVocabulary


def _with_options(translator: Translator, *, keep_all: bool = False, **options) -> Translator:
    return Translator(
        translator.model, translator.text, translator.ctc, options=BeamOptions(**options), keep_all=keep_all
    )


def test_i01_empty_array_gives_empty_result(translator: Translator) -> None:
    result = translator.translate(np.zeros(0, dtype=np.float32), to="de")
    assert (result.transcript, dict(result.translations), result.reason) == ("", {"de": ""}, "empty_audio")


@pytest.mark.parametrize("num_samples", [1, 399])
def test_i02_too_short_gives_empty_result_and_reason(translator: Translator, num_samples: int) -> None:
    result = translator.translate(np.full(num_samples, 0.1, dtype=np.float32), to=["de", "fr"])
    assert (dict(result.translations), result.reason) == ({"de": "", "fr": ""}, "too_short")


def test_i02_400_samples_are_enough(translator: Translator, waves: list[np.ndarray]) -> None:
    assert translator.translate(waves[0][:400], to="de").reason is None


def test_i02_too_short_ones_keep_their_place_in_a_batch(translator: Translator, waves: list[np.ndarray]) -> None:
    mixed = [waves[0], np.zeros(10, np.float32), waves[1], np.zeros(0, np.float32)]
    results = translator.decode_batch(mixed, [["de"]] * 4)
    assert [result.reason for result in results] == [None, "too_short", None, "empty_audio"]
    assert _close(results[2], translator.decode_batch([waves[1]], [["de"]])[0])


@pytest.mark.parametrize("wave", [np.zeros(160_000), np.random.default_rng(0).standard_normal(160_000) * 0.1])
def test_i03_ten_seconds_of_silence_or_noise_give_bounded_finite_output(
    translator: Translator, wave: np.ndarray
) -> None:
    keeping = _with_options(translator, beam=3, max_len_b=30, keep_all=True)
    found = keeping.translate(wave, to="de").nbest["de"][0]
    assert len(found.text) <= 30
    assert np.isfinite(found.score)


def test_i03_a_repetition_loop_is_told_of_and_no_repeat_ngram_ends_it(
    tiny_config: ModelConfig, translator: Translator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).standard_normal(160_000) * 0.1
    looping = SpeechTranslator(tiny_config).eval()
    with torch.no_grad():
        # Whatever is heard and was said, one character is by far the most probable.
        looping.decoder.layer_norm.weight.zero_()
        favourite = looping.decoder.embed_tokens.weight[translator.text.encode("二")[-1]]
        looping.decoder.layer_norm.bias.copy_(40 * favourite)
    soundfile.write(tmp_path / "noise.wav", noise, 16_000)
    args = Namespace(audio=[str(tmp_path / "noise.wav")], out=tmp_path / "out", files=[], format="json", force=True)
    for ngram in (0, 1):
        options = BeamOptions(beam=2, max_len_b=30, no_repeat_ngram=ngram)
        caplog.clear()
        model = Translator(looping, translator.text, None, options=options, keep_all=True)
        assert run_recordings(args, model, ["de"]) == 0
        [found] = json.loads(args.out.read_text(encoding="utf-8"))["nbest"]["de"]
        assert found["repetition"] == (ngram == 0), found["text"]
        assert ("goes in circles, as happens where nobody speaks: de; --no-repeat-ngram" in caplog.text) == (ngram == 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_i04_nan_and_infinity_are_refused(translator: Translator, waves: list[np.ndarray], value: float) -> None:
    broken = waves[0].copy()
    broken[7] = value
    with pytest.raises(AudioError, match="NaN or infinite") as caught:
        translator.translate(broken, to="de")
    assert caught.value.reason == "non_finite"
    with pytest.raises(AudioError, match="utterance 1 of the batch"):
        translator.decode_batch([waves[1], broken], [["de"], ["de"]])


def _close(one, other) -> bool:
    """Same texts; scores equal but for the order of sums."""
    return (
        one.transcript == other.transcript
        and one.translations == other.translations
        and all(
            abs(a.score - b.score) < 1e-4
            for code in one.nbest
            for a, b in zip(one.nbest[code], other.nbest[code], strict=True)
        )
    )


@pytest.mark.parametrize("beam", [1, 5])
def test_i06_batch_of_one_equals_batch_of_eight(translator: Translator, waves: list[np.ndarray], beam: int) -> None:
    translator = _with_options(translator, beam=beam, max_len_b=30, max_len_a=0.1)
    targets = [["de"], ["fr", "ja"], ["en"], [], ["cy"], ["de", "en", "ru"], ["fr"], ["zh-CN"]]
    together = translator.decode_batch(waves, targets)
    alone = [translator.decode_batch([wave], [codes])[0] for wave, codes in zip(waves, targets, strict=True)]
    assert all(_close(one, other) for one, other in zip(together, alone, strict=True))
    assert [list(result.translations) for result in together] == targets
    german = [result.translations.get("de") for result in translator.decode_batch(waves, [["de"]] * 8)]
    assert len(set(german)) > 4, "the test shows nothing if all texts are alike"


def test_i06_order_is_restored_after_sorting_by_length(translator: Translator, waves: list[np.ndarray]) -> None:
    sorted_in_batches = translator.decode(waves, [["de"]] * 8, batch_seconds=4.0)
    together = translator.decode_batch(waves, [["de"]] * 8)
    assert all(_close(one, other) for one, other in zip(sorted_in_batches, together, strict=True))


def test_batches_hold_at_most_the_seconds_asked_for(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []
    encode = translator.model.encode
    monkeypatch.setattr(translator.model, "encode", lambda w, n: (shapes.append(tuple(w.shape)), encode(w, n))[1])
    translator.decode(waves, [[]] * 8, batch_seconds=4.0)
    assert sum(count for count, _ in shapes) == 8
    assert all(count * width <= 4.0 * 16_000 for count, width in shapes)
    assert 4 <= len(shapes) <= 6, "similar lengths stand together"


def test_loudness_and_offset_make_no_difference_as_xlsr_standardises(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    encode = translator.model.encode
    monkeypatch.setattr(translator.model, "encode", lambda w, n: (seen.append(w), encode(w, n))[1])
    plain, quiet = translator.decode_batch([waves[0], waves[0] * 0.25 + 0.1], [["de"]] * 2)
    expected = torch.nn.functional.layer_norm(torch.from_numpy(waves[0]), waves[0].shape)
    torch.testing.assert_close(seen[0][0], expected, atol=1e-4, rtol=1e-4)
    assert plain.translations == quiet.translations
    raw = Translator(translator.model, translator.text, translator.ctc, standardize_audio=False)
    raw.decode_batch([waves[0]], [[]])
    torch.testing.assert_close(seen[1][0], torch.from_numpy(waves[0]))


def test_utterances_are_encoded_once_for_all_targets(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    encode = translator.model.encode
    monkeypatch.setattr(translator.model, "encode", lambda w, n: (calls.append(len(w)), encode(w, n))[1])
    translator.decode_batch(waves[:2], [["de", "fr", "en"], ["ja", "ta"]])
    assert calls == [2]


def test_targets_split_over_several_searches_give_the_same(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = [["de", "fr", "en"], ["ja", "ta"]]
    whole = translator.decode_batch(waves[:2], targets)
    monkeypatch.setattr("st.decoding.parts.MAX_NUMBERS", 2 * search_numbers([translator.model.config], 3))
    parts = translator.decode_batch(waves[:2], targets)
    assert all(_close(one, other) for one, other in zip(whole, parts, strict=True))


def test_i08_truncation_is_flagged(translator: Translator, waves: list[np.ndarray]) -> None:
    limited = _with_options(translator, beam=2, max_len_b=3).decode_batch(waves, [["de"]] * 8)
    free = _with_options(translator, beam=2, max_len_b=50).decode_batch(waves, [["de"]] * 8)
    assert any(result.nbest["de"][0].truncated for result in limited)
    ended = [result.nbest["de"][0] for result in free if not result.nbest["de"][0].truncated]
    assert ended, "some sentence must end by itself"


def test_i09_language_tag_is_forced_for_all_languages(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    decode = TextVocabulary.decode
    monkeypatch.setattr(TextVocabulary, "decode", lambda self, ids: (seen.append(list(ids)), decode(self, ids))[1])
    codes = list(CODES)
    translator.decode_batch([waves[1]], [codes])
    symbols = translator.text.symbols
    assert [symbols[ids[0]] for ids in seen] == [f"<lang:{code}>" for code in codes]


def test_i09_unknown_language_is_an_error_that_lists_the_known(translator: Translator, waves: list[np.ndarray]) -> None:
    with pytest.raises(ConfigError, match=r"no language tag <lang:xx> for 'xx'; it has tags for: en fr de"):
        translator.translate(waves[0], to="xx")


def test_i09_language_without_a_tag_is_an_error_that_lists_those_there_are(
    translator: Translator, waves: list[np.ndarray], tree: Path
) -> None:
    symbols = [symbol for symbol in translator.text.symbols[4:] if not symbol.startswith("<lang:d")]
    few = TextVocabulary(tree / "spm.model", symbols)
    with pytest.raises(ConfigError, match="'de'; it has tags for: en fr"):
        Translator(translator.model, few, None).translate(waves[0], to="de")


def test_i10_output_never_contains_specials_tags_or_word_marks(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random weights choose any token, tags and <unk> among them; make sure that they do.
    chosen: set[int] = set()
    decode = TextVocabulary.decode
    monkeypatch.setattr(
        TextVocabulary, "decode", lambda self, ids: (chosen.update(ids[1:]), decode(self, list(ids)))[1]
    )
    wide = _with_options(translator, beam=8, nbest=8, max_len_b=40, temperature=3.0)
    results = wide.decode_batch(waves, [["de", "ja", "fr", "ru"]] * 8)
    text = translator.text
    assert any(text.is_tag(token) for token in chosen)
    assert text.unk in chosen
    for result in results:
        for found in result.nbest.values():
            for item in found:
                assert not any(mark in item.text for mark in ("<", ">", "▁", "[", "</s>"))
        assert not any(mark in result.transcript for mark in ("<", "|", "▁"))


def test_i11_same_call_twice_is_identical_and_failures_leave_no_trace(
    translator: Translator, waves: list[np.ndarray]
) -> None:
    first = translator.decode_batch(waves, [["de"]] * 8)
    with pytest.raises(ConfigError):
        translator.translate(waves[0], to="xx")
    with pytest.raises(AudioError):
        translator.translate(np.full(16_000, np.nan), to="de")
    assert translator.decode_batch(waves, [["de"]] * 8) == first


def test_transcribing_needs_no_targets(translator: Translator, waves: list[np.ndarray]) -> None:
    result = translator.transcribe(waves[2])
    assert result.transcript
    assert not result.translations
    assert result.transcript == translator.translate(waves[2], to="de").transcript


def test_model_without_ctc_head_translates_but_does_not_transcribe(
    translator: Translator, waves: list[np.ndarray]
) -> None:
    config = dataclasses.replace(translator.model.config, heads={})
    bare = Translator(SpeechTranslator(config), translator.text, None, options=BeamOptions(max_len_b=5))
    assert bare.translate(waves[0], to="de").transcript is None
    with pytest.raises(DecodingError, match="no CTC head"):
        bare.transcribe(waves[0])


def test_model_without_decoder_transcribes_but_does_not_translate(
    translator: Translator, waves: list[np.ndarray]
) -> None:
    config = dataclasses.replace(translator.model.config, parts=("encoder",))
    recogniser = Translator(SpeechTranslator(config), None, translator.ctc)
    assert recogniser.languages == ()
    assert isinstance(recogniser.transcribe(waves[0]).transcript, str)
    with pytest.raises(DecodingError, match="no length_adaptor and no decoder; it cannot translate"):
        recogniser.translate(waves[0], to="de")


def test_weights_that_are_not_finite_are_an_error(translator: Translator, waves: list[np.ndarray]) -> None:
    broken = SpeechTranslator(translator.model.config)
    torch.nn.init.constant_(broken.decoder.layer_norm.weight, float("nan"))
    with pytest.raises(DecodingError, match="NaN or infinity"):
        Translator(broken, translator.text, translator.ctc).translate(waves[0], to="de")


def test_bfloat16_stays_close_and_parameters_of_norms_stay_fp32(checkpoint: Path, waves: list[np.ndarray]) -> None:
    exact = load_translator(checkpoint, device="cpu", beam=1, max_len_b=10)
    rounded = load_translator(checkpoint, device="cpu", dtype="bfloat16", beam=1, max_len_b=10)
    assert rounded.model.decoder.embed_tokens.weight.dtype == torch.bfloat16
    assert rounded.model.decoder.layer_norm.weight.dtype == torch.float32
    one, other = (item.decode_batch(waves, [["de"]] * 8) for item in (exact, rounded))
    differences = [abs(a.nbest["de"][0].score - b.nbest["de"][0].score) for a, b in zip(one, other, strict=True)]
    assert 0 < float(np.median(differences)) < 0.2


def test_load_translator_takes_everything_from_the_checkpoint(
    checkpoint: Path, translator: Translator, waves: list[np.ndarray]
) -> None:
    loaded = load_translator(checkpoint, device="cpu", beam=3, max_len_b=30)
    assert loaded.languages == CODES
    # Packed for this CPU, the model that was loaded may sum in another order.
    ours, theirs = (item.decode_batch(waves, [["de"]] * 8) for item in (loaded, translator))
    assert all(_close(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "abacus"}, UsageError, "no device 'abacus'"),
        ({"device": "cuda:99"}, UsageError, "CUDA devices"),
        ({"dtype": "int3"}, UsageError, "no number type 'int3'"),
        ({"beam": 0}, ConfigError, "`beam` is 0"),
        ({"nbest": 9}, ConfigError, r"`nbest` is 9; expected from 1 to the beam \(5\)"),
        ({"temperature": 0.0}, ConfigError, "`temperature` is 0.0"),
    ],
)
def test_bad_options_are_named(checkpoint: Path, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_translator(checkpoint, **options)


def test_there_must_be_target_languages_for_each_recording(translator: Translator, waves: list[np.ndarray]) -> None:
    for decode in (translator.decode, translator.decode_batch):
        for targets in ([], [["de"]], [["de"]] * 9):
            with pytest.raises(ValueError, match=f"found 8 recordings and {len(targets)} lists"):
                decode(waves, targets)


def test_languages_that_are_spoken_are_checked_even_where_nobody_asks_for_them(
    translator: Translator, waves: list[np.ndarray]
) -> None:
    for spoken in ([], ["fr"], ["fr"] * 9):
        with pytest.raises(ValueError, match=f"found 8 recordings and {len(spoken)} languages that are spoken"):
            translator.decode_batch(waves, [["de"]] * 8, spoken)
    with pytest.raises(UsageError, match="no language 'klingon'"):
        translator.decode_batch(waves, [["de"]] * 8, ["fr"] * 7 + ["klingon"])


def test_i04_what_cannot_be_scored_is_refused(translator: Translator, waves: list[np.ndarray]) -> None:
    broken = np.full(20_000, np.nan, np.float32)
    with pytest.raises(AudioError, match="utterance 1 of the batch holds NaN"):
        translator.score_batch([waves[0], broken], [(1, "de", "Hallo")])
    with pytest.raises(DecodingError, match="utterance 1 of the batch is too short"):
        translator.score_batch([waves[0], waves[0][:399]], [(1, "de", "Hallo")])
    for number in (-1, 2):
        with pytest.raises(ValueError, match=f"for utterance {number}; expected 0 to 1"):
            translator.score_batch(waves[:2], [(number, "de", "Hallo")])
    assert len(translator.score_batch([waves[0], broken], [(0, "de", "Hallo")])) == 1


@pytest.mark.parametrize("name", ["a\0b", "a\0b:1:5", "\ud800", "\ud800:1:5"])
def test_names_that_no_file_can_have_are_missing(translator: Translator, name: str) -> None:
    with pytest.raises(AudioError, match="no such file") as caught:
        translator.translate(name, to="de")
    assert caught.value.reason == "missing"


def test_one_checkpoint_is_an_ensemble_too(checkpoint: Path) -> None:
    assert len(load_translator(checkpoint, ensemble=str(checkpoint)).ensemble) == 1
    with pytest.raises(CheckpointError, match=r"^no\.pt: no such file"):
        load_translator(checkpoint, ensemble=Path("no.pt"))


def test_a_checkpoint_with_unmasked_padding_still_translates_a_batch_as_one_by_one(
    tiny_model: SpeechTranslator, tiny_config: ModelConfig, tree: Path, tmp_path: Path, waves: list[np.ndarray]
) -> None:
    origin = dataclasses.replace(
        tiny_config,
        length_adaptor=dataclasses.replace(tiny_config.length_adaptor, legacy_padding=True, mask_input=False),
    )
    bundle = {"format": 1, "model_config": origin.to_dict(), "files": bundle_files(tree)}
    path = tmp_path / "published.pt"
    torch.save({"model": to_fairseq(tiny_model.state_dict()), "task_state": {"st_bundle": bundle}}, path)
    states = {}
    for padding in ("masked", None):
        model = load_translator(path, padding=padding).model
        lengths = torch.tensor([len(waves[1]), len(waves[2])])
        batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(waves[n]) for n in (1, 2)], batch_first=True)
        with torch.no_grad():
            together = model.adapt(model.encode(batch, lengths))
            alone = model.adapt(model.encode(batch[:1, : lengths[0]], lengths[:1]))
        states[padding] = (together.states[0, : alone.lengths[0]] - alone.states[0]).abs().max()
    assert states["masked"] < 1e-4
    assert states[None] > 1e-2
