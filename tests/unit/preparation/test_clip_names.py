from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st.errors import ManifestError
from st.preparation.stores.names import ClipPlace, clip_name, is_file_name, parse, split_member
from st.preparation.stores.store import member_name

MICROSECONDS = st.integers(0, 10**12).map(lambda number: number / 10**6)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (("wav/a.flac",), "wav/a.flac"),
        (("wav/talk.flac", 12.34, 17.92), "wav/talk.flac@000012.340-000017.920"),
        (("wav/talk.flac", 12.34), "wav/talk.flac@000012.340-end"),
        (("wav/talk.flac", None, 3), "wav/talk.flac@000000.000-000003.000"),
        (("talk.flac", 0.0625, 1.0000004), "talk.flac@000000.0625-000001.000"),
        (("x.parquet#17", 1, 2), "x.parquet#17@000001.000-000002.000"),
    ],
)
def test_what_clips_are_called(place: tuple[str, float, float], name: str) -> None:
    assert clip_name(*place) == name


@given(MICROSECONDS, MICROSECONDS, st.booleans())
def test_a_name_is_read_as_it_was_made(one: float, other: float, to_end: bool) -> None:
    start, end = min(one, other), None if to_end else max(one, other)
    assert parse(clip_name("a@b/c-d.wav", start, end)) == ClipPlace("a@b/c-d.wav", start, end)


@given(MICROSECONDS, MICROSECONDS)
def test_names_sort_by_time(one: float, other: float) -> None:
    names = clip_name("a.wav", one), clip_name("a.wav", other)
    assert (one < other) == (names[0] < names[1])


@pytest.mark.parametrize(
    "name", ["a@1-2.wav", "a.wav@1.5-2.5", "a.wav@000001.000-", "@000001.000-end", "a#1.wav", "a.zip#"]
)
def test_other_names_are_those_of_recordings(name: str) -> None:
    assert parse(name) == (name, None, None)
    assert is_file_name(name)


@pytest.mark.parametrize("place", [("a.wav", -1, 2), ("a.wav", 2, 1), ("a.wav@000001.000-end", None, None)])
def test_impossible_places_are_refused(place: tuple[str, float | None, float | None]) -> None:
    with pytest.raises(ManifestError, match=r"a\.wav"):
        clip_name(*place)


@pytest.mark.parametrize("kind", ["zip", "parquet", "tar", "tar.gz", "tgz", "ZIP"])
def test_members_of_containers(kind: str) -> None:
    assert split_member(f"data/x.{kind}#a/b.wav") == (f"data/x.{kind}", "a/b.wav")


def test_no_two_clips_share_a_member_of_the_store() -> None:
    names = [
        clip_name("a.wav", 1, 2.001), clip_name("a.wav", 1, 2.002), clip_name("a.wav", 1), "a.wav", "b.zip#a.wav",
        "x.parquet#1", "x.parquet#2",
    ]  # fmt: skip
    assert len({member_name(name) for name in names}) == len(names)
    assert member_name("a.wav") == b"a.flac"
