"""Links of the documentation lead somewhere, and its sentences are short."""

import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

from sentences import sentence_lengths  # noqa: E402

from st import __version__  # noqa: E402

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "tests" / "CASES.md"])


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for name, _, anchor in (link.partition("#") for link in links if "://" not in link):
        target = page.parent / name if name else page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target), f"{name}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short(page: Path) -> None:
    lengths = sentence_lengths(page.read_text(encoding="utf-8"))
    assert sum(lengths) / len(lengths) <= 20


def test_what_counts_as_a_sentence() -> None:
    text = "# A title of many words\n\nOne two three four; five: six. Too short.\n\n| a | b c d e f |\n\n- a b c d\n- e f g h i\n"
    assert sentence_lengths(text + "\n    some code that is long\n\n```\nmore code, and more\n```\n") == [6, 4, 5]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", __version__)
    assert all(paper["authors"] and paper["title"] and paper["url"] for paper in citation["references"])
