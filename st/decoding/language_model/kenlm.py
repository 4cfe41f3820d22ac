"""n-gram files: ARPA text, gzipped or not, or KenLM's binary form; read by flashlight-text, whose wheel has KenLM in it."""

from __future__ import annotations

import gzip
import math
import mmap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from st.errors import ConfigError

State = Any
"""What KenLM remembers of the words so far."""
SPECIALS = frozenset(("<unk>", "<UNK>", "<s>", "</s>"))
INSTALL = "reading an n-gram language model needs flashlight-text; install it with: pip install 'xlsr-st[lm]'"
LN10 = math.log(10.0)

_BINARY = b"mmap lm http://kheafield.com/code"


class KenLm:
    """Log-probabilities to base 10 of words by number."""

    def __init__(self, path: Path, words: Sequence[str]) -> None:
        """Open a file.

        Args:
            path: ARPA or KenLM binary.
            words: Those that will be asked for; a word that the file does not have is its ``<unk>``, and so is the number
                :attr:`unknown` behind them.

        Raises:
            ConfigError: If flashlight-text is not installed, or KenLM cannot read the file.
        """
        try:
            from flashlight.lib.text.decoder.kenlm import KenLM
            from flashlight.lib.text.dictionary import Dictionary
        except ImportError:
            raise ConfigError(f"{path}: {INSTALL}") from None
        self._path, self.unknown = path, len(words)
        try:
            self._model = KenLM(str(path), Dictionary([*words, "<unk>"]))
        except (RuntimeError, ValueError) as error:
            lines = str(error).strip().splitlines()
            raise ConfigError(f"{path}: KenLM cannot read it: {lines[-1] if lines else error}") from None

    def start(self, *, sentence: bool = True) -> State:
        """Return the state at the beginning of a sentence, or in the middle of nowhere."""
        return self._model.start(not sentence)

    def score(self, state: State, number: int) -> tuple[State, float]:
        """Return the state after a word, and the word's log-probability.

        Raises:
            ConfigError: If that is NaN, which a damaged binary may hold; text with it is refused when it is read.
        """
        state, value = self._model.score(state, number)
        return state, self._number(value)

    def finish(self, state: State) -> float:
        """Return the log-probability that the sentence ends; raises as :meth:`score`."""
        return self._number(self._model.finish(state)[1])

    def _number(self, value: float) -> float:
        if math.isnan(value):
            raise ConfigError(f"{self._path}: the language model holds NaN; build it anew")
        return float(value)


def read_words(path: Path | str) -> list[str]:
    """Return the words of an ARPA file or a KenLM binary, special ones among them.

    Raises:
        ConfigError: If there is no such file, or it is neither, or a binary that was built without its words.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such language model; expected an ARPA file or a KenLM binary")
    with path.open("rb") as handle:
        start = handle.read(len(_BINARY))
        if start == _BINARY:
            return _binary_words(path, handle.fileno())
    opener: Any = gzip.open if start[:2] == b"\x1f\x8b" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            return _arpa_words(lines)
    except (OSError, EOFError, UnicodeDecodeError, ValueError):
        raise ConfigError(f"{path}: neither an ARPA file nor a KenLM binary") from None


def _binary_words(path: Path, descriptor: int) -> list[str]:
    """Read the words that KenLM writes behind its tables, each ended by a NUL, ``<unk>`` first."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        place = content.rfind(b"<unk>\0")
        words = content[place:].split(b"\0")[:-1] if place >= 0 else []
    try:
        found = [word.decode("utf-8") for word in words if word]
    except UnicodeDecodeError:
        found = []
    if not found:
        raise ConfigError(
            f"{path}: a KenLM binary without its words; build it anew from the ARPA file with build_binary"
        )
    return found


def _arpa_words(lines: Iterable[str]) -> list[str]:
    words: list[str] = []
    inside = False
    for line in lines:
        line = line.rstrip("\n")
        if inside and (not line.strip() or line.startswith("\\")):
            return words
        if inside:
            fields = line.split("\t") if "\t" in line else line.split()
            if len(fields) < 2:
                raise ValueError("a line without a word")
            words.append(fields[1])
        elif line.strip() == "\\1-grams:":
            inside = True
    raise ValueError("no 1-grams")
