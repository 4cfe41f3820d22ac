"""Check a prepared tree against what was recorded when it was made, for after a copy to another machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from st.console import progress
from st.data.config import DataConfig
from st.errors import StError
from st.files import atomic_write
from st.preparation.digests import DIGESTS_FILENAME, Digest, digests_json, read_digests
from st.preparation.rows.transcripts import MANIFEST_PATTERNS
from st.preparation.stores.verify_stores import CheckedStore, check_store_content, check_store_size
from st.preparation.tree.verify_text import (
    VocabularyCheck,
    check_index,
    check_manifest,
    read_manifest_table,
    slices_table,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TABLE_END = ".index.tsv"


def verify(
    data_dir: Path, *, quick: bool = False, decode: int = 1000, digests: Mapping[str, Digest] | None = None
) -> list[str]:
    """Check a prepared tree.

    Args:
        data_dir: The tree.
        quick: Only sizes, and whether every row's audio is a clip of a store; nothing large is read.
        decode: Decode about so many clips, evenly chosen, and count their samples.
        digests: What its files must be; None for what the tree recorded.

    Returns:
        Problems as sentences that begin with the file; none if the tree is as it was made.

    Raises:
        StError: If this is no finished tree: without config or digests.
    """
    config = DataConfig.load(data_dir)
    digests = read_digests(data_dir) if digests is None else digests
    problems = [*_check_files(data_dir, digests, quick), *_strays(data_dir, digests)]
    stores = []
    for name in sorted(name for name in digests if name.endswith(_TABLE_END)):
        store, found = check_store_size(data_dir, name.removesuffix(_TABLE_END) + ".zip")
        problems += found
        stores.append((store, not found))
    if not quick:
        problems += _check_contents(data_dir, [store for store, whole in stores if whole], decode)
    problems += _check_text(data_dir, config, digests, [store for store, _ in stores], quick)
    return problems


def record(data_dir: Path, *, decode: int = 1000) -> tuple[list[str], list[str]]:
    """Take the texts of a tree as they are now for what it must be, if it is sound in everything else.

    Texts are config, manifests and vocabularies, of heads too: what people add to by hand. Stores, and the number and audio
    of rows, must be as they were made.

    Args:
        data_dir: The tree.
        decode: As for :func:`verify`.

    Returns:
        The files whose digests changed, and the problems; with problems nothing is recorded.

    Raises:
        StError: As for :func:`verify`.
    """
    before = read_digests(data_dir)
    heads = [head.vocab_filename for head in DataConfig.load(data_dir).head_data.values()]
    texts = [name for name in dict.fromkeys([*before, *heads]) if not name.endswith(_TABLE_END)]
    now = before | {name: Digest.of_file(data_dir / name) for name in texts if (data_dir / name).is_file()}
    problems = verify(data_dir, decode=decode, digests=now)
    if not problems:
        with atomic_write(data_dir / DIGESTS_FILENAME, "wb") as handle:
            handle.write(digests_json(now))
    return [name for name in now if now[name] != before.get(name)], problems


def _check_files(root: Path, digests: Mapping[str, Digest], quick: bool) -> Iterator[str]:
    total = sum(digest.size for digest in digests.values())
    with _progress("files", 0 if quick else total) as bar:
        for name, expected in digests.items():
            path = root / name
            if not path.is_file():
                yield f"{name}: missing"
            elif path.stat().st_size != expected.size:
                yield f"{name}: found {path.stat().st_size} bytes, expected {expected.size}"
            elif not quick and Digest.of_file(path) != expected:
                yield f"{name}: its SHA-256 differs from the one recorded in {DIGESTS_FILENAME}"
            bar.update(expected.size)


def _strays(root: Path, digests: Mapping[str, Digest]) -> Iterator[str]:
    """Find manifests that training would take for part of the tree."""
    for path in sorted(path for pattern in MANIFEST_PATTERNS for path in root.glob(pattern)):
        if path.name not in digests:
            yield f"{path.name}: not a file of this preparation; remove it"


def _check_contents(root: Path, stores: list[CheckedStore], decode: int) -> Iterator[str]:
    lengths = [record.length for store in stores for record in store.records if record.length]
    decode_every = max(1, len(lengths) // decode) if decode else 0
    with _progress("audio", sum(lengths)) as bar:
        for store in stores:
            yield from check_store_content(root, store, decode_every, bar.update)


def _check_text(
    root: Path, config: DataConfig, digests: Mapping[str, Digest], stores: list[CheckedStore], quick: bool
) -> list[str]:
    names = [name for name in digests if any(fnmatchcase(name, pattern) for pattern in MANIFEST_PATTERNS)]
    columns = [head.column for head in config.head_data.values()]
    slices = slices_table(stores)
    problems: list[str] = []
    vocabularies = None if quick else _attempt(problems, lambda: VocabularyCheck(root))
    num_rows: dict[str, int] = {}
    for name in progress(names, desc="manifests", unit="file"):
        table = _attempt(problems, partial(read_manifest_table, root / name, columns))
        if table is not None:
            num_rows[name] = len(table)
            problems += check_manifest(name, table, slices)
            problems += vocabularies.check(name, table) if vocabularies else []
    if not quick and len(num_rows) == len(names):
        problems += _attempt(problems, lambda: list(check_index(root, num_rows))) or []
    return problems


def _attempt(problems: list[str], step: Callable[[], T]) -> T | None:
    """Return what a step returns; an error of ours becomes a problem."""
    try:
        return step()
    except StError as exc:
        problems.append(str(exc))
        return None


def _progress(what: str, total: int) -> Any:
    return progress(total=total, desc=what, unit="B", unit_scale=True)
