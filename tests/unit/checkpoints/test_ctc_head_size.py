"""The CTC head of a folder of transformers, its vocabulary and its config must be of one size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import reference_models as ref
from safetensors.torch import load_file, save_file

from st import load
from st.errors import CheckpointError

LETTERS = ["|", *"etaoinshr", "aː", "[UNK]", "[PAD]"]
BLANK = LETTERS.index("[PAD]")
NAMES = {"unk_token": "[UNK]", "pad_token": "[PAD]", "word_delimiter_token": "|"}
MODEL = "model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder whose head has a row for each of the letters and two more."""
    import transformers

    folder = tmp_path_factory.mktemp("saved")
    config = ref.wav2vec2_config(vocab_size=len(LETTERS) + 2, pad_token_id=BLANK)
    transformers.Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


def write(folder: Path, saved: Path, *, rows: int, files: dict[str, Any], **settings: Any) -> Path:
    """Write a folder with so many rows in its head, these files of a tokenizer, and changes of its config."""
    folder.mkdir(exist_ok=True)
    tensors = load_file(saved / MODEL)
    for name in ("lm_head.weight", "lm_head.bias"):
        tensors[name] = tensors[name][:rows].contiguous()
    save_file(tensors, folder / MODEL)
    config = json.loads((saved / "config.json").read_text())
    for name, content in {**files, "config.json": config | {"vocab_size": rows} | settings}.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def numbered(symbols: list[str]) -> dict[str, int]:
    return {symbol: number for number, symbol in enumerate(symbols)}


@pytest.mark.parametrize(
    ("rows", "files"),
    [
        # As published: the sentence marks are added by the tokenizer, and the head has rows for them or not.
        (15, {"vocab.json": numbered(LETTERS), "added_tokens.json": {"<s>": 13, "</s>": 14}}),
        (13, {"vocab.json": numbered(LETTERS), "added_tokens.json": {"<s>": 13, "</s>": 14}}),
        (13, {"vocab.json": numbered(LETTERS)}),
        (13, {"vocab.json": numbered([*LETTERS, "<s>", "</s>"])}),
        (13, {"vocab.json": numbered([*LETTERS, "<s>"]), "special_tokens_map.json": {"added_tokens_decoder": [1]}}),
        (13, {"vocab.json": numbered([*LETTERS, "<x>"]), "added_tokens.json": {"<x>": 13}}),
        (
            13,
            {
                "vocab.json": numbered([*LETTERS, "<x>", "<y>"]),
                "special_tokens_map.json": {"bos_token": "<x>", "additional_special_tokens": [{"content": "<y>"}]},
            },
        ),
        (
            13,
            {
                "vocab.json": numbered([*LETTERS, "<x>"]),
                "tokenizer_config.json": NAMES | {"added_tokens_decoder": {"13": {"content": "<x>", "special": True}}},
            },
        ),
    ],
)
def test_k09_special_tokens_beyond_the_head_are_left_out(saved, tmp_path, rows, files) -> None:
    folder = write(tmp_path / "m", saved, rows=rows, files={"tokenizer_config.json": NAMES, **files})
    bundle = load(folder)
    assert len(bundle.ctc) == rows
    assert bundle.ctc.decode([bundle.ctc.symbols.index(letter) for letter in ("s", "aː", "|", "t")]) == "saː t"


@pytest.mark.parametrize(
    "settings",
    [NAMES, NAMES | {"added_tokens_decoder": {"10": {"content": "aː", "special": False}}}],
    ids=["plain", "several letters"],
)
def test_k09_a_vocabulary_larger_than_the_head_names_both_sizes(saved, tmp_path, settings) -> None:
    symbols = ["|", "[UNK]", "[PAD]", *"etaoinshr", "aː"]
    files = {"vocab.json": numbered(symbols), "tokenizer_config.json": settings}
    folder = write(tmp_path / "m", saved, rows=11, files=files, pad_token_id=2)
    message = r"vocabulary has 13 symbols, the CTC head 11, with 2 beyond it that are no special tokens: 'aː', 'r'"
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_k09_a_vocabulary_with_one_number_twice_is_refused(saved, tmp_path) -> None:
    files = {"vocab.json": numbered(LETTERS) | {"z": 5}, "tokenizer_config.json": NAMES}
    with pytest.raises(CheckpointError, match="'i' and 'z' have the same number 5; expected"):
        load(write(tmp_path / "m", saved, rows=13, files=files))


def test_k09_a_head_of_another_size_than_the_config_says_names_both(saved, tmp_path) -> None:
    files = {"vocab.json": numbered(LETTERS), "tokenizer_config.json": NAMES}
    folder = write(tmp_path / "m", saved, rows=13, files=files, vocab_size=40)
    with pytest.raises(CheckpointError, match=r"config\.json says vocab_size 40, the CTC head .* has 13 rows"):
        load(folder)


def test_k08_a_ctc_model_without_its_head_is_no_encoder(saved, tmp_path) -> None:
    folder = write(tmp_path / "m", saved, rows=13, files={})
    tensors = load_file(folder / MODEL)
    for left in (["lm_head.bias"], []):
        kept = {name: value for name, value in tensors.items() if not name.startswith("lm_head.") or name in left}
        save_file(kept, folder / MODEL)
        with pytest.raises(CheckpointError, match=rf"lm_head\.weight is missing; found {len(kept)} tensors, such as"):
            load(folder)
    save_file({f"model.{name}": value for name, value in tensors.items()}, folder / MODEL)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight is missing; found .* such as model\.lm_head\.bias"):
        load(folder)


@pytest.mark.parametrize("kind", ["wav2vec2", "mbart"])
def test_k08_weights_without_tensors_say_so(tmp_path, kind) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / f"{MODEL}.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(CheckpointError, match=f"its weights hold no tensors at all; expected those of a {kind} model"):
        load(tmp_path)
