from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from head_trees import declare_heads, edit_manifests, without_translation

from covost.cli import main
from st.audio.reading import encode_flac
from st.preparation.stores.store import StorePaths, read_records
from st.preparation.stores.verify_stores import flac_length
from st.preparation.tree.verify import verify


@pytest.fixture(scope="module")
def prepared() -> dict[str, Path]:
    """The tree, prepared once for all tests."""
    return {}


@pytest.fixture
def data(full_corpus, prepared: dict[str, Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a prepared tree, to damage."""
    if not prepared:
        out = tmp_path_factory.mktemp("verify") / "data"
        full_corpus.add("html.mp3", audio=b"<html>", translations={"de": "weg", "ca": "fora"})
        full_corpus.write()
        options = ["--directions", "en_de,en_ca", "--jobs", "1", "--max-skipped", "1"]
        assert main(["prepare", "--cv-root", str(full_corpus.root), "--out", str(out), *options]) == 0
        prepared["tree"] = out
    return Path(shutil.copytree(prepared["tree"], tmp_path / "data"))


def test_a_tree_and_its_copy_are_sound(
    data: Path, tmp_path: Path, full_corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    shutil.rmtree(full_corpus.root)
    for arguments in ([], ["--quick"], ["--decode", "0"]):
        capsys.readouterr()
        assert main(["verify", str(copy), *arguments]) == 0
        expected = "sizes and offsets are" if arguments == ["--quick"] else "everything is"
        assert capsys.readouterr().out == f"{copy}: {expected} as recorded\n"
    assert main(["verify", str(copy), "--decode", "-1"]) == 2


def replace(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        content = (root / name).read_bytes()
        assert old in content
        (root / name).write_bytes(content.replace(old, new, 1))

    return change


def flip(name: str, share: float) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[int(share * (len(content) - 1))] ^= 1
        (root / name).write_bytes(bytes(content))

    return change


def cut(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-1])


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def add_phones(root: Path) -> None:
    """Give every manifest a column for a head, which is the transcript again."""
    edit_manifests(root, lambda row: row | {"phones": row["src_text"]})
    shutil.copy(root / "ctc_vocab.json", root / "phones.json")
    declare_heads(root, phones={"kind": "ctc", "vocab_filename": "phones.json", "column": "phones"})


STORE = "audio/en/train.zip"
DAMAGE = {
    "clip": (flip(STORE, 0.4), "audio/en/train.zip: clip clip0", False),
    "first byte": (flip(STORE, 0.0), "audio/en/train.zip: clip clip00.mp3: damaged", False),
    "directory": (flip(STORE, 1.0), "audio/en/train.zip: the zip's directory differs", False),
    "cut store": (cut(STORE), "audio/en/train.zip: found", True),
    "no store": (remove(STORE), "audio/en/train.zip: missing", True),
    "no table": (remove("audio/en/train.index.tsv"), "audio/en/train.index.tsv: missing", True),
    "text": (replace("train_en_de.tsv", b"Satz 1", b"Satz 9"), "train_en_de.tsv: its SHA-256 differs", False),
    "offset": (replace("test_en_ca.tsv", b".zip:", b".zip:1"), "test_en_ca.tsv:2: its audio is no clip", True),
    "cut manifest": (cut("asr_dev_en.tsv"), "asr_dev_en.tsv: found", True),
    "ragged": (replace("dev_en_de.tsv", b"\ten\tde\n", b"\ten\tde\tx\n"), "dev_en_de.tsv: malformed", True),
    "no manifest": (remove("train_en_ca.tsv"), "train_en_ca.tsv: missing", True),
    "vocabulary": (flip("spm.model", 0.5), "spm.model: its SHA-256 differs", False),
    "index": (flip("index.parquet", 0.5), "index.parquet: its SHA-256 differs", False),
    "stray": (lambda root: shutil.copy(root / "dev_en_de.tsv", root / "dev_fr_en.tsv"), "dev_fr_en.tsv: not a", True),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(data: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, message, quick = DAMAGE[damage]
    change(data)
    capsys.readouterr()
    assert main(["verify", str(data)]) == 1
    assert message in capsys.readouterr().out
    assert main(["verify", str(data), "--quick"]) == int(quick)
    if quick:
        assert message in capsys.readouterr().out


def record_again(root: Path, *names: str) -> None:
    """Bring the digests up to date, so that only the contents can tell."""
    from st.preparation.digests import Digest, digests_json, read_digests

    digests = read_digests(root) | {name: Digest.of_file(root / name) for name in names}
    (root / "digests.json").write_bytes(digests_json(digests))


def first_row(root: Path, name: str) -> list[bytes]:
    return (root / name).read_bytes().split(b"\n")[1].split(b"\t")


def swap_first(name: str, column: int, value: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        fields = first_row(root, name)
        old = b"\t".join(fields)
        fields[column] = value
        replace(name, old, b"\t".join(fields))(root)

    return change


CONTENT = {
    "n_frames": ("train_en_de.tsv", swap_first("train_en_de.tsv", 2, b"17"), "n_frames differs from the store's table"),
    "id": ("train_en_de.tsv", swap_first("train_en_de.tsv", 0, b"clip01"), "its id is there already (1 such"),
    "language": ("train_en_de.tsv", swap_first("train_en_de.tsv", 7, b"fr"), "it is not a row from en to de"),
    "empty": ("test_en_de.tsv", swap_first("test_en_de.tsv", 3, b""), "test_en_de.tsv:2: its translation is empty"),
    "letters": ("train_en_de.tsv", swap_first("train_en_de.tsv", 3, "Ж".encode()), "dict.txt: cannot write 'Ж'"),
    "speech": ("asr_train_en.tsv", swap_first("asr_train_en.tsv", 5, "жук".encode()), "ctc_vocab.json: lacks ж к у"),
    "tag": ("dict.txt", replace("dict.txt", b"<lang:ca>", b"<lang:xx>"), "dict.txt: no language tag for ca"),
}


@pytest.mark.parametrize("what", CONTENT)
def test_contents_that_do_not_fit_are_found_though_the_digests_do(data: Path, what: str) -> None:
    name, change, message = CONTENT[what]
    change(data)
    record_again(data, name)
    problems = verify(data)
    assert len(problems) == (3 if what == "tag" else 1), "a tag is missed by each manifest of its language"
    assert all(message in problem for problem in problems)


def test_audio_of_another_split_is_found(data: Path) -> None:
    fields = first_row(data, "test_en_de.tsv")
    for column in (1, 2):
        swap_first("train_en_de.tsv", column, fields[column])(data)
    record_again(data, "train_en_de.tsv")
    assert verify(data, quick=True) == ["train_en_de.tsv:2: its audio is not of en train (1 such rows)"]


def test_rows_that_the_index_does_not_have_are_found(data: Path) -> None:
    lines = (data / "train_en_de.tsv").read_bytes().split(b"\n")
    (data / "train_en_de.tsv").write_bytes(b"\n".join([*lines[:3], *lines[4:]]))
    record_again(data, "train_en_de.tsv")
    assert verify(data) == ["train_en_de.tsv: 11 rows, but the index has 12"]


def test_p01_a_length_that_is_not_that_of_the_audio_is_found_by_header_and_by_decoding(data: Path) -> None:
    paths = StorePaths(data / STORE)
    record = read_records(paths.index)[0]
    content, table = paths.zip.read_bytes(), paths.index.read_bytes()
    line, wrong = record.to_line().encode(), record.to_line().replace(f"\t{record.n_frames}\t", "\t400\t").encode()
    paths.index.write_bytes(table.replace(line, wrong))
    swap = f"\t{record.n_frames}\t".encode()
    for name in ("train_en_de.tsv", "train_en_ca.tsv", "asr_train_en.tsv"):
        replace(name, swap, b"\t400\t")(data)
        record_again(data, name)
    record_again(data, "audio/en/train.index.tsv")
    message = f"{STORE}: clip clip00.mp3: its FLAC header says {record.n_frames} samples, the table 400"
    assert verify(data) == [message]
    assert verify(data, quick=True) == []
    assert paths.zip.read_bytes() == content


def test_flac_length_reads_the_header() -> None:
    for count in (1, 400, 123_457):
        assert flac_length(encode_flac(np.zeros(count, dtype=np.float32))) == count
    assert flac_length(encode_flac(np.zeros(400, dtype=np.float32), sample_rate=8_000)) is None
    assert flac_length(b"RIFF" + bytes(40)) is flac_length(b"fLaC") is None


def test_what_is_no_finished_tree_is_one_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "digests.json").write_text(json.dumps({"a": 1}), encoding="utf-8")
    assert main(["verify", str(data)]) == 1
    assert "digests.json: not the digests of a tree" in capsys.readouterr().err
    (data / "config.yaml").unlink()
    assert main(["verify", str(data)]) == 1
    assert "is this a tree that a preparation finished?" in capsys.readouterr().err


# -- columns and heads that were added afterwards -------------------------------------------------------------------


def test_manifests_with_columns_of_heads_are_recorded_and_verified(data: Path, capsys) -> None:
    add_phones(data)
    capsys.readouterr()
    assert main(["verify", str(data)]) == 1
    problems = capsys.readouterr().out.splitlines()
    assert {problem.partition(": ")[2].split()[0] for problem in problems} == {"found"}, "digests alone differ"
    assert main(["verify", str(data), "--record"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("config.yaml", "phones.json", "train_en_de.tsv", "asr_test_en.tsv"))
    assert "index" not in told
    assert main(["verify", str(data)]) == 0
    (data / "phones.json").unlink()
    assert main(["verify", str(data)]) == 1
    assert "phones.json: missing" in capsys.readouterr().out


def test_a_column_of_a_head_must_be_there_and_its_letters_known(data: Path) -> None:
    add_phones(data)
    texts = ["config.yaml", "phones.json", *(path.name for path in data.glob("*_*.tsv"))]
    edit_manifests(data, lambda row: row | {"phones": row["phones"] + " ж"}, "asr_train_en.tsv")
    edit_manifests(data, lambda row: {key: row[key] for key in row if key != "phones"}, "dev_en_ca.tsv")
    record_again(data, *texts)
    columns = "id audio n_frames tgt_text speaker src_text src_lang tgt_lang phones"
    expected = {f"dev_en_ca.tsv: no column phones; expected {columns}", "phones.json: lacks ж of asr_train_en.tsv"}
    assert {*verify(data)} == expected


def test_columns_may_stand_in_any_order_and_a_row_without_a_translation_is_one(data: Path) -> None:
    edit_manifests(data, lambda row: {"mine": "x"} | dict(reversed(row.items())), "test_en_de.tsv")
    record_again(data, "test_en_de.tsv")
    assert verify(data) == []
    edit_manifests(data, without_translation, "test_en_de.tsv")
    record_again(data, "test_en_de.tsv")
    assert verify(data) == []


def test_nothing_is_recorded_of_a_tree_that_is_broken_otherwise(data: Path, capsys) -> None:
    before = (data / "digests.json").read_bytes()
    swap_first("train_en_de.tsv", 2, b"17")(data)
    capsys.readouterr()
    assert main(["verify", str(data), "--record"]) == 1
    told = capsys.readouterr().out
    assert "n_frames differs" in told
    assert "nothing is recorded" in told
    assert (data / "digests.json").read_bytes() == before
    assert main(["verify", str(data), "--record", "--quick"]) == 2
