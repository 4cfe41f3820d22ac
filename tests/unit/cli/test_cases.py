"""tests/CASES.md lists every case whose id a test has in its name, and says which have none yet."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
LISTED, _, WITHOUT = (TESTS / "CASES.md").read_text(encoding="utf-8").partition("## Without a test yet")


def listed() -> list[str]:
    return re.findall(r"^\| ([A-Z]\d\d) \|", LISTED, re.MULTILINE)


def used(text: str) -> set[str]:
    """Return the ids in the names of the tests of a file, of which a name may have several."""
    names = re.findall(r"^ *def test_((?:[a-z]\d\d_)+)", text, re.MULTILINE)
    return {case.upper() for name in names for case in name.split("_") if case}


def test_ids_are_found_in_names():
    assert used("def test_p01_x(): ...\n    def test_k04_t23_y():\n        def test_other(): ...\n# test_e01_z") == {
        "P01",
        "K04",
        "T23",
    }


def test_the_list_is_complete_and_says_what_has_no_test():
    cases = listed()
    assert cases == sorted(set(cases), key=cases.index), "a case is listed twice"
    found = set().union(*(used(file.read_text(encoding="utf-8")) for file in TESTS.rglob("test_*.py")))
    assert found - set(cases) == set(), "not in tests/CASES.md; add a line"
    without = WITHOUT.strip().splitlines()[-1].split()
    assert without == [case for case in sorted(cases) if case not in found], "the last line of tests/CASES.md"
