"""The heads' vocabularies: of a CTC head from elsewhere, other people's order of symbols becomes ours, blank first."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from st.checkpoints.assemble import listed
from st.checkpoints.contents import Contents, unpacked
from st.checkpoints.formats.fairseq.reader import OWN_TRAINING, PHONEMES
from st.checkpoints.formats.names import CLASSES
from st.checkpoints.formats.settings import read_json, read_json_if_any
from st.checkpoints.formats.transformers.reader import CTC_FOLDER, CTC_VOCAB_FILENAME, OWN_FOLDER
from st.checkpoints.pieces import BLANK, give_name, piece_symbols
from st.data.config import CONFIG_FILENAME, DataConfig
from st.doors.shown import shown
from st.errors import CheckpointError, ConfigError
from st.modules.config import CTC
from st.modules.heads import head_kind
from st.text.class_labels import ClassLabels
from st.text.ctc_vocabulary import SPECIALS, STAR, WORD_DELIMITER, CtcVocabulary, unused
from st.text.labels import Labels
from st.text.normalisation import lower
from st.text.vocabulary import read_dictionary

logger = logging.getLogger(__name__)

_SPECIAL_KINDS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "additional_special_tokens",
    "extra_special_tokens",
)
"""What a tokenizer's settings call its special tokens."""

_WRITING = {"replace_word_delimiter_char": " ", "clean_up_tokenization_spaces": False}
_MOVED_SIGNS = frozenset(".?!,'")
"""What transformers' clean-up takes the space before away from."""

_VOCABULARIES = {
    "fairseq2": ("omniASR_tokenizer.model", "omniASR_tokenizer_written_v2.model", "omniASR_tokenizer_v7.model"),
    "transformers OmniASRForCTC": ("tokenizer.json",),
    "fairseq": ("dict.ltr.txt", "dict.phn.txt", "dict.txt", "vocab.json"),
    "": ("vocab.json",),
}
"""Files beside a checkpoint that may have the symbols of its CTC head, by what the name of its format begins with."""
_LABEL_FILES = ("dict.lang.txt", "dict.label.txt", "dict.labels.txt")
"""Files beside a classifier of fairseq that may have its labels; its rows are the lines, without special symbols."""


def find_labels(contents: Contents, *, data_dir: Path | None, given: Path | None) -> dict[str, Labels]:
    """Return the vocabularies of the heads by name, and put the rows of a head from elsewhere into its order.

    That of ``ctc`` is left out where a training checkpoint carries none.

    Args:
        contents: What the checkpoint holds; the rows of its head may be reordered.
        data_dir: Prepared tree to take the vocabularies from.
        given: ``vocab.json`` or a fairseq dictionary, for the head ``ctc``.

    Raises:
        CheckpointError: If there is no vocabulary, or it has another size than the head.
    """
    size = contents.config.ctc_vocab_size
    if not contents.config.heads:
        return {}
    if data_dir is not None or contents.format in (OWN_TRAINING, OWN_FOLDER):
        return _own_vocabularies(contents, data_dir, given)
    if CLASSES in contents.config.heads:
        return {CLASSES: _class_labels(contents)}
    symbols, spaced = _foreign_symbols(contents, given)
    if len(symbols) != size:
        raise CheckpointError(
            f"{contents.path}: the CTC vocabulary has {len(symbols)} symbols, the CTC head {size}; "
            f"they belong to different models"
        )
    try:
        return {CTC: _in_our_order(contents, symbols, spaced)}
    except ConfigError as exc:
        raise CheckpointError(f"{contents.path}: {exc}; found symbols {' '.join(symbols[:8])} …") from None


def label_symbols(contents: Contents, *, data_dir: Path | None, given: Path | None) -> dict[str, list[str]]:
    """Return the symbols of each head by row, as the file has them; without heads that have no vocabulary.

    Raises:
        CheckpointError: As for :func:`find_labels`, whose arguments these are; the head's rows stay in their order.
    """
    if not contents.config.heads:
        return {}
    if data_dir is not None or contents.format in (OWN_TRAINING, OWN_FOLDER):
        found = _own_vocabularies(contents, data_dir, given)
        return {name: vocabulary.symbols for name, vocabulary in found.items()}
    if CLASSES in contents.config.heads:
        return {CLASSES: _class_labels(contents).symbols}
    return {CTC: _foreign_symbols(contents, given)[0]}


def _own_vocabularies(contents: Contents, data_dir: Path | None, given: Path | None) -> dict[str, Labels]:
    """Return vocabularies in our form, in whose order the rows of heads are."""
    if data_dir is not None:
        return _of_tree(contents, data_dir, ctc_required=True)
    if contents.format == OWN_TRAINING:
        with unpacked(contents.files) as folder:
            return _of_tree(contents, folder, ctc_required=False)
    if CLASSES in contents.config.heads:
        return {CLASSES: _class_labels(contents)}
    folder = contents.path / CTC_FOLDER if "decoder" in contents.config.parts else contents.path
    path = given or folder / CTC_VOCAB_FILENAME
    spaced = _writes_apart(_tokenizer_settings(path.parent))
    return {CTC: CtcVocabulary.load(path, complete=False, spaced=spaced)}


def _of_tree(contents: Contents, folder: Path, *, ctc_required: bool) -> dict[str, Labels]:
    """Read the vocabularies of a checkpoint's heads from a prepared tree, or the files of one that it carries."""
    declared = DataConfig.load(folder).head_data
    found: dict[str, Labels] = {}
    for name, head in contents.config.heads.items():
        if name not in declared:
            raise CheckpointError(
                f"{contents.path}: has a head {name}, of which the heads in {CONFIG_FILENAME} say nothing"
            )
        path = folder / declared[name].vocab_filename
        if name != CTC or ctc_required or path.is_file():
            found[name] = head_kind(head.kind).load_labels(path)
    return found


def _class_labels(contents: Contents) -> ClassLabels:
    """Return the labels of a classifier from elsewhere: what its file says, a dictionary beside it, or else numbers."""
    size = contents.config.heads[CLASSES].size
    symbols = contents.label_symbols
    beside = next((contents.folder / name for name in _LABEL_FILES if (contents.folder / name).is_file()), None)
    if symbols is None and beside is not None:
        symbols = read_dictionary(beside)
    if symbols is None:
        logger.warning(
            "%s: nothing says what its %d classes are: they are called by their numbers; expected %s beside it",
            contents.path,
            size,
            _LABEL_FILES[0],
        )
        symbols = [str(row) for row in range(size)]
    if len(symbols) != size:
        raise CheckpointError(
            f"{contents.path}: {len(symbols)} labels and {size} classes; they belong to different models"
        )
    try:
        return ClassLabels(symbols)
    except ConfigError as exc:
        raise CheckpointError(f"{contents.path}: {exc}") from None


def _foreign_symbols(contents: Contents, given: Path | None) -> tuple[list[str], bool]:
    """Return the symbols by row, the special ones under our names, and whether they are written with spaces between them."""
    names = next(names for begin, names in _VOCABULARIES.items() if contents.format.startswith(begin))
    path = given or next((contents.folder / name for name in names if (contents.folder / name).is_file()), None)
    phonemes = contents.settings.get("labels") == PHONEMES
    if given is None and contents.label_symbols is not None:
        return _fairseq_symbols(contents.label_symbols), phonemes
    if path is None:
        raise CheckpointError(
            f"{contents.path}: a {contents.format} file without the symbols of its CTC head; expected {names[0]} "
            f"beside it, or the file as `ctc_vocab`"
        )
    if path.suffix == ".model" or path.name == "tokenizer.json":
        return piece_symbols(path, contents.settings.get("blank_token_id", 0)), False
    if path.suffix == ".json":
        tokenizer = _tokenizer_settings(path.parent)
        return _json_symbols(path, contents, tokenizer), _writes_apart(tokenizer)
    return _fairseq_symbols(["<s>", "<pad>", "</s>", "<unk>", *read_dictionary(path)]), phonemes


def _fairseq_symbols(symbols: list[str]) -> list[str]:
    """Return symbols under our names: whoever wrote a dictionary, its row 0, called ``<s>``, is the blank."""
    symbols = list(symbols)
    if symbols:
        give_name(symbols, 0, BLANK)
    return symbols


def _json_symbols(path: Path, contents: Contents, tokenizer: Mapping[str, Any]) -> list[str]:
    """Read ``vocab.json`` and what else says which symbol is the blank, the unknown, the space."""
    table = _flat_table(path, contents.language or tokenizer.get("target_lang"))
    size = contents.config.ctc_vocab_size
    if len(table) < size:
        table |= _added_tokens(path.parent, tokenizer)
    # A tokenizer may know special tokens that the head never had; they cannot be emitted.
    surplus = {symbol for symbol, number in table.items() if number >= size}
    strangers = sorted(surplus - _dispensable(path.parent, tokenizer))
    if strangers:
        raise CheckpointError(
            f"{path}: the CTC vocabulary has {len(table)} symbols, the CTC head {size}, with "
            f"{listed('beyond it that are no special tokens', map(repr, strangers))}; they belong to different models"
        )
    _check_writing(path, tokenizer, table)
    symbols = _by_row(path, {symbol: number for symbol, number in table.items() if number < size}, size)
    for theirs, ours in _special_names(tokenizer).items():
        if theirs in table and table[theirs] < size:
            give_name(symbols, table[theirs], ours)
    blank = contents.settings.get("pad_token_id", 0)
    if "<pad>" not in symbols and isinstance(blank, int) and blank < len(symbols):
        symbols[blank] = "<pad>"
    if " " in symbols and WORD_DELIMITER not in symbols:
        symbols[symbols.index(" ")] = WORD_DELIMITER
    return [lower(symbol) for symbol in symbols] if tokenizer.get("do_lower_case") is True else symbols


def _by_row(path: Path, table: Mapping[str, int], size: int) -> list[str]:
    """Return the symbol of each row; one without, before the last that has one, gets a name of ours and is never written.

    Raises:
        CheckpointError: If two symbols have the same number, or a number is none of a row.
    """
    rows: dict[int, str] = {}
    for symbol, number in table.items():
        if number < 0 or number in rows:
            other = (
                f"{rows[number]!r} and {symbol!r} have the same number"
                if number in rows
                else f"{symbol!r} has the number"
            )
            raise CheckpointError(
                f"{path}: {other} {number}; expected a number from 0 to {size - 1} for each symbol: correct the file"
            )
        rows[number] = symbol
    count = max(rows, default=-1) + 1
    if holes := [row for row in range(count) if row not in rows]:
        logger.warning(
            "%s: %s; nothing is written for them", path, listed("rows of the CTC head have no symbol", map(str, holes))
        )
    return [rows.get(row, unused(row)) for row in range(count)]


def _flat_table(path: Path, language: object) -> dict[str, Any]:
    """Read symbols and their numbers; of a vocabulary with a table for each language, as MMS has it, that of one."""
    table: dict[str, Any] = read_json(path)
    if table and all(isinstance(symbols, dict) for symbols in table.values()):
        if not isinstance(language, str) or language not in table:
            known = f"{', '.join(sorted(table)[:10])}{' …' if len(table) > 10 else ''}"
            raise CheckpointError(f"{path}: has symbols of: {known}; `language` says which, found {shown(language)}")
        table = dict(table[language])
    if any(type(number) is not int for number in table.values()):
        raise CheckpointError(f"{path}: expected a table of symbols and numbers, or one for each language")
    return table


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    return read_json_if_any(folder / "special_tokens_map.json") | read_json_if_any(folder / "tokenizer_config.json")


def _check_writing(path: Path, tokenizer: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    """Say what of how a tokenizer writes words is not how we do: symbols in a row, a space between words."""
    names = [name for name, usual in _WRITING.items() if tokenizer.get(name) not in (None, usual)]
    if "clean_up_tokenization_spaces" in names and not _MOVED_SIGNS & set(table):
        names.remove("clean_up_tokenization_spaces")
    if names:
        found = ", ".join(f"{name} {tokenizer[name]!r:.50}" for name in names)
        logger.warning(
            "%s: its tokenizer has %s, which is not followed: words are written with one space between them",
            path,
            found,
        )


def _added_tokens(folder: Path, tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens that a tokenizer has besides those of its vocabulary, and their numbers."""
    added = tokenizer.get("added_tokens_decoder")
    added = added if isinstance(added, Mapping) else {}
    found = {_content(token): int(number) for number, token in added.items() if str(number).isdecimal()}
    known = {token: number for token, number in found.items() if token is not None}
    return known | read_json_if_any(folder / "added_tokens.json")


def _writes_apart(tokenizer: Mapping[str, Any]) -> bool:
    """Return whether a tokenizer writes spaces between symbols, as that of phonemes does."""
    return str(tokenizer.get("tokenizer_class")).startswith("Wav2Vec2Phoneme")


def _dispensable(folder: Path, settings: Mapping[str, Any]) -> set[str | None]:
    """Return the special and added tokens of a tokenizer, which a head may have no rows for."""
    tokens: list[object] = ["<s>", "</s>", STAR, *read_json_if_any(folder / "added_tokens.json")]
    for kind in _SPECIAL_KINDS:
        value = settings.get(kind)
        tokens += value if isinstance(value, list) else [value]
    # Symbols of several letters stand here too, but are not marked as special.
    added = settings.get("added_tokens_decoder")
    added = added.values() if isinstance(added, Mapping) else ()
    tokens += [token for token in added if isinstance(token, Mapping) and token.get("special") is True]
    return set(map(_content, tokens))


def _special_names(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return how a tokenizer calls the special symbols, and how we do."""
    # One token may be several of them; the blank, which comes last, counts then.
    ours = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": BLANK}
    names = {_content(settings.get(kind)): symbol for kind, symbol in ours.items()}
    names[_content(settings.get("word_delimiter_token"))] = "|"
    return {theirs: symbol for theirs, symbol in names.items() if theirs is not None}


def _content(token: object) -> str | None:
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _in_our_order(contents: Contents, symbols: list[str], spaced: bool) -> CtcVocabulary:
    """Put the special symbols first, and the rows of the head likewise."""
    order = [symbols.index(symbol) for symbol in SPECIALS if symbol in symbols]
    order += [row for row, symbol in enumerate(symbols) if symbol not in SPECIALS]
    if twice := [symbol for symbol, count in Counter(symbols).items() if count > 1]:
        raise ConfigError(f"CTC vocabulary: {shown(twice[0])} stands for two rows")
    table = {symbols[row]: number for number, row in enumerate(order)}
    vocabulary = CtcVocabulary(table, complete=False, spaced=spaced)
    if order != list(range(len(order))):
        rows = torch.tensor(order)
        for name in ("ctc.proj.weight", "ctc.proj.bias"):
            contents.state[name] = contents.state[name].index_select(0, rows)
    return vocabulary
