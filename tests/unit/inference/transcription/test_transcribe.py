from __future__ import annotations

import dataclasses
import itertools
import json
import re
import unicodedata
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from ngram_oracle import stand_in

from st.cli import main
from st.commands.shared.recordings import run_recordings
from st.data.manifest import ManifestRow, write_manifest
from st.decoding import parts
from st.decoding.ctc_prefix import PrefixOptions, ctc_prefix_search
from st.decoding.language_model.letters import LetterModel
from st.decoding.options import BeamOptions
from st.errors import AudioError, ConfigError, DecodingError, UsageError
from st.inference import DecodedUtterance, TimedText, TranscriptOptions, Translator
from st.inference.audio_input import load_waveform
from st.inference.precision import convert_products
from st.inference.recordings import RecordingResult
from st.inference.results.formats import TIMED_FORMATS, timed_pieces
from st.inference.transcription.letters import possible_labels
from st.inference.transcription.transcriber import Transcriber
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary


def _with(translator: Translator, **options) -> Translator:
    return Translator(translator.model, translator.text, translator.ctc, transcripts=TranscriptOptions(**options))


def _texts(translator: Translator, waves: list[np.ndarray]) -> list[str | None]:
    return [result.transcript for result in translator.decode_batch(waves, [[]] * len(waves))]


# -- searches -----------------------------------------------------------------------------------------------------


def test_prefix_search_agrees_with_the_best_path_where_that_is_sure(
    translator: Translator, waves: list[np.ndarray]
) -> None:
    plain = _texts(translator, waves)
    wide = _texts(_with(translator, search=PrefixOptions(beam=8)), waves)
    floored = _texts(_with(translator, search=PrefixOptions(beam=8, label_floor=-12.0)), waves)
    assert wide == floored
    assert sum(one == other for one, other in zip(plain, wide, strict=True)) >= 1


def test_i18_language_model_moves_the_transcript(
    translator: Translator, waves: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch)
    letters = [symbol for symbol in translator.ctc.symbols[4:] if len(symbol) == 1]
    lines = [f"{-0.3 if letter == 'x' else -3.0}\t{letter}\t0" for letter in letters]
    arpa = ["\\data\\", "", "\\1-grams:", "-9\t<unk>\t0", "-99\t<s>\t0", "-1\t</s>\t0", *lines, "", "\\end\\"]
    path = tmp_path / "lm.arpa"
    path.write_text("\n".join(arpa), encoding="utf-8")
    search = PrefixOptions(beam=8, model_weight=2.0, labels_per_frame=1000)
    plain = "".join(_texts(_with(translator, search=PrefixOptions(beam=8)), waves[:3]))
    helped = "".join(_texts(_with(translator, search=search, lm=path), waves[:3]))
    assert helped.count("x") / max(1, len(helped)) > plain.count("x") / len(plain)


def test_transcripts_of_a_tree_help_the_search(run, translator: Translator, tmp_path: Path) -> None:
    texts = ["der erste satz", "x x x x x x", "three small birds"]
    rows = [ManifestRow(f"c{n}", "c.wav", 16_000, text, "", text, "de", "de") for n, text in enumerate(texts)]
    write_manifest(tmp_path / "asr_train_de.tsv", rows)
    code, out, err = run("a.wav", "--lm", str(tmp_path), "--beam", "6", "--lm-weight", "2")
    assert code == 0, err
    search = PrefixOptions(beam=6, label_floor=-12.0, model_weight=2.0, label_bonus=0.5)
    encoded = translator._encode([load_waveform("a.wav")])
    model = LetterModel.from_tree(tmp_path, translator.ctc)
    with torch.inference_mode():
        found = ctc_prefix_search(translator.model.ctc_logits(encoded), encoded.lengths, search, model=model)
    assert out == translator.ctc.decode(found[0][0].labels, collapse=False) + "\n"
    assert out != run("a.wav", "--beam", "6")[1]
    code, _, err = run("a.wav", "--lm", str(tmp_path), "--hotword", "satz")
    assert (code, "--hotword needs --lm FOLDER" in err) == (2, True)


@pytest.mark.parametrize("weight", [0.0, 0.4])
def test_decoder_transcribes_as_its_beam_search_does(
    translator: Translator, waves: list[np.ndarray], weight: float
) -> None:
    """With weight 0 it is the translation into the spoken language; otherwise the CTC head has its say."""
    options = BeamOptions(beam=3, max_len_b=20, joint_ctc_weight=weight)
    writer = _with(translator, language="fr", decoder=options)
    plain = Translator(translator.model, translator.text, translator.ctc, options=BeamOptions(beam=3, max_len_b=20))
    expected = [result.translations["fr"] for result in plain.decode_batch(waves, [["fr"]] * 8)]
    assert (_texts(writer, waves) == expected) == (weight == 0.0)
    alone = [_texts(writer, [wave])[0] for wave in waves]
    assert alone == _texts(writer, waves)


def test_i08_transcripts_that_the_limit_cuts_off_are_flagged_and_warned_of(
    translator: Translator, recordings: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    args = Namespace(audio=[str(recordings / "a.wav")], out=tmp_path / "out.json", files=[], format="json")
    for limit, cut in ((2, True), (200, False)):
        options = BeamOptions(beam=1, max_len_b=limit, joint_ctc_weight=1.0)
        caplog.clear()
        assert run_recordings(args, _with(translator, language="fr", decoder=options), []) == 0
        assert json.loads(args.out.read_text(encoding="utf-8"))["truncated"] is cut
        assert ("cut off at the length limit: the transcript" in caplog.text) is cut


def test_decoder_writes_each_recording_in_its_own_language(translator: Translator, waves: list[np.ndarray]) -> None:
    options = BeamOptions(beam=3, max_len_b=20, joint_ctc_weight=0.4)
    writer = _with(translator, decoder=options)
    codes = [("fr", "de", "ja")[number % 3] for number in range(len(waves))]
    found = writer.decode_batch(waves, [["de"]] * len(waves), codes)
    alone = [writer.decode_batch([wave], [[]], [code])[0] for wave, code in zip(waves, codes, strict=True)]
    assert [result.transcript for result in found] == [result.transcript for result in alone]
    assert [result.transcript for result in found] != [
        result.transcript for result in writer.decode_batch(waves, [[]] * len(waves), codes[1:] + codes[:1])
    ]
    with pytest.raises(DecodingError, match="language that is spoken"):
        writer.decode_batch(waves, [[]] * len(waves))


def test_joint_scores_are_those_of_both_heads(
    translator: Translator, waves: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of the winner, letter by letter, in torch's own CTC loss; its pieces in the training forward."""
    seen = []
    search = parts.beam_search
    monkeypatch.setattr(parts, "beam_search", lambda *a, **k: seen.append((a, search(*a, **k))) or seen[-1][1])
    options = BeamOptions(beam=3, max_len_b=12, joint_ctc_weight=0.4, normalize_scores=False)
    _texts(_with(translator, language="fr", decoder=options), waves[2:3])
    [(([model], [memory], forced, _, _), [[best]])] = seen
    assert best.tokens[0] == int(forced[0])
    with torch.no_grad():
        scores = model.decoder(torch.tensor([[2, *best.tokens]]), memory.states, memory.lengths)[0].log_softmax(-1)
        spelt = [
            translator.ctc.encode(translator.text.decode(best.tokens[:end])) for end in range(len(best.tokens) + 1)
        ]
        # The decoder alone judges pieces that add no letters, but for the tag.
        alone = [place > 0 and one == two for place, (one, two) in enumerate(itertools.pairwise(spelt))]
        weights = torch.tensor([1.0 if silent else 0.6 for silent in [*alone, False]])
        attention = float((weights * scores[range(len(best.tokens) + 1), [*best.tokens, 2]]).sum())
        encoded = translator._encode(waves[2:3])
        possible = possible_labels(translator.ctc, "fr")
        logits = model.ctc_logits(encoded).masked_fill(~possible, -1e4)
    labels = translator.ctc.encode(translator.text.decode(best.tokens))
    loss = torch.nn.functional.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), torch.tensor([labels]), encoded.lengths, torch.tensor([len(labels)]),
        reduction="sum",
    )  # fmt: skip
    assert best.score == pytest.approx(attention - 0.4 * float(loss), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": BeamOptions(), "language": "fr", "search": PrefixOptions()}, "does not go together"),
        ({"lm": Path("lm.arpa")}, "needs a search"),
        ({"lm": Path("none.arpa"), "search": PrefixOptions()}, "no such language model"),
    ],
)
def test_i18_options_that_contradict_each_other_are_errors(translator: Translator, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _with(translator, **options)


def test_decoder_that_is_not_there_is_an_error(translator: Translator) -> None:
    config = dataclasses.replace(translator.model.config, parts=("encoder",))
    options = TranscriptOptions(language="fr", decoder=BeamOptions())
    with pytest.raises(DecodingError, match="no decoder"):
        Translator(SpeechTranslator(config), None, translator.ctc, transcripts=options)


def test_a_recogniser_computes_in_bfloat16(translator: Translator, waves: list[np.ndarray]) -> None:
    config = dataclasses.replace(translator.model.config, parts=("encoder",))
    model = SpeechTranslator(config)
    convert_products(model, torch.bfloat16)
    assert model.encoder.post_extract_proj.weight.dtype == torch.bfloat16
    recogniser = Translator(model, None, translator.ctc, dtype=torch.bfloat16)
    assert recogniser.transcribe(waves[0]).transcript is not None


def test_i10_what_the_decoder_writes_holds_no_tags_or_marks(translator: Translator, waves: list[np.ndarray]) -> None:
    wild = BeamOptions(beam=4, max_len_b=40, temperature=3.0, joint_ctc_weight=0.2)
    for text in _texts(_with(translator, language="de", decoder=wild), waves):
        assert not any(mark in text for mark in ("<", ">", "▁", "[", "|"))


# -- letters of a language ----------------------------------------------------------------------------------------


def test_letters_of_other_scripts_are_left_out(translator: Translator, waves: list[np.ndarray]) -> None:
    kept = {
        code: "".join(
            s
            for s, fits in zip(translator.ctc.symbols, possible_labels(translator.ctc, code).tolist(), strict=True)
            if fits
        )
        for code in ("fr", "ru", "ja")
    }
    assert "è" in kept["fr"]
    assert not set("ещё二つ") & set(kept["fr"])
    assert set("ещё") <= set(kept["ru"])
    assert not set("bèx二") & set(kept["ru"])
    assert set("二つの文") <= set(kept["ja"])
    assert all(text.startswith("<pad><s></s><unk>|") for text in kept.values())
    free, french = "".join(_texts(translator, waves)), "".join(_texts(_with(translator, language="fr"), waves))
    assert set("ещднолв二つの文") & set(free), "the test shows nothing if the head is sure of its script"
    assert french
    assert not set("ещднолв二つの文") & set(french)
    assert possible_labels(translator.ctc, "qaa").all(), "nobody knows how this is written"
    with pytest.raises(UsageError, match="no language 'klingon'"):
        possible_labels(translator.ctc, "klingon")


def test_a_head_without_the_letters_of_the_language_is_warned_of(
    translator: Translator, caplog: pytest.LogCaptureFixture
) -> None:
    _with(translator, language="ru")
    assert not caplog.records
    latin = CtcVocabulary.build({"xx": ["abc"]})
    for code, found in (("fr", 0), ("ru", 1), ("ja", 1)):
        caplog.clear()
        Transcriber(translator.model, latin, None, TranscriptOptions(language=code))
        assert len(caplog.records) == found
    assert "no letters that ja is written in" in caplog.text


def test_vocabulary_of_the_language_decides_where_the_tree_has_one(translator: Translator, tmp_path: Path) -> None:
    CtcVocabulary.build({"fr": ["abé"]}).save(tmp_path / "ctc_vocab_fr.json")
    possible = possible_labels(translator.ctc, "fr", tmp_path).tolist()
    kept = [symbol for symbol, fits in zip(translator.ctc.symbols, possible, strict=True) if fits]
    assert kept == ["<pad>", "<s>", "</s>", "<unk>", "|", *sorted(set("abé") & set(translator.ctc.symbols))]


# -- times --------------------------------------------------------------------------------------------------------


def test_i19_times_of_a_transcript(translator: Translator, waves: list[np.ndarray]) -> None:
    timed = _with(translator, times=True)
    for wave, result in zip(waves, timed.decode_batch(waves, [[]] * 8), strict=True):
        assert " ".join(word.text for word in result.words).replace(" ", "") == result.transcript.replace(" ", "")
        assert all(0 <= word.start_s < word.end_s <= len(wave) / 16_000 for word in result.words)
        [alone] = timed.decode_batch([wave], [[]])
        assert [word.start_s for word in alone.words] == [word.start_s for word in result.words]
    [empty] = timed.decode_batch([waves[0][:0]], [[]])
    assert empty.words == ()
    assert translator.decode_batch(waves[:1], [[]])[0].words is None


def test_i19_given_texts_are_aligned_or_refused(translator: Translator, waves: list[np.ndarray]) -> None:
    words = translator.align(waves[2], "Der erste Satz.")
    assert [word.text for word in words] == ["Der", "erste", "Satz."]
    assert words[0].end_s <= words[1].start_s
    for text, message in (("", "no letter"), ("qqq", "cannot align q"), ("der " * 99, "do not belong together")):
        with pytest.raises(DecodingError, match=message):
            translator.align(waves[2], text)
    with pytest.raises(DecodingError, match="too short"):
        translator.align(waves[2][:300], "der")
    with pytest.raises(AudioError):
        translator.align(np.full(16_000, np.nan), "der")


WORDS = (
    TimedText("Tom", 0.1, 0.42, 0.9, 0),
    TimedText("&", 0.5, 0.6, 0.5, 4),
    TimedText("<Ann>", 0.61, 1.0, 0.7, 6),
    TimedText("-->", 3661.5, 3662.25, 0.4, 12),
)
RESULT = RecordingResult("a\tb.wav", DecodedUtterance("Tom & <Ann> -->", {}, words=WORDS))


def test_i15_subtitles() -> None:
    pieces = timed_pieces(RESULT, "segment")
    assert TIMED_FORMATS["srt"](RESULT, pieces, True) == (
        "1\n00:00:00,100 --> 00:00:01,000\nTom & \uff1cAnn\uff1e\n\n2\n01:01:01,500 --> 01:01:02,250\n--\uff1e\n\n"
    )
    assert TIMED_FORMATS["vtt"](RESULT, pieces, True) == (
        "00:00:00.100 --> 00:00:01.000\nTom &amp; &lt;Ann&gt;\n\n01:01:01.500 --> 01:01:02.250\n--&gt;\n\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a ---> b -> c",
        "1 < 2 > 0 <i>x</i> <b>",
        "{\\an8}hi {there}",
        "one\\Ntwo\\h",
        "0:00:01,000 --> 00:00:02.5",
        "12:30 & 7",
        "7",
    ],
)
def test_i15_no_text_is_markup_in_srt(text: str) -> None:
    cues = TIMED_FORMATS["srt"](RESULT, [TimedText(text, 1.0, 2.0, 0.9)] * 2, True)
    first, second, end = cues.split("\n\n")
    assert (first.split("\n")[0], second.split("\n")[0], end) == ("1", "2", "")
    written = first.split("\n", 2)[2]
    assert unicodedata.normalize("NFKC", written) == text
    assert not re.search(r"[<>{}\\]|\d:\d+:\d+[.,]\d", written)


def test_tables_text_and_json_of_words() -> None:
    pieces = timed_pieces(RESULT, "word")
    assert TIMED_FORMATS["text"](RESULT, pieces[:1], True) == "0.10\t0.42\tTom\n"
    assert TIMED_FORMATS["text"](RESULT, pieces[:1], False) == "a\\tb.wav\t0.10\t0.42\tTom\n"
    assert TIMED_FORMATS["tsv"](RESULT, pieces[:1], True) == "a\\tb.wav\t0.100\t0.420\tTom\t0.900\n"
    content = json.loads(TIMED_FORMATS["json"](RESULT, pieces, True))
    assert content["pieces"][2] == {"text": "<Ann>", "start": 0.61, "end": 1.0, "confidence": 0.7}
    assert content["transcript"] == "Tom & <Ann> -->"


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(checkpoint: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ST_NO_TUNE", "1")
    monkeypatch.chdir(recordings)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["transcribe", "--checkpoint", str(checkpoint), "--device", "cpu", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_words_and_segments_on_the_command_line(run) -> None:
    _, plain, _ = run("a.wav")
    code, table, _ = run("a.wav", "--times", "word", "--format", "tsv")
    assert code == 0
    header, *rows = (line.split("\t") for line in table.splitlines())
    assert header == ["audio", "start", "end", "text", "confidence"]
    assert "".join(row[3] for row in rows) == plain.replace(" ", "").strip()
    assert all(float(row[1]) < float(row[2]) and 0 <= float(row[4]) <= 1 for row in rows)
    _, subtitles, _ = run("a.wav", "--format", "srt")
    assert subtitles.startswith("1\n00:00:0")
    assert run("a.wav", "--format", "vtt")[1].startswith("WEBVTT\n\n00:00:0")
    lines = [
        json.loads(line) for line in run("a.wav", "b.mp3", "--times", "segment", "--format", "json")[1].splitlines()
    ]
    assert [line["audio"] for line in lines] == ["a.wav", "b.mp3"]
    assert all(line["pieces"] for line in lines)


def test_searches_on_the_command_line(run) -> None:
    assert run("a.wav", "--lang", "fr")[0] == 0
    assert run("a.wav", "--beam", "4")[0] == 0
    assert run("a.wav", "--hotword", "Satz")[0] == 0
    code, out, err = run("a.wav", "--lang", "fr", "--joint-ctc-weight", "0.5", "--beam", "2", "--times", "word")
    assert code == 0, err
    assert out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.wav", "b.mp3", "--format", "srt"], 2, "holds one recording"),
        (["a.wav", "--lang", "klingon"], 2, "no language 'klingon'"),
        (["a.wav", "--joint-ctc-weight", "0.3"], 2, "needs --lang"),
        (["a.wav", "--lang", "fr", "--joint-ctc-weight", "1.5"], 2, "--joint-ctc-weight is 1.5"),
        (["a.wav", "--lang", "fr", "--joint-ctc-weight", "0.3", "--lm", "page.mp3"], 2, "choose one"),
        (["a.wav", "--lm", "none.arpa"], 2, "none.arpa: no such file"),
        (["a.wav", "--lm", "page.mp3"], 1, "neither an ARPA file nor a KenLM binary"),
        (["a.wav", "--beam", "0"], 2, "--beam is 0"),
        (["a.wav", "--lm-weight", "0.7"], 2, "--lm-weight needs --lm"),
        (["a.wav", "--label-bonus", "1"], 2, "--label-bonus needs --lm FILE"),
        (["a.wav", "--word-bonus", "1"], 2, "--word-bonus needs --lm"),
        (["a.wav", "--no-empty-word"], 2, "--no-empty-word needs --lm"),
        (["a.wav", "--hotword-weight", "1"], 2, "--hotword-weight needs --hotword"),
        (["a.wav", "--lm", __file__, "--hotword", "eins"], 2, "--hotword needs --lm FOLDER"),
        (["a.wav", "--lm", __file__, "--no-lm"], 2, "--lm and --no-lm contradict each other"),
        (["a.wav", "--lm", str(Path(__file__).parent)], 1, "has 0 n-gram files; expected one"),
        (
            ["a.wav", "--lang", "fr", "--joint-ctc-weight", "0.3", "--hotword", "un"],
            2,
            "--hotword and --joint-ctc-weight",
        ),
        (["a.wav", "--lm", __file__, "--lm-weight", "nan"], 2, "--lm-weight is nan; expected a finite number"),
        (["a.wav", "--lm", __file__, "--label-bonus", "inf"], 2, "--label-bonus is inf; expected a finite number"),
        (["a.wav", "--times", "minute"], 2, "--times"),
    ],
)
def test_i18_wrong_usage_is_one_sentence(run, arguments: list[str], code: int, message: str) -> None:
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
