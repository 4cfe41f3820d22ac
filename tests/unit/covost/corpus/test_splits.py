from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from covost.cli import main
from covost.corpus.splits import (
    CorpusLayout,
    DirectionTable,
    SpokenLanguage,
    coverage,
    load_direction,
    require_coverage,
)
from st.errors import ManifestError
from st.preparation.rows.policy import KEPT_FINDINGS, Policy, apply_audio_policy, apply_text_policy


def load(corpus, direction: str = "fr_en") -> DirectionTable:
    layout = CorpusLayout(cv_root=corpus.write())
    return load_direction(layout, direction, SpokenLanguage.load(layout, direction.split("_")[0]))


def reasons(table: DirectionTable) -> dict[str, str | None]:
    return {f"{row['clip']}:{row['line']}": row["reason"] for row in table.rows.iter_rows(named=True)}


def test_p23_train_takes_train_covost_and_nothing_else_is_mixed(corpus) -> None:
    names = ("train", "train_covost", "dev", "dev_covost", "test", "test_covost")
    for name in names:
        corpus.add(f"{name}.mp3", name)
    table = load(corpus)
    splits = dict(table.rows.select("id", "split").iter_rows())
    assert splits == {"train": "train", "train_covost": "train", "dev": "dev", "test": "test"}
    assert table.unused == 2


def test_p23_clips_in_different_splits_of_two_directions_are_told_of(
    full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", "--cv-root", str(full_corpus.root), "--directions", "en_de,en_ca", "--jobs", "1"]
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    assert "different splits" not in capsys.readouterr().err
    rows = full_corpus.translations["ca"]
    rows[12] = (*rows[12][:2], "train")
    full_corpus.write()
    assert main([*command, "--out", str(tmp_path / "two")]) == 0
    assert "en: 1 clips are in different splits of different directions, such as clip12.mp3" in capsys.readouterr().err


def test_p23_a_clip_listed_in_two_splits_stays_in_one(corpus) -> None:
    corpus.add("a.mp3", "train")
    corpus.translations["en"].append(("a.mp3", "again", "test"))
    kept = load(corpus).rows.filter(pl.col("reason").is_null())
    assert kept.select("id", "split").rows() == [("a", "train")]


def test_p19_duplicates_do_not_multiply_rows_and_are_counted(corpus) -> None:
    corpus.add("a.mp3")
    corpus.add("b.mp3")
    corpus.sentences.append(("s9", "a.mp3", "une autre phrase"))
    corpus.translations["en"].append(("a.mp3", "another", "train"))
    table = load(corpus)
    assert reasons(table) == {"a.mp3:2": None, "a.mp3:4": "duplicate", "b.mp3:3": None}
    assert table.rows["src_text"][0] == "bonjour à tous"
    assert SpokenLanguage.load(CorpusLayout(cv_root=corpus.root), "fr").duplicates == 1


def test_two_clips_with_one_name_but_two_extensions_are_duplicates(corpus) -> None:
    corpus.add("a.mp3")
    corpus.add("a.wav")
    assert set(reasons(load(corpus)).values()) == {None, "duplicate"}


@pytest.mark.parametrize(
    "clip", ["../../x.mp3", "/etc/passwd", "a:1:2", "C:x.mp3", "a\\\\b.mp3", "..", ".x.mp3", "", "a/b"]
)
def test_p20_unsafe_paths_are_rejected(corpus, clip: str) -> None:
    corpus.add("good.mp3")
    corpus.add(clip, audio=None)
    assert sorted(map(str, reasons(load(corpus)).values())) == ["None", "unsafe_path"]


def test_p20_plain_names_are_accepted(corpus) -> None:
    names = ["-dash.mp3", "with space.mp3", "été.mp3", "no_extension", "two.dots.mp3"]
    for name in names:
        corpus.add(name)
    table = load(corpus)
    assert set(reasons(table).values()) == {None}
    assert set(table.rows["id"]) == {"-dash", "with space", "été", "no_extension", "two.dots"}


def test_p21_missing_clips_are_counted_and_low_coverage_stops_with_a_hint(corpus) -> None:
    for number in range(8):
        corpus.add(f"{number}.mp3", "dev", audio=None if number == 3 else b"")
    corpus.translations["en"].append(("unknown.mp3", "x", "dev"))
    table = load(corpus)
    assert reasons(table)["3.mp3:5"] == "missing_clip"
    assert reasons(table)["unknown.mp3:10"] == "not_in_validated"
    assert coverage(table.rows) == [("dev", 7, 9)]
    require_coverage(table, 0.77, "a.mp3")
    with pytest.raises(ManifestError, match=r"fr_en dev: found 7 of 9 clips \(77.8%\).*Common Voice release of fr"):
        require_coverage(table, 0.8, "a.mp3")


def test_p20_unsafe_paths_are_not_found_and_the_message_names_one(corpus) -> None:
    for number in range(4):
        corpus.add(f"{number}.mp3")
        corpus.translations["en"].append((f"clips/{number}.mp3", "x", "test"))
    table = load(corpus)
    assert coverage(table.rows) == [("test", 0, 4), ("train", 4, 4)]
    with pytest.raises(ManifestError, match=r"found 0 of 4 clips .*; 4 paths .* such as 'clips/0\.mp3' in line \d+;"):
        require_coverage(table, 0.9, "a.mp3")


def test_p21_repeated_rows_do_not_make_up_for_missing_clips(corpus) -> None:
    for number in range(4):
        corpus.add(f"{number}.mp3", "test", audio=b"" if number == 3 else None)
    corpus.translations["en"] += [("3.mp3", "x", "test")] * 36
    table = load(corpus)
    assert coverage(table.rows) == [("test", 1, 4)]
    with pytest.raises(ManifestError, match=r"found 1 of 4 clips"):
        require_coverage(table, 0.9, "a.mp3")


def test_unknown_split_names_the_line(corpus) -> None:
    corpus.add("a.mp3", "validation")
    with pytest.raises(ManifestError, match=r"covost_v2\.fr_en\.tsv:2: split is 'validation'; expected one of train"):
        load(corpus)


def test_wrong_layouts_name_the_file(corpus, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="`cv_root` is the folder"):
        SpokenLanguage.load(CorpusLayout(cv_root=tmp_path / "absent"), "fr")
    corpus.add("a.mp3")
    corpus.write()
    with pytest.raises(ManifestError, match=r"cv/de: no Common Voice release of de.*holds: fr"):
        SpokenLanguage.load(CorpusLayout(cv_root=corpus.root), "de")
    with pytest.raises(ManifestError, match=r"covost_v2\.fr_en\.tsv: not found; looked for .* and "):
        CorpusLayout(cv_root=corpus.root, covost_root=tmp_path).translations("fr_en")


def test_all_missing_tables_are_named_at_once(corpus) -> None:
    corpus.add("a.mp3")
    corpus.write()
    (corpus.root / "en").mkdir()
    layout = CorpusLayout(cv_root=corpus.root)
    layout.require_translations(["fr_en", "de_en"])  # no German at all is told in its own words
    with pytest.raises(ManifestError, match=r"covost_v2\.en_de\.tsv: not found"):
        layout.require_translations(["fr_en", "en_de"])
    with pytest.raises(ManifestError, match=r"^2 of 3 CoVoST tables .*: en_de, en_ja; .* `directions` fr_en does"):
        layout.require_translations(["fr_en", "en_de", "en_ja"])


def test_tables_may_lie_in_either_place(corpus, tmp_path: Path) -> None:
    corpus.add("a.mp3")
    inside = corpus.write() / "fr" / "covost_v2.fr_en.tsv"
    assert CorpusLayout(cv_root=corpus.root).translations("fr_en") == inside
    flat = inside.rename(tmp_path / inside.name)
    assert CorpusLayout(cv_root=corpus.root, covost_root=tmp_path).translations("fr_en") == flat
    beside = flat.rename(corpus.root / flat.name)
    assert CorpusLayout(cv_root=corpus.root).translations("fr_en") == beside


def test_p16_p12_text_reaches_the_rows_unharmed(corpus) -> None:
    for number, text in enumerate(("NULL", "nan", 'a "b" c', " spaces \u2028 and\x85breaks ")):
        corpus.add(f"{number}.mp3", translations={"en": text})
    assert load(corpus).rows["tgt_text"].to_list() == ["NULL", "nan", 'a "b" c', "spaces   and breaks"]


@pytest.mark.parametrize("text", ["", "  ", "\u2028"])
def test_p18_empty_target_is_dropped_from_train_and_an_error_in_test(corpus, text: str) -> None:
    corpus.add("a.mp3", "train", translations={"en": text})
    corpus.add("b.mp3", "test")
    rows = apply_text_policy(load(corpus), Policy())
    assert rows["reason"].to_list() == ["empty_target", None]
    corpus.add("c.mp3", "test", translations={"en": text})
    with pytest.raises(ManifestError, match=r"covost_v2\.fr_en\.tsv:4: test clip c\.mp3 has an empty translation"):
        apply_text_policy(load(corpus), Policy())


def test_removed_and_unspoken_rows_are_dropped_from_train_and_flagged_in_test(corpus) -> None:
    for split in ("train", "test"):
        corpus.add(f"a-{split}.mp3", split, translations={"en": "REMOVE"})
        corpus.add(f"b-{split}.mp3", split, text=" ")
    rows = {row["id"]: row for row in apply_text_policy(load(corpus), Policy()).iter_rows(named=True)}
    assert rows["a-train"]["reason"] == "removed_target"
    assert rows["b-train"]["reason"] == "empty_source"
    assert rows["a-test"]["reason"] is rows["b-test"]["reason"] is None
    assert rows["a-test"]["flag"] == "removed_target"


def decoded(corpus, n_frames: int, flags: str = "", status: str = "ok", text: str = "a", **policy) -> dict[str, str]:
    """Return what happens to a clip in train and in test: a reason, or ``+flag`` if it is kept."""
    for split in ("train", "test"):
        corpus.add(f"{split}.mp3", split, text=text, audio=None)
    (corpus.clips / "train.mp3").touch()
    (corpus.clips / "test.mp3").touch()
    index = pl.DataFrame(
        [(split, f"{split}.mp3", "audio", n_frames, status, flags) for split in ("train", "test")],
        schema=["split", "clip", "audio", "n_frames", "status", "flags"],
        orient="row",
    )
    rows = apply_audio_policy(apply_text_policy(load(corpus), Policy()), index, "fr", Policy(**policy))
    return {row["split"]: row["reason"] or f"+{row['flag']}" for row in rows.iter_rows(named=True)}


def test_p10_399_samples_are_too_short_and_400_are_not(corpus) -> None:
    assert decoded(corpus, 399) == {"train": "too_short", "test": "+too_short"}
    corpus.sentences.clear()
    corpus.translations.clear()
    assert decoded(corpus, 400) == {"train": "+None", "test": "+None"}


@pytest.mark.parametrize(
    ("n_frames", "expected"), [(32_000, "+None"), (32_001, "too_long")], ids=["at the limit", "beyond"]
)
def test_p11_over_long_clips_go_from_train_only(corpus, n_frames: int, expected: str) -> None:
    result = decoded(corpus, n_frames, max_seconds=2.0)
    assert result["train"] == expected
    assert result["test"].startswith("+")


@pytest.mark.parametrize("flag", ["truncated", "silent"])
@pytest.mark.parametrize("keep", [False, True])
def test_p01_p07_flagged_clips_go_from_train_unless_kept(corpus, flag: str, keep: bool) -> None:
    result = decoded(corpus, 16_000, flag, **{f"keep_{flag}": keep})
    assert result == ({"train": "+None", "test": "+None"} if keep else {"train": flag, "test": f"+{flag}"})


@pytest.mark.parametrize("flag", KEPT_FINDINGS)
@pytest.mark.parametrize("drop", [False, True])
def test_other_findings_drop_nothing_unless_it_is_asked_for(corpus, flag: str, drop: bool) -> None:
    result = decoded(corpus, 16_000, f"{flag},other", also_drop=(flag,) if drop else ())
    assert result == ({"train": flag, "test": f"+{flag}"} if drop else {"train": "+None", "test": "+None"})


@pytest.mark.parametrize("status", ["undecodable", "empty_audio", "non_finite", "out_of_range", "unreadable"])
def test_what_has_no_audio_is_dropped_everywhere(corpus, status: str) -> None:
    assert decoded(corpus, 0, status=status) == {"train": status, "test": status}


def test_t11_transcript_longer_than_the_frames_goes_from_train(corpus) -> None:
    # "abcde" takes five frames: 400 + 4 * 320 samples; "aabbc" two blanks more.
    for text, needed in (("abcde!", 5), ("A-abb c.", 8), ("aabbc", 7)):
        shortest = 400 + (needed - 1) * 320
        for n_frames, expected in ((shortest, "+None"), (shortest - 1, "transcript_too_long")):
            corpus.sentences.clear()
            corpus.translations.clear()
            result = decoded(corpus, n_frames, text=text, max_chars_per_second=100.0)
            assert result["train"] == expected, (text, n_frames)
            assert result["test"] == "+" + expected.removeprefix("+")
