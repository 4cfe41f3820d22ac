"""Damaged files of a corpus or a prepared tree are one sentence that names the file, whatever is in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from covost.corpus.tables import read_table
from covost.corpus.translations import LOCK_FILENAME, _Lock
from covost.sample.config import SETTINGS_FILE, SampleConfig, claim_folder
from st.commands.shared.options import shard_numbers
from st.data.manifest import COLUMNS, read_manifest
from st.errors import StError, UsageError
from st.preparation.archives.releases import CATALOGUE_FILENAME, read_catalogue, releases_of
from st.preparation.digests import DIGESTS_FILENAME, read_digests
from st.preparation.shards import Shard
from st.preparation.stores.store import INDEX_HEADER, read_records
from st.preparation.tree.corpus_index import INDEX_FILENAME, read_index

HUGE = "9" * 5000
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "digests": (DIGESTS_FILENAME, lambda path: read_digests(path.parent)),
    "index": (INDEX_FILENAME, lambda path: read_index(path.parent)),
    "store": ("train.index.tsv", read_records),
    "catalogue": (CATALOGUE_FILENAME, read_catalogue),
    "lock": (LOCK_FILENAME, _Lock),
    "shard": ("shards/1-of-2/shard.json", lambda path: Shard(2, 1).require_fingerprint(path.parents[2], "x")),
    "sample": (SETTINGS_FILE, lambda path: claim_folder(path.parent, SampleConfig(languages=("fr",)))),
    "manifest": ("train_fr_en.tsv", read_manifest),
    "table": ("validated.tsv", lambda path: read_table(path, ["path", "sentence"])),
}
ANYWHERE = [
    b"\xff\xfe\n",
    b"\0\0\n",
    b"[" * 100_000 + b"\n",
    b'{"a":' * 100_000 + b"\n",
    b"null\n",
    b"[]\n",
    b'{"": 1}\n',
    b"x\n",
]
INSIDE = {
    "digests": [
        f'{{"a": {{"bytes": {HUGE}, "sha256": "x"}}}}',
        '{"a": {"bytes": 1e999, "sha256": "x"}}',
        '{"../a": {"bytes": 1, "sha256": "x"}}',
        '{"a\\u0000b": {"bytes": 1, "sha256": "x"}}',
        '{"\\ud800": {"bytes": 1, "sha256": "x"}}',
    ],
    "store": [
        INDEX_HEADER + f"a.mp3\t{number}\t10\t7\t10\tok\t\t5\t7\n" for number in (HUGE, "9" * 30, "-1", "\u00b2", "1e9")
    ]
    + [INDEX_HEADER + "a.mp3\t0\t10\t7\t10\tnonsense\t\t5\t7\n"],
    "catalogue": [f"clip\tbytes\tcrc32\na.mp3\t{HUGE}\t7\n", "clip\tbytes\tcrc32\na.mp3\t1\t-7\n"],
    "lock": ['{"tables": {"fr_en": {"source": 1}}}', f'{{"tables": {{"fr_en": {{"rows": {{"train": {HUGE}}}}}}}}}'],
    "manifest": [
        "\t".join(COLUMNS) + f"\na\ta.wav\t{number}\tx\tx\tx\tfr\ten\n" for number in (HUGE, "9" * 30, "-1", "\u00b2")
    ],
    "table": ["path\tsentence\na\tb\tc\n", "path\tsentence\n" + "x" * 200_000 + "\tb\n", "path\tsentence\na\0\tb\n"],
}


@pytest.mark.parametrize("reader", READERS)
def test_fault_17_damaged_files_are_one_sentence_with_their_name(tmp_path: Path, reader: str) -> None:
    name, read = READERS[reader]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in [*ANYWHERE, *(text.encode() for text in INSIDE.get(reader, []))]:
        path.write_bytes(content)
        with pytest.raises(StError) as error:
            read(path)
        message = str(error.value)
        assert path.parent.name in message, content[:40]
        assert len(message) < 1000
        message.encode("utf-8")


def test_fault_17_a_damaged_record_of_releases_has_them_listed_again(tmp_path: Path) -> None:
    for content in (
        *ANYWHERE,
        b'{"releases": [{"path": 1, "files": 1, "bytes": 1, "mtime_ns": 1}]}',
        b'{"releases": {}}',
    ):
        (tmp_path / "release.json").write_bytes(content)
        assert releases_of(tmp_path / CATALOGUE_FILENAME) == []


@pytest.mark.parametrize("text", ["\u00b2/8", "\uff12/8", f"1/{HUGE}", "1/2\n", "0/2", "3/2"])
def test_fault_17_shards_that_are_none_are_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected i/n"):
        shard_numbers(text)
