"""Make text vocabularies: train SentencePiece, write fairseq dictionaries, or take mBART-50's model as it is."""

from __future__ import annotations

import io
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import permutations
from pathlib import Path

import sentencepiece

from st.doors.parsing import parsing
from st.errors import ConfigError
from st.text.sentencepiece_model import without_rules_path
from st.text.vocabulary import MASK, MBART50_CODES, SPECIALS

VOCAB_TYPES = ("unigram", "bpe", "char")
NUM_SPM_SPECIALS = 3
"""``<unk> <s> </s>`` come first in our models, as in mBART's, so that dictionary id = SentencePiece id + 1."""

_MAX_SENTENCE_BYTES = 65_536
# The result depends on how sentences are dealt out to threads, so their number is fixed, whatever the machine.
_NUM_THREADS = 4
# Marks that stand in any order in the texts of CoVoST's languages: of Latin letters and of Arabic vowels.
_MARK_BLOCKS = (range(0x300, 0x346), range(0x64B, 0x671))


def train_sentencepiece(
    texts: Iterable[str],
    *,
    vocab_type: str = "unigram",
    vocab_size: int | None = None,
    characters: set[str] | None = None,
    num_sentences: int | None = None,
) -> bytes:
    """Train a SentencePiece model with every character of ``texts`` covered.

    The same texts in the same order give the same bytes. The model brings text to NFC and every Unicode space to a
    plain one, and changes nothing else: no case, no width, no punctuation.

    Args:
        texts: Sentences, best without repeats; empty ones are passed over.
        vocab_type: ``unigram``, ``bpe`` or ``char``.
        vocab_size: Pieces wanted, the three specials included; None for :func:`default_vocab_size`, lowered to what
            the texts support.
        characters: What must be covered, if the texts are a sample; None for the characters of the texts.
        num_sentences: How many sentences they are a sample of.

    Returns:
        The serialised model.

    Raises:
        ConfigError: If the texts are empty, or do not support ``vocab_size``; the message gives the possible range.
    """
    if vocab_type not in VOCAB_TYPES:
        raise ConfigError(f"`vocab_type` is {vocab_type!r}; expected one of {', '.join(VOCAB_TYPES)}")
    sentences = [text for text in texts if text.strip()]
    if not sentences:
        raise ConfigError("no text to train a vocabulary on; are all train rows dropped?")
    if characters is None:
        characters = set().union(*(unicodedata.normalize("NFC", sentence) for sentence in sentences))
        characters = {character for character in characters if not character.isspace()}
    size = vocab_size or default_vocab_size(num_sentences or len(sentences), len(characters))
    try:
        return _train(sentences, characters, vocab_type, size, exact=vocab_size is not None)
    except RuntimeError as exc:
        raise ConfigError(_explain(str(exc), size, len(sentences))) from None


def default_vocab_size(num_sentences: int, num_characters: int) -> int:
    """Return a vocabulary size for a corpus: 1000 up to 10,000 sentences, then a tenth of them, plus its characters."""
    return min(max(1000, num_sentences // 10) + num_characters, max(32_000, 2 * num_characters))


def _train(sentences: Sequence[str], characters: set[str], vocab_type: str, size: int, *, exact: bool) -> bytes:
    sink = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.tsv"
        rules.write_text(_normalisation_rules(), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=sink,
            model_type=vocab_type,
            vocab_size=size,
            hard_vocab_limit=exact and vocab_type != "char",
            character_coverage=1.0,
            required_chars="".join(sorted(characters)),
            normalization_rule_tsv=str(rules),
            num_threads=_NUM_THREADS,
            max_sentence_length=_MAX_SENTENCE_BYTES,
            minloglevel=2,
        )
    # Without that path, the bytes do not depend on the machine.
    return without_rules_path(sink.getvalue())


def _explain(message: str, size: int, num_sentences: int) -> str:
    """Turn SentencePiece's message, made for programmers, into ours."""
    highest = re.search(r"value <= (\d+)", message)
    lowest = re.search(r"required_chars\. \d+ vs (\d+)", message)
    if highest:
        return (
            f"`vocab_size` {size} is more than {num_sentences} train sentences support; choose at most {highest[1]}, "
            f"or leave it out"
        )
    if lowest:
        return (
            f"`vocab_size` {size} is too small for the characters of the corpus; choose at least {int(lowest[1]) + 1}"
        )
    return f"SentencePiece cannot train a vocabulary of {size} pieces on {num_sentences} sentences: {message}"


def dictionary_text(pieces: Sequence[str], tags: Sequence[str]) -> str:
    """Return a fairseq dictionary: the pieces of a model without its specials, then the tags.

    Raises:
        ConfigError: If a symbol is repeated, or cannot stand in a dictionary because it holds a line break.
    """
    seen = set(SPECIALS)
    for symbol in (*pieces, *tags):
        if symbol in seen or symbol != symbol.rstrip() or re.search(r"[\r\n ]", symbol):
            raise ConfigError(f"symbol {symbol!r} is repeated or unfit for a fairseq dictionary")
        seen.add(symbol)
    return "".join(f"{symbol} 1\n" for symbol in (*pieces, *tags))


def model_pieces(model: bytes) -> list[str]:
    """Return the pieces of a serialised model without ``<unk> <s> </s>``.

    Raises:
        ConfigError: If it is no such model, or does not begin with these three.
    """
    processor = sentencepiece.SentencePieceProcessor()
    with parsing("the model", ConfigError, expected="a SentencePiece model"):
        processor.LoadFromSerializedProto(model)
        pieces = [processor.id_to_piece(number) for number in range(len(processor))]
    if pieces[:NUM_SPM_SPECIALS] != ["<unk>", "<s>", "</s>"]:
        raise ConfigError(f"the model begins with {' '.join(pieces[:3])}; expected <unk> <s> </s>, as mBART's does")
    return pieces[NUM_SPM_SPECIALS:]


def covost_tags(languages: Iterable[str]) -> list[str]:
    """Return the tags of CoVoST languages."""
    return [f"<lang:{code}>" for code in languages]


def mbart50_tags() -> list[str]:
    """Return the last lines of mBART-50's dictionary: its 52 codes in order, then the mask."""
    return [*(f"[{code}]" for code in MBART50_CODES), MASK]


def normalise_as_model(text: str) -> str:
    """Return text as models trained here see it: NFC, save for rare orders of marks, and with plain spaces."""
    return str(_normaliser().Normalize(text))


@cache
def _normaliser() -> sentencepiece.SentencePieceNormalizer:
    # The rules can be had from a model only, without a word about it on stderr.
    return sentencepiece.SentencePieceNormalizer(
        model_proto=_train(["a"], {"a"}, "char", 9, exact=False),
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )


@cache
def _normalisation_rules() -> str:
    """Return SentencePiece's rule table for NFC and plain spaces: ``from<TAB>to``, code points in hex.

    SentencePiece applies the rule that fits the most of the text ahead and goes on behind it. So there is one for each
    way to write a letter: in full, or partly composed, with its marks in any order, even if that means another letter.
    """
    rules, written = _mark_orders(), _by_decomposition()
    for decomposed in written:
        rules |= {text: unicodedata.normalize("NFC", text) for text in _spellings(decomposed, written)}
    rules |= {character: " " for character in map(chr, range(sys.maxunicode + 1)) if character.isspace()}
    changed = sorted((source, target) for source, target in rules.items() if source != target)
    return "".join(f"{_hex(source)}\t{_hex(target)}\n" for source, target in changed)


def _by_decomposition() -> dict[str, list[str]]:
    """Return all characters that can be decomposed, those of equal meaning together."""
    found: dict[str, list[str]] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        decomposed = unicodedata.normalize("NFD", character)
        if decomposed != character:
            found.setdefault(decomposed, []).append(character)
    return found


def _spellings(decomposed: str, written: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield all ways to put the parts of a letter together: a beginning that may be one character, then the others."""
    marks = decomposed[1:]
    in_any_order = unicodedata.combining(marks[:1] or "a") != 0  # not the parts of a Hangul syllable
    for order in permutations(marks) if in_any_order else (marks,):
        parts = decomposed[0] + "".join(order)
        for end in range(1, len(parts) + 1):
            start = unicodedata.normalize("NFD", parts[:end])
            yield from (beginning + parts[end:] for beginning in (parts[:end], *written.get(start, ())))


def _mark_orders() -> dict[str, str]:
    """Return the rules for two marks of a letter without a character of its own, such as shadda before fatha."""
    marks = [[mark for mark in map(chr, block) if unicodedata.combining(mark)] for block in _MARK_BLOCKS]
    pairs = [first + second for block in marks for first in block for second in block]
    return {pair: pair[::-1] for pair in pairs if unicodedata.normalize("NFD", pair) == pair[::-1] != pair}


def _hex(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)
