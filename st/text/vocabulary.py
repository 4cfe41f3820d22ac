"""Target text: SentencePiece pieces in the order of a fairseq dictionary, with language tags.

The dictionary is the authority on ids. fairseq puts ``<s> <pad> </s> <unk>`` before its first line, so line ``k``
(from 0) has the id ``k + 4``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sentencepiece

from st.cpus import allotted_cpus
from st.data.config import DataConfig
from st.doors.parsing import parsing
from st.doors.readers import MAX_VOCABULARY_BYTES, read_bounded
from st.errors import ConfigError
from st.text.languages import LANGUAGES, Language, canonical, in_order, is_code, lookup

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
PAD, EOS, UNK = 1, 2, 3
"""Ids of padding, of the end of sentence, which also starts every decoder input, and of what no piece can write."""
MASK = "<mask>"
_BATCH = 4_000
"""Texts whose pieces are in memory at a time."""

# The order of mBART-50's vocabulary.
_MBART50_ORDER = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP "
    "nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN "
    "mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA ur_PK xh_ZA gl_ES sl_SI"
)
MBART50_CODES = tuple(_MBART50_ORDER.split())

_TAG = re.compile(r"<lang:[^<>\s]+>|\[[a-z]{2,3}_[A-Z]{2}\]")


class TextVocabulary:
    """A SentencePiece model seen through a fairseq dictionary.

    Attributes:
        symbols: Every symbol by id, the four specials included.
        languages: Those that can be written: the dictionary has their tag.
    """

    bos, pad, eos, unk = 0, PAD, EOS, UNK

    def __init__(self, model_path: Path | str, symbols: Sequence[str], lang_tag_format: str = "<lang:{}>") -> None:
        """Join a SentencePiece model and the symbols of a dictionary (without the four specials).

        Raises:
            ConfigError: If the model cannot be read or shares no piece with the dictionary.
        """
        self.symbols = [*SPECIALS, *symbols]
        self.lang_tag_format = lang_tag_format
        self._processor = load_sentencepiece(model_path)
        self._ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        processor = self._processor  # a quarter of a million pieces: each call of it counts
        with parsing(model_path, ConfigError, expected="a SentencePiece model"):
            pieces = [processor.id_to_piece(number) for number in range(len(processor))]
        self._id_of_piece = [
            self.unk if processor.is_control(n) else self._ids.get(piece, self.unk) for n, piece in enumerate(pieces)
        ]
        self._id_of_piece[processor.unk_id()] = self.unk
        self._piece_of_id = {number: n for n, number in enumerate(self._id_of_piece) if number != self.unk}
        if not self._piece_of_id:
            raise ConfigError(f"{model_path}: shares no piece with the dictionary; they belong to different trees")
        self._tags = self._find_tags()
        self._tag_ids = frozenset(self._tags.values())
        self.languages = in_order(self._tags)

    @classmethod
    def load(cls, data_dir: Path | str) -> TextVocabulary:
        """Read the vocabulary of a prepared tree, as its ``config.yaml`` says.

        Raises:
            ConfigError: If a file is missing or malformed.
        """
        data_dir = Path(data_dir)
        config = DataConfig.load(data_dir)
        symbols = read_dictionary(data_dir / config.vocab_filename)
        return cls(data_dir / config.bpe_tokenizer["sentencepiece_model"], symbols, config.lang_tag_format)

    @classmethod
    def load_if_any(cls, data_dir: Path | str) -> TextVocabulary | None:
        """Read the vocabulary of a prepared tree; None if it has none of the files, as one of recognition alone.

        Raises:
            ConfigError: If one of the files is missing, or one is malformed.
        """
        config = DataConfig.load(data_dir)
        there = [(Path(data_dir) / name).exists() for name in config.text_files]
        return cls.load(data_dir) if any(there) else None

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces of ``text``, without tag and end of sentence."""
        return [self._id_of_piece[number] for number in self._processor.encode(text)]

    def encode_nbest(self, text: str, count: int) -> list[tuple[list[int], float]]:
        """Return the ``count`` best segmentations of a unigram model and their log-probabilities, best first."""
        score = self._processor.get_score
        return [
            ([self._id_of_piece[number] for number in found], sum(map(score, found)))
            for found in self._processor.nbest_encode(text, nbest_size=count)
        ]

    def count_pieces(self, texts: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return how many ids :meth:`encode` gives for each of many texts, computed in as many threads as we may use."""
        counts: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        for batch in batches(texts, _BATCH):
            encoded = self._processor.encode(batch, num_threads=allotted_cpus())
            counts.append(np.fromiter(map(len, encoded), np.int64, len(batch)))
        return np.concatenate(counts)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; specials, language tags and ids beyond the pieces are dropped."""
        pieces = [self._piece_of_id[number] for number in map(int, ids) if number in self._piece_of_id]
        return str(self._processor.decode(pieces)).replace("▁", " ").strip()

    def model_bytes(self) -> bytes:
        """Return the SentencePiece model, serialised."""
        return bytes(self._processor.serialized_model_proto())

    def language_id(self, code: str) -> int:
        """Return the id of a language's tag.

        Args:
            code: Such as ``zh-CN``. Where the dictionary has mBART-50's slots, Catalan and Welsh take those of the
                language table (``es_XX``, ``fi_FI``); where it has ``pt`` alone, that is the tag of ``pt-BR``, too.

        Raises:
            ConfigError: If the dictionary has no tag for it; the message lists the languages it has.
        """
        number = self._find_tag(code)
        if number is None:
            spellings = [code, *(name for known in _lookup(code) for name in (known.code, known.mbart50) if name)]
            wanted = " or ".join(dict.fromkeys(map(self._tag, spellings)))
            options = " ".join(self.languages) or "none"
            raise ConfigError(f"the dictionary has no language tag {wanted} for {code!r}; it has tags for: {options}")
        return number

    def is_tag(self, number: int) -> bool:
        """Return whether an id is a language tag."""
        return number in self._tag_ids or _TAG.fullmatch(self.symbols[number]) is not None

    def _tag(self, spelling: str) -> str:
        return self.lang_tag_format.replace("{}", spelling)

    def _find_tag(self, code: str) -> int | None:
        # A tag as it is asked for goes before one of another spelling.
        spelled = self._ids.get(self._tag(code))
        found = (self._tags[known.code] for known in _lookup(code) if known.code in self._tags)
        return spelled if spelled in self._tag_ids else next(found, None)

    def _find_tags(self) -> dict[str, int]:
        """Return the id of every language that has a tag, or a slot of mBART-50's."""
        before, after = self.lang_tag_format.split("{}", 1)
        tags: dict[str, int] = {}
        for symbol in (symbol for symbol in self.symbols if symbol.startswith(before) and symbol.endswith(after)):
            code, number = symbol[len(before) : len(symbol) - len(after)], self._ids[symbol]
            # A piece such as [en] is no tag.
            tells = number not in self._piece_of_id or _TAG.fullmatch(symbol)
            if tells and is_code(code):
                tags.setdefault(canonical(code), number)
        for row in LANGUAGES.values():
            slot = self._tag(row.mbart50)
            if row.mbart50 and slot in self._ids:
                tags.setdefault(row.code, self._ids[slot])
        return tags


def _lookup(code: str) -> list[Language]:
    return lookup(code) if is_code(code) else []


def batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield items in lists of so many, the last one perhaps shorter."""
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch


def load_sentencepiece(path: Path | str) -> sentencepiece.SentencePieceProcessor:
    """Read a SentencePiece model.

    Raises:
        ConfigError: If the file is missing or is no SentencePiece model.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such SentencePiece model")
    expected = "a SentencePiece model"
    content = read_bounded(path, ConfigError, expected=expected, most=MAX_VOCABULARY_BYTES)
    with parsing(path, ConfigError, expected=expected):
        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(content)
    return processor


def read_dictionary(path: Path | str) -> list[str]:
    """Read the symbols of a fairseq dictionary, without the four specials.

    What the file holds stands in no message: it may be another file than whoever named it should see.

    Raises:
        ConfigError: If the file is missing, a line is not ``symbol count``, or a symbol is repeated.
    """
    path = Path(path)
    try:
        content = read_bounded(path, ConfigError, expected="a fairseq dictionary", most=MAX_VOCABULARY_BYTES)
        lines = content.replace(b"\r\n", b"\n").decode("utf-8").split("\n")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such dictionary") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8; is this a fairseq dictionary?") from None
    seen: dict[str, None] = dict.fromkeys(SPECIALS)
    for number, line in enumerate(lines, start=1):
        if not line and number == len(lines):
            continue
        symbol, _, count = line.rstrip().rpartition(" ")
        if not symbol or not count.isdigit():
            raise ConfigError(f"{path}:{number}: found {len(line.split())} words; expected `symbol count`")
        if symbol in seen:
            raise ConfigError(f"{path}:{number}: its symbol stands in an earlier line, too")
        seen[symbol] = None
    return list(seen)[len(SPECIALS) :]
