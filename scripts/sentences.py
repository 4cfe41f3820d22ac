"""Count the words in the sentences of documentation.

    python scripts/sentences.py README.md docs/*.md

Code, tables, headings and indented lines do not count, nor do sentences of three words or fewer. A sentence ends with a
full stop, a question or exclamation mark, its paragraph, or its item of a list; not with a colon or a semicolon.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def sentence_lengths(markdown: str) -> list[int]:
    """Return the number of words of each sentence."""
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "    ", "#"))]
    lengths = [len(sentence.split()) for sentence in re.split(r"[.!?]\s|\n\s*\n(?:- )?|\n- ", "\n".join(lines))]
    return [length for length in lengths if length > 3]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        lengths = sentence_lengths(Path(name).read_text(encoding="utf-8"))
        print(f"{name}: {sum(lengths) / max(1, len(lengths)):.1f} words a sentence, {len(lengths)} sentences")
