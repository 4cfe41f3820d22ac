"""A text made ready to be aligned: its words, the states they are found through, and what the head cannot spell."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from st.decoding.alignment.lattice import Lattice, LatticeWord, build_lattice
from st.decoding.alignment.score_rows import WILD_COLUMN, ScoreColumns
from st.errors import ConfigError, DecodingError
from st.inference.alignment.text_words import UnknownLetters, divide
from st.text.ctc_vocabulary import CtcVocabulary

STAR = re.compile(r"<star>|<\*>")
"""Written in a text, it stands for speech that is not in it."""
STARS = ("words", "lines", "edges", "none")
"""Where such speech may be without a star being written: around every word, every line, the whole text, nowhere."""
WILD_SHARE = 0.1
"""Price of a label in a word that the head cannot spell, as a share of that of one that is not in the text."""


@dataclass(kw_only=True, slots=True, frozen=True)
class AlignOptions:
    """How a text is aligned."""

    language: str | None = None
    """What it is written in, by any usual code, whose capitals and apostrophes may be its own (``tr``, ``uk``)."""
    star: str = "words"
    """Where speech may be that is not in the text; one of :data:`STARS`."""
    all_words: bool = False
    """Whether every word has to be found, rather than passed over where that is more probable."""
    star_price: float = 3.0
    """Nats for each letter that is said and not in the text."""
    skip_price: float = 2.5
    """Nats for each letter of the text that was not said."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        if self.star not in STARS:
            raise ConfigError(f"`star` is {self.star!r}; expected one of {', '.join(STARS)}")
        for name, value in (("star_price", self.star_price), ("skip_price", self.skip_price)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"`{name}` is {value}; expected a number above 0")


class AlignableText:
    """A text and what is looked for of it.

    Attributes:
        text: As it was given.
        words: What is timed, at least one.
        lines: Line of each word in the text, from 0.
        unknown: Letters that the head does not have.
        columns: Scores that are needed of a frame.

    Raises:
        DecodingError: On construction, if there is no word.
    """

    def __init__(self, text: str, vocabulary: CtcVocabulary, options: AlignOptions) -> None:
        self.text, self._options = text, options
        self.unknown = UnknownLetters()
        # A star leaves its room, so that the places of words stay those in the text.
        plain = STAR.sub(lambda match: " " * len(match[0]), text)
        self.words = divide(plain, vocabulary, options.language, keep_unknown=True, unknown=self.unknown)
        if not any(word.labels for word in self.words):
            raise DecodingError("nothing to align: the text holds no letter of the CTC vocabulary")
        self._stars = [match.start() for match in STAR.finditer(text)]
        ends = [match.start() for match in re.finditer("\n", text)]
        self.lines = [bisect_left(ends, word.start) for word in self.words]
        self.columns = ScoreColumns(
            {label for word in self.words for label in word.labels},
            len(vocabulary),
            delimiter=vocabulary.separator,
            star_price=options.star_price,
            wild_price=WILD_SHARE * options.star_price,
        )

    def lattice(self) -> Lattice:
        """Lay out the states of the text."""
        options = self._options
        stars = self._starred()
        words = []
        for number, word in enumerate(self.words):
            columns = tuple(self.columns.of(word.labels).tolist()) or (WILD_COLUMN,)
            price = options.skip_price * len(word.labels) if word.labels else options.star_price
            words.append(LatticeWord(columns, word.begins, stars[number], price))
        return build_lattice(words, self.columns.delimiter, star_edges=stars[0], skip=not options.all_words)

    def _starred(self) -> list[bool]:
        """Return for each word whether something else may be said before it."""
        star = self._options.star
        starts = [word.start for word in self.words]
        written = [bisect_left(self._stars, start) for start in starts]
        found = []
        for number, line in enumerate(self.lines):
            new_line = number > 0 and line != self.lines[number - 1]
            here = written[number] > (written[number - 1] if number else 0)
            found.append(here or star == "words" or (star == "lines" and new_line))
        # Before the first word and after the last it may be so together: silence there costs neither anything.
        found[0] = star != "none" or found[0] or len(self._stars) > written[-1]
        return found
