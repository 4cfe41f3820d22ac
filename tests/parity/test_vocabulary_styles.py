"""Vocabularies of CTC heads as people write them: what transformers writes with them, we write, and so it goes out again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import reference_models as ref
import torch
import transformers

from st import load
from st.checkpoints.convert import convert
from st.cli import main
from st.errors import CheckpointError
from st.inference.alignment.word_times import time_words

LENGTHS = [9000, 3001, 6500]
SPECIALS = ["<pad>", "<s>", "</s>", "<unk>"]
PHONES = ["tʃ", "ə", "oʊ", "n", "iː", "ɹ", "s"]
LETTERS = [*"etaoins"]
TUTORIAL = {"unk_token": "[UNK]", "pad_token": "[PAD]", "word_delimiter_token": "|"}
PHONEMES = {"tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer", "do_phonemize": False}
NOT_WRITTEN = ("<", "[")

STYLES: dict[str, tuple[list[str], dict[str, Any], int]] = {
    # symbols by row, settings of the tokenizer, row of the blank
    "as published": ([*SPECIALS, "|", *LETTERS], {}, 0),
    "capitals": ([*SPECIALS, "|", *"ETAOINS"], {}, 0),
    "capitals written small": ([*SPECIALS, "|", *"ETAOINS"], {"do_lower_case": True}, 0),
    "blank last, no sentence marks": (["|", *LETTERS, "[UNK]", "[PAD]"], TUTORIAL, 9),
    "phonemes": ([*SPECIALS, *PHONES], PHONEMES, 0),
    "phonemes and words": ([*SPECIALS, "|", *PHONES], PHONEMES | {"word_delimiter_token": "|"}, 0),
    "several letters": ([*SPECIALS, "|", "aː", "ch", "h", *LETTERS], {}, 0),
    "no words": ([*SPECIALS, *"今日天気良"], {}, 0),
    "no unknown": (["<pad>", "|", *LETTERS], {"unk_token": None, "bos_token": None, "eos_token": None}, 0),
    "another blank": (["<blank>", "<pad>", "</s>", "<unk>", *LETTERS, "'"], {"pad_token": "<blank>"}, 0),
    "blank and sentence mark in one": (["<s>", "<pad>", "</s>", "<unk>", "|", *LETTERS], {"pad_token": "<s>"}, 0),
    "a space": ([*SPECIALS, " ", *LETTERS], {"word_delimiter_token": " "}, 0),
    "a row without a symbol": ([*SPECIALS, "|", "", *LETTERS], {}, 0),
}  # fmt: skip


def write(folder: Any, name: str) -> Any:
    """Write a recogniser of a style, and return the reference's model."""
    symbols, settings, blank = STYLES[name]
    torch.manual_seed(0)
    changes = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    model = ref.perturb(
        transformers.Wav2Vec2ForCTC(ref.wav2vec2_config(vocab_size=len(symbols), pad_token_id=blank, **changes))
    )
    with torch.no_grad():
        model.lm_head.weight.mul_(40)
        # Around the mean of all frames, so that no letter is always the best.
        states = model.wav2vec2(ref.waves(LENGTHS[:1])[0]).last_hidden_state[0]
        model.lm_head.bias.copy_(-(model.lm_head.weight @ states.mean(0)))
        for row, symbol in enumerate(symbols):
            if symbol.startswith(NOT_WRITTEN) or not symbol:
                model.lm_head.bias[row] = -1000
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    table = {symbol: row for row, symbol in enumerate(symbols) if symbol}
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    usual = {"tokenizer_class": "Wav2Vec2CTCTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(usual | settings), encoding="utf-8")
    return model


def tokenizer(folder: Any) -> Any:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    return getattr(transformers, settings["tokenizer_class"]).from_pretrained(folder)


@torch.no_grad()
def their_texts(model: Any, folder: Any) -> list[str]:
    waves, _ = ref.waves(LENGTHS)
    paths = [model(waves[row : row + 1, :length]).logits[0].argmax(-1) for row, length in enumerate(LENGTHS)]
    # Two spaces in a row are one for us, and none stands at an end.
    return [" ".join(tokenizer(folder).decode(path.tolist()).split()) for path in paths]


@torch.no_grad()
def our_texts(bundle: Any) -> list[str]:
    encoded = bundle.model.encode(*ref.waves(LENGTHS))
    paths = bundle.model.ctc_logits(encoded).argmax(-1)
    return [bundle.ctc.decode(path[:n].tolist()) for path, n in zip(paths, encoded.lengths.tolist(), strict=True)]


@pytest.mark.parametrize("name", STYLES)
def test_a_style_opens_writes_what_transformers_writes_and_goes_out_again(tmp_path, name, caplog):
    model = write(tmp_path / "in", name)
    expected = their_texts(model, tmp_path / "in")
    assert len(set("".join(expected)) - {" "}) > 3
    bundle = load(tmp_path / "in")
    assert our_texts(bundle) == expected
    assert ("1 rows of the CTC head have no symbol: 5; nothing is written" in caplog.text) == (
        name == "a row without a symbol"
    )
    convert(tmp_path / "in", tmp_path / "out", "hf")
    again, info = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    assert their_texts(again.eval(), tmp_path / "out") == expected
    own = load(tmp_path / "out")
    assert own.ctc.symbols == bundle.ctc.symbols
    assert our_texts(own) == expected
    for text in expected:  # and what is written can be read
        assert bundle.ctc.decode(bundle.ctc.encode(text), collapse=False) == (
            text.upper() if name == "capitals" else text
        )


@pytest.mark.parametrize("name", ["phonemes", "as published"])
def test_fairseqs_files_keep_whether_symbols_are_phonemes(tmp_path, name):
    model = write(tmp_path / "in", name)
    convert(tmp_path / "in", tmp_path / "out" / "model.pt", "fairseq")
    assert (tmp_path / "out" / f"dict.{'phn' if name == 'phonemes' else 'ltr'}.txt").is_file()
    assert our_texts(load(tmp_path / "out" / "model.pt")) == their_texts(model, tmp_path / "in")


@pytest.mark.parametrize("rows", [0, 1], ids=["beyond the head", "in the head"])
def test_the_star_of_an_aligner_is_never_written(tmp_path, rows):
    """As in models for forced alignment: no separator, a blank of its own, and a label that stands for anything."""
    write(tmp_path, "another blank")
    table = json.loads((tmp_path / "vocab.json").read_text())
    symbols = [*table, "<star>"] if not rows else [*list(table)[:-1], "<star>"]
    (tmp_path / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(symbols)}))
    ctc = load(tmp_path).ctc
    assert ("<star>" in ctc.symbols) == bool(rows)
    written = [symbol for symbol in ("n", "<star>", "s") if symbol in ctc.symbols]
    assert ctc.decode([ctc.symbols.index(symbol) for symbol in written]) == "ns"


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "text"), [("another blank", "not a tin"), ("no words", "今日 天気"), ("phonemes", "tʃ iː n")]
)
def test_a_text_is_aligned_with_a_head_that_writes_no_spaces(tmp_path, name, text):
    write(tmp_path, name)
    bundle = load(tmp_path)
    # A head that says the text, two frames a symbol and a blank between symbols.
    labels = bundle.ctc.encode(text)
    logits = torch.full((3 * len(labels), len(bundle.ctc)), -9.0)
    for place, label in enumerate(labels):
        logits[3 * place : 3 * place + 2, label] = 0.0
        logits[3 * place + 2, 0] = 0.0
    words = time_words(logits, text, bundle.ctc, frame_s=0.02)
    spelled = [unit for word in text.split() for unit in (word if name == "no words" else [word])]
    assert [word.text for word in words] == spelled
    sizes = [len(bundle.ctc.encode(word)) for word in spelled]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    assert [word.start_s for word in words] == pytest.approx([0.06 * start for start in starts])
    assert min(word.confidence for word in words) > 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table | {"x": 6}, "'t' and 'x' have the same number 6; expected a number from 0 to 11"),
        (lambda table: table | {"x": -1}, "'x' has the number -1"),
        (lambda table: {k: v for k, v in table.items() if k != "s"}, "vocabulary has 11 symbols, the CTC head 12"),
        (lambda table: table | {"x": 40}, "with 1 beyond it that are no special tokens: 'x'"),
    ],
    ids=["a number twice", "no number", "too few", "too many"],
)
def test_numbers_that_are_not_those_of_the_rows_are_named(tmp_path, change, message):
    write(tmp_path, "as published")
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_a_search_by_words_says_that_the_head_writes_none(tmp_path, capsys):
    write(tmp_path, "no words")
    assert main(["transcribe", "x.wav", "--checkpoint", str(tmp_path), "--hotword", "今日"]) == 1
    assert "the CTC head writes no spaces between words" in capsys.readouterr().err
