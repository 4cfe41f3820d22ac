"""What published corpora get wrong, and what options take of them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from corpora_layouts import LAYOUTS, fleurs, iwslt, lhotse, lhotse_recording, mls, mustc, voxpopuli
from corpora_planted import put

from st.corpora.layouts.fleurs import fleurs_code
from st.corpora.layouts.mls import CODES
from st.corpora.rows import Corpus, translation_codes
from st.corpora.sources import SOURCES, read_corpus, recognise
from st.errors import ManifestError, UsageError
from st.options import options
from st.text.languages import language

_FLEURS = """
af_za am_et ar_eg as_in ast_es az_az be_by bg_bg bn_in bs_ba ca_es ceb_ph ckb_iq cmn_hans_cn cs_cz cy_gb da_dk de_de
el_gr en_us es_419 et_ee fa_ir ff_sn fi_fi fil_ph fr_fr ga_ie gl_es gu_in ha_ng he_il hi_in hr_hr hu_hu hy_am id_id
ig_ng is_is it_it ja_jp jv_id ka_ge kam_ke kea_cv kk_kz km_kh kn_in ko_kr ky_kg lb_lu lg_ug ln_cd lo_la lt_lt luo_ke
lv_lv mi_nz mk_mk ml_in mn_mn mr_in ms_my mt_mt my_mm nb_no ne_np nl_nl nso_za ny_mw oc_fr om_et or_in pa_in pl_pl
ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se sw_ke ta_in te_in tg_tj th_th tr_tr uk_ua umb_ao
ur_pk uz_uz vi_vn wo_sn xh_za yo_ng yue_hant_hk zu_za
"""
FLEURS = _FLEURS.split()


def read(root: Path, name: str, **given: object) -> Corpus:
    return read_corpus(root, SOURCES[name], SOURCES[name].options(**given))


def texts(corpus: Corpus) -> list[str | None]:
    return corpus.rows.sort("id")["transcript"].to_list()


def test_every_language_of_fleurs_has_a_code_of_its_own_and_a_name() -> None:
    codes = [fleurs_code(name) for name in FLEURS]
    assert len(set(codes)) == len(FLEURS) == 102
    assert [code for code in codes if language(code).name == code] == []
    told = {
        "cmn_hans_cn": "zh-CN",
        "es_419": "es",
        "pt_br": "pt",
        "sv_se": "sv-SE",
        "yue_hant_hk": "yue",
        "ar_eg": "ar",
    }
    assert {name: fleurs_code(name) for name in told} == told


def test_every_language_of_mls_has_its_code() -> None:
    assert {language(code).name.lower(): code for code in CODES.values()} == CODES


def test_fleurs_takes_the_languages_that_are_asked_for(tmp_path: Path) -> None:
    fleurs(tmp_path)
    found = read(tmp_path, "fleurs", languages="zh_CN", targets="fr")
    assert set(found.rows["src_lang"]) == {"zh-CN"}
    assert translation_codes(found.rows) == ["fr"]
    assert translation_codes(read(tmp_path, "fleurs", targets="de").rows) == []
    assert texts(read(tmp_path / "fr_fr", "fleurs", plain=True)) == ["sept", "il dit non", "il dit non"]


def test_fleurs_refuses_a_table_with_a_header(tmp_path: Path) -> None:
    put(tmp_path / "fr_fr/train.tsv", "\t".join(["id", "file_name", *"abcde"]) + "\n")
    with pytest.raises(ManifestError, match=r"train\.tsv:1: expected FLEURS's table, with no header"):
        read(tmp_path, "fleurs")


def test_mls_reads_a_limited_part_and_knows_its_languages(tmp_path: Path) -> None:
    mls(tmp_path)
    train = read(tmp_path, "mls", limited="1hr/0", languages="de").rows.filter(split="train")
    assert train["id"].to_list() == ["g10_20_000001"]
    put(tmp_path / "mls_klingon/train/transcripts.txt", "1_2_3\tx\n")
    with pytest.raises(ManifestError, match="mls_klingon: no language of MLS"):
        read(tmp_path, "mls")
    put(tmp_path / "mls_german/dev/transcripts.txt", "1_2\tx\n")
    with pytest.raises(ManifestError, match=r"transcripts\.txt:1: '1_2'; expected <speaker>_<book>_<number>"):
        read(tmp_path / "mls_german", "mls")


def test_voxpopuli_takes_the_plain_texts_where_they_are_asked_for(tmp_path: Path) -> None:
    voxpopuli(tmp_path)
    assert texts(read(tmp_path, "voxpopuli", plain=True)) == ["he said no", "raw text is missing"]
    with pytest.raises(ManifestError, match="no utterance is in it"):
        read(tmp_path, "voxpopuli", languages="de")


def test_mustc_tests_with_the_other_set_where_it_is_asked_for(tmp_path: Path) -> None:
    mustc(tmp_path)
    found = read(tmp_path, "mustc", test="tst-HE")
    assert found.skipped == {"segments of tst-COMMON": 2}
    assert set(found.rows.filter(split="test")["audio"]) == {f"{tmp_path}/en-de/data/tst-HE/wav/ted_tst-HE.wav"}


def test_a_language_that_is_no_ending_of_the_texts_is_told_of(tmp_path: Path) -> None:
    iwslt(tmp_path)
    with pytest.raises(ManifestError, match="which of que spa is spoken\\? Name it by `language`; quy is none of them"):
        read(tmp_path, "mustc", language="quy")


LIST = "en-de/data/train/txt/train.yaml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- {duration: 1, offset: 0, wav: a.wav}\n", r"train\.de: has 2 lines; train\.yaml has 1 entries"),
        ("- {duration: 1, offset: 0, wav: ../a.wav}\n" * 2, "2 recordings have unsafe names"),
        ("- {duration: 1, offset: 0, wav: /a.wav}\n" * 2, "2 recordings have unsafe names"),
        ("- {duration: 1, offset: x, wav: a.wav}\n" * 2, "the start is 'x' in 2 rows"),
        ("- {duration: x, offset: 1, wav: a.wav}\n" * 2, "the end or duration is 'x' in 2 rows"),
        ("- {duration: 1, wav: a.wav}\n" * 2, r"train\.yaml: entry 1 has no offset"),
        ("a: b\n", r"train\.yaml: not a list of segments.*it is no list"),
        ("- &a {duration: 1, offset: 0, wav: a.wav}\n- *a\n", "line 2 is no mapping of plain values"),
        ("- &a {x: 1}\n- {<<: *a, wav: a.wav}\n", "line 2 is no mapping of plain values"),
        ("- {duration: [1], offset: 0, wav: a.wav}\n", "line 1 is no mapping of plain values"),
        ("- {duration: 1\n", r"train\.yaml: not a list of segments"),
        ("", r"train\.yaml: not a list of segments"),
    ],
)
def test_a_list_of_segments_that_is_wrong_is_refused(tmp_path: Path, content: str, message: str) -> None:
    mustc(tmp_path)
    put(tmp_path / LIST, content)
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, "mustc")


def test_a_tag_of_yaml_makes_no_object(tmp_path: Path) -> None:
    mustc(tmp_path)
    entry = "- {duration: 1, offset: 0, wav: a.wav, speaker_id: !!python/object/apply:os.getpid []}\n"
    put(tmp_path / LIST, entry * 2)
    with pytest.raises(ManifestError, match="line 1 is no mapping of plain values"):
        read(tmp_path, "mustc")
    put(tmp_path / LIST, entry.replace(" []", " x") * 2)
    assert "x" in set(read(tmp_path, "mustc").rows["speaker"])


def test_iwslt_asks_which_language_is_spoken(tmp_path: Path) -> None:
    LAYOUTS["iwslt"][1](tmp_path)
    with pytest.raises(ManifestError, match=r"which of que spa is spoken\? Name it by `language`"):
        read(tmp_path, "mustc")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wav.scp", "talk sph2pipe -f wav x.sph |\n", r"wav\.scp: 1 recordings are made by commands, .*such as talk;"),
        (
            "wav.scp",
            "talk data/raw.ark:1234\n",
            "1 recordings are parts of an ark, such as talk; write them to audio files",
        ),
        ("wav.scp", "talk a.wav\ntalk b.wav\n", r"wav\.scp:1: talk is there 2 times; expected once"),
        ("wav.scp", "talk a.wav\n\nb b.wav\n", r"wav\.scp:2: an empty line"),
        ("segments", "u1 talk 0\n", r"segments:1: 'u1 talk 0'; expected a name, a recording"),
        ("text", "u1 a\nu1 b\n", r"text:1: u1 is there 2 times"),
    ],
)
def test_kaldi_files_that_are_wrong_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    LAYOUTS["kaldi"][1](tmp_path)
    put(tmp_path / "data/train" / name, content)
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, "kaldi")


def test_kaldi_counts_texts_that_nobody_says_and_takes_other_roots(tmp_path: Path) -> None:
    LAYOUTS["kaldi"][1](tmp_path)
    put(tmp_path / "data/train/text", "u1 a\nu9 b\n")
    assert read(tmp_path, "kaldi").skipped["utterances of text without a recording"] == 1
    assert set(read(tmp_path, "kaldi", audio_root="/corpora").rows["audio"]) == {"/corpora/talk.wav"}


def test_europarl_takes_noisy_segments_and_targets_as_asked(tmp_path: Path) -> None:
    LAYOUTS["europarl"][1](tmp_path)
    found = read(tmp_path, "europarl", noisy=True, targets="de")
    assert translation_codes(found.rows) == ["de"]
    assert found.rows["split"].to_list() == ["train", "train"]
    put(tmp_path / "fr/de/train/segments.lst", "talk 0.5\n")
    with pytest.raises(ManifestError, match=r"segments\.lst:1: 'talk 0\.5'; expected a talk, its start and its end"):
        read(tmp_path, "europarl")
    put(tmp_path / "fr/de/train/segments.lst", "talk 0.5 1\ntalk 1 2\n")
    with pytest.raises(ManifestError, match=r"segments\.fr: has 1 lines; segments\.lst has 2 entries"):
        read(tmp_path, "europarl")


def test_covost_knows_its_splits(tmp_path: Path) -> None:
    LAYOUTS["covost"][1](tmp_path)
    assert translation_codes(read(tmp_path, "covost", targets="de").rows) == ["de"]
    put(tmp_path / "en/covost_v2.en_de.tsv", "path\ttranslation\tsplit\na.mp3\tx\tvalid\n")
    with pytest.raises(ManifestError, match=r"covost_v2\.en_de\.tsv:2: split is 'valid'"):
        read(tmp_path, "covost")


def test_common_voice_without_its_clips_or_its_splits_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "fr/validated.tsv", "")
    with pytest.raises(ManifestError, match="no folder clips is in it"):
        read(tmp_path, "commonvoice")
    with pytest.raises(UsageError, match="not recognised; name the kind by `source`"):
        recognise(tmp_path)
    (tmp_path / "fr/clips").mkdir()
    assert recognise(tmp_path).name == "commonvoice"
    with pytest.raises(ManifestError, match=r"no train\.tsv, dev\.tsv or test\.tsv beside clips"):
        read(tmp_path, "commonvoice")


def test_covost_takes_tables_from_elsewhere(tmp_path: Path) -> None:
    rows = LAYOUTS["covost"][1](tmp_path / "cv")
    expected = read(tmp_path / "cv", "covost").rows
    for name, place in (("en_de", "tables/en"), ("en_zh-CN", "tables")):
        put(tmp_path / place / f"covost_v2.{name}.tsv", (tmp_path / f"cv/en/covost_v2.{name}.tsv").read_bytes())
        (tmp_path / f"cv/en/covost_v2.{name}.tsv").unlink()
    assert len(expected) == len(rows)
    assert read(tmp_path / "cv", "covost", covost_root=str(tmp_path / "tables")).rows.equals(expected)
    with pytest.raises(ManifestError, match="no utterance is in it"):
        read(tmp_path / "cv", "covost")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": "0"}, r"supervisions_dev\.jsonl:1: expected an object of lhotse with .*; check start"),
        ({"id": 7}, "check id"),
        ({"custom": {"translated_text": "yes"}}, "not a supervision of lhotse"),
        (
            {"recording_id": "lost"},
            "no utterance is in it; not taken: 1 supervisions of recordings that are not listed",
        ),
    ],
)
def test_supervisions_that_are_wrong_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    supervision = {"id": "u", "recording_id": "r", "start": 0.0, "duration": 2.0} | change
    put(tmp_path / "supervisions_dev.jsonl", json.dumps(supervision))
    put(tmp_path / "recordings_dev.jsonl", json.dumps(lhotse_recording("r", "a.wav")))
    with pytest.raises(ManifestError, match=message):
        read(tmp_path, "lhotse")


def test_supervisions_without_their_recordings_are_an_error(tmp_path: Path) -> None:
    lhotse(tmp_path)
    (tmp_path / "corpus_recordings_dev.jsonl.gz").unlink()
    with pytest.raises(ManifestError, match=r"corpus_recordings_dev\.jsonl\.gz: no such file"):
        read(tmp_path, "lhotse")


def test_text_files_that_are_wrong_are_refused(tmp_path: Path) -> None:
    LAYOUTS["textfiles"][1](tmp_path)
    found = read(tmp_path, "textfiles", language="fr", speakers=True)
    assert found.rows["speaker"].to_list() == ["test", "train", "train"]
    (tmp_path / "test/b.txt").write_bytes(b"\xe9")
    with pytest.raises(ManifestError, match=r"b\.txt: byte 0xe9 is not UTF-8"):
        read(tmp_path, "textfiles")
    (tmp_path / "test/b.txt").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(ManifestError, match="has more than 1,048,576 bytes"):
        read(tmp_path, "textfiles")


def test_audiofolder_in_folders_of_splits(tmp_path: Path) -> None:
    for split, text in (("train", "one"), ("validation", "two")):
        put(tmp_path / split / "metadata.jsonl", json.dumps({"file_name": "a.wav", "text": text}))
    found = read(tmp_path, "audiofolder").rows
    assert found.select("id", "split", "transcript").rows() == [
        ("train/a", "train", "one"),
        ("validation/a", "dev", "two"),
    ]


def test_parquet_files_as_the_hub_converts_them(tmp_path: Path) -> None:
    LAYOUTS["parquet"][1](tmp_path)
    (tmp_path / "default/test").mkdir(parents=True)
    (tmp_path / "data/validation-00000-of-00002.parquet").rename(tmp_path / "default/test/0000.parquet")
    (tmp_path / "data/validation-00001-of-00002.parquet").unlink()
    assert recognise(tmp_path).name == "parquet"
    found = read(tmp_path, "parquet").rows.filter(pl.col("split") != "train")
    assert found.select("id", "split").row(1) == ("default/test/0000.parquet#1", "test")


@pytest.mark.parametrize(("layout", "old", "new"), [("voxpopuli", "en", "english"), ("europarl", "fr", "french")])
def test_a_folder_whose_name_is_no_language_is_named(tmp_path: Path, layout: str, old: str, new: str) -> None:
    LAYOUTS[layout][1](tmp_path)
    place = tmp_path / "transcribed_data" if layout == "voxpopuli" else tmp_path
    (place / old).rename(place / new)
    with pytest.raises(ManifestError, match=rf"{new}.*: no language '{new}'"):
        read(tmp_path, layout)


def test_every_source_has_options_with_help_and_a_line_of_its_own() -> None:
    for source in SOURCES.values():
        assert options(source.options)
        assert source.help
        assert source.options() == source.options()


def test_what_is_not_there_or_not_known_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder; expected a corpus"):
        recognise(tmp_path / "none")
    with pytest.raises(UsageError, match=r"not recognised; .*fleurs \(FLEURS: "):
        recognise(tmp_path)
    with pytest.raises(ManifestError, match="no such file or folder"):
        read(tmp_path / "none", "tables")


def test_prepared_manifests_are_no_voxpopuli(tmp_path: Path) -> None:
    put(tmp_path / "asr_train_fr.tsv", "id\taudio\n")
    assert recognise(tmp_path).name == "tables"
