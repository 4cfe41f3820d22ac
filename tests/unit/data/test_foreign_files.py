"""Configs and vocabularies from anybody: an error that names the file, in a moment, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from endless import ends

from st.data.config import DataConfig
from st.doors.readers import MAX_JSON_BYTES, parse_json, read_yaml
from st.doors.shown import shown
from st.errors import ConfigError
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_model import parse_model
from st.text.trimming import TrimmedVocabulary
from st.text.vocabulary import TextVocabulary, read_dictionary

DOUBLED = "a: &a [x, x]\n" + "".join(
    f"{key}: &{key} [*{last}, *{last}]\n"
    for last, key in zip("abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwx", strict=True)
)
SURROGATE = "\\ud800"


@pytest.mark.parametrize(
    "text",
    [
        "vocab_filename: 2001-99-99",
        "lang_tag_format: 2024-01-01 25:61:61",
        "sample_rate: 1:99999999999999999999:9.5",
        "directions: !!timestamp x",
        "directions: !!int ''",
        "directions: !!float ''",
        f"vocab_filename: 0x{'f' * 6000}",
        f'vocab_filename: "{SURROGATE}"',
        f'"{SURROGATE}": 1',
        'vocab_filename: "a\\0b"',
        f"x: {'[' * 3000}",
        "- " * 3000,
        f"vocab_filename: '{'x' * 40_000}'",
        DOUBLED,
        f"{DOUBLED}vocab_filename: *x",
        "a: &a {b: 1}\n" + "<<: [*a, *a]\n" * 20,
        "vocab_filename: &a [*a]",
        "bpe_tokenizer: &a {bpe: *a}",
        "sample_rate: .nan",
        "\ufffe",
        b"\xff\xfe",
    ],
    ids=range(21),
)
def test_fault_16_17_a_data_config_of_any_bytes_is_an_error_that_names_it(text: str | bytes, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with ends(5), pytest.raises(ConfigError, match=r"config\.yaml") as caught:
        DataConfig.load(tmp_path)
    assert len(str(caught.value)) < 1000
    str(caught.value).encode("utf-8")


def test_fault_16_a_few_aliases_are_plain_yaml(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("transforms: {train: &same [cmvn], dev: *same}\n", encoding="utf-8")
    assert read_yaml(path, ConfigError) == {"transforms": {"train": ["cmvn"], "dev": ["cmvn"]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vocab_filename: /etc/shadow", "vocab_filename is '/etc/shadow'; expected a file in this folder"),
        ("vocab_filename: ../dict.txt", "expected a file in this folder"),
        ("vocab_filename: a/../../dict.txt", "expected a file in this folder"),
        ("vocab_filename: 'a\\b'", "expected a file in this folder"),
        ("vocab_filename: ''", "expected a file in this folder"),
        ("ctc_vocab_filename: /proc/self/environ", "ctc_vocab_filename is '/proc/self/environ'; expected"),
        (
            "bpe_tokenizer: {bpe: sentencepiece, sentencepiece_model: /etc/shadow}",
            "sentencepiece_model is '/etc/shadow'",
        ),
        ("lang_tag_format: '{}{0.__class__.__mro__}'", "lang_tag_format is '{}{0.__class__.__mro__}'; expected"),
        ("lang_tag_format: '{:>9999999999}'", "expected a text with {} in it, once"),
        ("lang_tag_format: '{}{}'", "expected a text with {} in it, once"),
    ],
)
def test_fault_15_names_of_a_data_config_stay_in_its_folder(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        DataConfig.load(tmp_path)
    assert message in str(caught.value)


def test_fault_15_the_absolute_path_that_fairseq_writes_is_that_of_a_file_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"bpe_tokenizer: {{bpe: sentencepiece, sentencepiece_model: {tmp_path}/my.model}}", encoding="utf-8"
    )
    assert DataConfig.load(tmp_path).bpe_tokenizer["sentencepiece_model"] == "my.model"
    assert DataConfig(ctc_vocab_filename="ctc/vocab.json").ctc_vocab_filename == "ctc/vocab.json"


@pytest.mark.parametrize("content", ["root:*:19000:0:99999:7:::\n", "secret 1\nsecret 2\n", "a 1\nhidden thing here\n"])
def test_fault_15_what_a_dictionary_holds_is_in_no_message(content: str, tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_dictionary(path)
    assert not any(word in str(caught.value) for word in content.split() if len(word) > 2)


@pytest.mark.parametrize(
    "content",
    [
        f'{{"<pad>": 0, "e": {"[" * 50_000}',
        f'{{"e": {"[" * 50_000}{"]" * 50_000}}}',
        f'{{"<pad>": 0, "{SURROGATE}": 1, "<unk>": 2, "|": 3}}',
        f'{{"<pad>": {"9" * 5000}}}',
        '{"<pad>": 1e999}',
        '"<pad>"',
        b"\xff",
        b'{"a": 0}' + b" " * MAX_JSON_BYTES,
    ],
    ids=range(8),
)
def test_fault_16_17_a_json_vocabulary_of_any_bytes_is_an_error_that_names_it(
    content: str | bytes, tmp_path: Path
) -> None:
    path = tmp_path / "vocab.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for load in (CtcVocabulary.load, TrimmedVocabulary.load):
        with pytest.raises(ConfigError, match=r"vocab\.json: ") as caught:
            load(path)
        assert len(str(caught.value)) < 1000


def test_fault_17_pairs_of_surrogates_are_text() -> None:
    assert parse_json(json.dumps({"a": "\U0001f600"}), "x", ConfigError) == {"a": "\U0001f600"}


def bytes_field(number: int, payload: bytes) -> bytes:
    """Encode a string or a message of protobuf, of less than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


PIECES = [
    bytes_field(1, bytes_field(1, text) + b"\x15\0\0\0\0\x18" + bytes([kind]))
    for text, kind in ((b"<unk>", 2), (b"<s>", 3), (b"</s>", 3))
]


@pytest.mark.parametrize(
    "piece",
    [
        bytes_field(1, b"\xff\xfe"),
        bytes_field(1, b"\xe2\x96"),
        bytes_field(1, b"a") + b"\x10\x01",
        bytes_field(1, b"a") + bytes_field(2, b"\0"),
        b"\x0b" * 120,
    ],
    ids=["not UTF-8", "half a character", "score is a varint", "score is short", "groups"],
)
def test_fault_17_a_sentencepiece_model_of_any_bytes_is_an_error(piece: bytes, tmp_path: Path) -> None:
    model = b"".join(PIECES) + bytes_field(1, piece)
    path = tmp_path / "spm.model"
    path.write_bytes(model)
    with pytest.raises(ConfigError, match="SentencePiece model"):
        parse_model(model)
    with pytest.raises(ConfigError, match=r"spm\.model: "):
        TextVocabulary(path, ["nothing of it"])


def test_fault_16_values_in_messages_are_short_and_made_in_a_moment() -> None:
    doubled: object = "x"
    for _ in range(60):
        doubled = [doubled, doubled]
    for value in (
        doubled,
        {"a": doubled},
        "x" * 10**6,
        b"x" * 10**6,
        10**5000,
        [10**5000],
        list(range(10**6)),
        "\ud800",
    ):
        assert len(shown(value)) < 500
        shown(value).encode("utf-8")
    endless: list[object] = []
    endless.append(endless)
    assert shown(endless).startswith("[[")
    assert shown("text") == "'text'"
