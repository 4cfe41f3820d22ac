"""The archive door, on real archives made to break out."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from st.errors import ArchiveError
from st.preparation.archives.archives import COMMON_VOICE_LIMITS, DEFAULT_LIMITS, Limits, read_members, take_file

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda data: data,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}
CONTENT = {"clips/a.mp3": b"a" * 3000, "clips/b.mp3": b"", "validated.tsv": b"path\n" * 400}


def entry(
    name: str, data: bytes = b"x", *, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mode = kind, link, len(data), 0o4777
    return info, data


def tar_bytes(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def zip_bytes(*entries: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return sink.getvalue()


def archive(folder: Path, data: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(data)
    return path


def read_all(path: Path, limits: Limits = DEFAULT_LIMITS) -> dict[str, bytes]:
    return {member.name: member.content.read() for member in read_members(path, limits)}


def refused(tmp_path: Path, data: bytes, match: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Both ways in refuse, and nothing at all was written by taking a file out."""
    path = archive(tmp_path, data)
    before = {str(item): item.lstat().st_mtime_ns for item in tmp_path.rglob("*") if not item.is_dir()}
    for use in (lambda: take_file(path, "good", tmp_path / "target", limits), lambda: read_all(path, limits)):
        with pytest.raises(ArchiveError, match=match) as error:
            use()
        assert str(path) in str(error.value)
    assert {str(item): item.lstat().st_mtime_ns for item in tmp_path.rglob("*") if not item.is_dir()} == before


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_tars_are_read(tmp_path: Path, suffix: str, form: int) -> None:
    entries = [
        entry("./clips/", b"", kind=tarfile.DIRTYPE),
        *(entry(f"./{name}", data) for name, data in CONTENT.items()),
    ]
    path = archive(tmp_path, COMPRESSIONS[suffix](tar_bytes(*entries, form=form)))
    assert list(read_all(path).items()) == list(CONTENT.items())
    take_file(path, "a.mp3", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == CONTENT["clips/a.mp3"]
    assert not (tmp_path / "target").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_are_read(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path, zip_bytes(("clips/", b""), *CONTENT.items(), method=method))
    assert read_all(path) == CONTENT


def test_names_of_every_length_and_script_are_kept(tmp_path: Path) -> None:
    names = ["é" * 100 + ".mp3", "/".join(["long"] * 60), "日本語/кириллица.tsv"]
    path = archive(tmp_path, tar_bytes(*(entry(name) for name in names)))
    assert [member.name for member in read_members(path)] == names


def test_a_file_that_is_taken_out_replaces_another_and_is_the_only_one_of_its_name(tmp_path: Path) -> None:
    target = tmp_path / "table.tsv"
    target.write_bytes(b"old")
    path = archive(tmp_path, tar_bytes(*(entry(name, data) for name, data in CONTENT.items())))
    take_file(path, "validated.tsv", target)
    assert target.read_bytes() == CONTENT["validated.tsv"]
    with pytest.raises(ArchiveError, match=r"archive: the archive has no other\.tsv"):
        take_file(path, "other.tsv", target)
    with pytest.raises(ArchiveError, match=r"archive: the archive has several of x\.tsv"):
        take_file(archive(tmp_path, tar_bytes(entry("a/x.tsv"), entry("b/x.tsv"))), "x.tsv", target)
    assert target.read_bytes() == CONTENT["validated.tsv"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["archive", "table.tsv"]


BAD_NAMES = ["../x", "a/../../x", "/etc/x", "..", "C:\\x", "c:x", "a\\..\\..\\x", "a\nb", "x" * 300, "\x7f"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_p29_tar_members_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, gzip.compress(tar_bytes(entry("good"), entry(name))), "member")


@pytest.mark.parametrize("name", [*BAD_NAMES, "a\0b"])
def test_p30_zip_slip_is_refused(tmp_path: Path, name: str) -> None:
    data = (
        zip_bytes(("good", b"x"), ("N" * len(name), b"x")) if "\0" in name else zip_bytes(("good", b"x"), (name, b"x"))
    )
    refused(tmp_path, data.replace(b"N" * len(name), name.encode()), "member")


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([entry("d", b"", kind=tarfile.SYMTYPE, link="/tmp"), entry("d/x")], "symbolic link to '/tmp'"),
        ([entry("d", b"", kind=tarfile.SYMTYPE, link="."), entry("d/x")], "symbolic link"),
        ([entry("h", b"", kind=tarfile.LNKTYPE, link="../../../etc/passwd")], "hard link"),
        ([entry("a"), entry("h", b"", kind=tarfile.LNKTYPE, link="a")], "hard link"),
        ([entry("null", b"", kind=tarfile.CHRTYPE)], "character device"),
        ([entry("sda", b"", kind=tarfile.BLKTYPE)], "block device"),
        ([entry("pipe", b"", kind=tarfile.FIFOTYPE)], "pipe"),
        ([entry("what", b"", kind=b"Z")], "special type"),
        ([entry("a"), entry("a")], "occurs twice"),
        ([entry("a/b"), entry("./a//b")], "occurs twice"),
        ([entry("a"), entry("a/b")], "both a file and a folder"),
        ([entry("a/b"), entry("a")], "both a file and a folder"),
        ([entry("a"), entry("a", b"", kind=tarfile.DIRTYPE)], "both a file and a folder"),
        ([entry(".")], "file without a name"),
    ],
)
def test_p29_links_devices_and_repeated_names_are_refused(tmp_path: Path, entries, match: str) -> None:
    refused(tmp_path, gzip.compress(tar_bytes(*entries)), match)


def many_members(path: Path, count: int) -> Path:
    """Write a tar of empty files: one header, its name and its checksum replaced again and again."""
    header = tar_bytes(entry("0000000", b""))[:512]
    total = int(header[148:154], 8) - sum(b"0000000")
    names = (f"{number:07}".encode() for number in range(count))
    with gzip.open(path, "wb", compresslevel=1) as sink:
        sink.writelines(name + header[7:148] + b"%06o\0 " % (total + sum(name)) + header[156:] for name in names)
        sink.write(bytes(1024))
    return path


def test_p29_more_members_than_allowed_are_refused(tmp_path: Path) -> None:
    data = many_members(tmp_path / "archive", 3_000).read_bytes()
    refused(tmp_path, data, "holds more than 2,999 files", Limits(max_members=2_999))
    read_all(archive(tmp_path, data), Limits(max_members=3_000))
    assert Limits().max_members < 10**6 < COMMON_VOICE_LIMITS.max_members


@pytest.mark.slow
def test_p29_a_million_members_are_refused_unless_allowed(tmp_path: Path) -> None:
    path = many_members(tmp_path / "archive", 10**6)
    with pytest.raises(ArchiveError, match="holds more than 100,000 files"):
        take_file(path, "good", tmp_path / "target")
    assert not (tmp_path / "target").exists()
    allowed = read_members(path, Limits(max_members=10**6, max_ratio=1e6))
    assert sum(1 for _ in zip(range(100_010), allowed, strict=False)) == 100_010


def test_headers_that_were_read_are_not_kept_in_memory(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 3_500):
        path = many_members(tmp_path / "archive", count)
        tracemalloc.start()
        assert sum(1 for _ in read_members(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 3_000 < 250, "bytes per member: its name, to notice repeated ones"


def test_p30_a_zip_of_a_million_members_is_refused_before_its_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zip_bytes(*((f"{number}", b"") for number in range(300)), method=zipfile.ZIP_STORED)
    end64 = b"PK\6\6" + bytes(28) + (10**6).to_bytes(8, "little") + bytes(16) + b"PK\6\7" + bytes(16)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(tmp_path, data, "holds 300 files", Limits(max_members=299))
    refused(tmp_path, data.replace(b"PK\5\6", end64 + b"PK\5\6"), "holds 1,000,000 files")


def test_p29_a_huge_size_is_refused_when_its_header_is_read(tmp_path: Path) -> None:
    info, _ = entry("huge")
    info.size = 9 << 40
    refused(tmp_path, info.tobuf() + bytes(2048), "unpacks to more than")


SMALL = Limits(ratio_free_bytes=1 << 20)


def test_p29_a_tar_that_unpacks_to_far_more_than_itself_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, gzip.compress(tar_bytes(entry("zeros", bytes(66 << 20))), 1), "more than 67,108,864 bytes")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_p29_bombs_of_every_format_are_refused_unless_allowed(tmp_path: Path, compress) -> None:
    bomb = compress(tar_bytes(entry("zeros", bytes(2 << 20))))
    refused(tmp_path, bomb, "unpacks to more than 1,048,576 bytes", SMALL)
    read_all(archive(tmp_path, bomb), Limits(ratio_free_bytes=1 << 20, max_ratio=1e6))
    refused(tmp_path, bomb, "unpacks to more than 2,000,000 bytes", Limits(max_bytes=2_000_000))


def test_p29_zeros_without_end_after_the_last_member_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, gzip.compress(tar_bytes(entry("a")) + bytes(2 << 20)), "unpacks to more than", SMALL)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_p29_an_endless_name_is_refused_before_it_fills_the_memory(tmp_path: Path, kind: bytes) -> None:
    info, data = entry("././@LongLink", b"n" * (16 << 20), kind=kind)
    bomb = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + data, compresslevel=1)
    path = archive(tmp_path, bomb)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="header is larger than any honest one"):
        read_all(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_p30_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, zip_bytes(("zeros", bytes(66 << 20))), "unpacks to more than 67,108,864")
    refused(tmp_path, zip_bytes(*((str(n), bytes(1 << 16)) for n in range(17))), "unpacks to more than", SMALL)


def test_p30_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    size = (1 << 20).to_bytes(4, "little")
    data = zip_bytes(("zeros", bytes(1 << 20)))
    assert data.count(size) == 2
    refused(tmp_path, data.replace(size, (1000).to_bytes(4, "little")), "not a sound archive")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_p30_links_and_devices_in_zips_are_refused(tmp_path: Path, mode: int) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (mode | 0o777) << 16
    refused(tmp_path, zip_bytes((info, b"/etc/passwd")), "a link or a device")


def test_p30_encrypted_and_repeated_members_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zip_bytes(("a", b"x"), ("a", b"y"))
    refused(tmp_path, data, "occurs twice")
    data = bytearray(zip_bytes(("a", b"x")))
    data[data.index(b"PK\1\2") + 8] |= 1
    refused(tmp_path, bytes(data), "encrypted")


def sparse_tar(form: str) -> bytes:
    """Return a tar of a file with a hole, as GNU tar writes it in one of its formats."""
    if form == "old":
        header = bytearray(tar_bytes(entry("a", b"x" * 512), form=tarfile.GNU_FORMAT)[:512])
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[386:410] = b"%011o\0%011o\0" % (4096, 512)  # the one piece: where it lies, and its size
        header[483:495] = b"%011o\0" % 8192  # the size with holes
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header) + b"x" * 512 + bytes(1024)
    maps = {
        "0.1": {"GNU.sparse.map": "4096,512", "GNU.sparse.numblocks": "1", "GNU.sparse.size": "8192"},
        "1.0": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "8192"},
    }
    data = (b"1\n4096\n512\n".ljust(512, b"\0") if form == "1.0" else b"") + b"x" * 512
    info, _ = entry("GNUSparseFile.0/a", data)
    info.pax_headers = {**maps[form], "GNU.sparse.name": "a"}
    return tar_bytes((info, data))


@pytest.mark.parametrize("form", ["old", "0.1", "1.0"])
def test_p29_files_with_holes_are_refused(tmp_path: Path, form: str) -> None:
    with tarfile.open(archive(tmp_path, sparse_tar(form))) as tar:
        assert [(info.name, info.issparse(), info.size) for info in tar] == [("a", True, 8192)]
    refused(tmp_path, sparse_tar(form), "is a file with holes; only")


SPARSE_NONSENSE = [
    {"GNU.sparse.map": "1,2,3"},
    {"GNU.sparse.map": "x"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
    {"GNU.sparse.size": "9" * 5000},
    {"GNU.sparse.size": "-1"},
    {"GNU.sparse.size": "\u00b2", "GNU.sparse.numblocks": "\u00b2"},
    {"size": "\u00b2"},
    {"size": "-1"},
    {"size": "9" * 30},
    {"mtime": "nan", "uid": "1e999"},
    {"hdrcharset": "BINARY", "path": "\udcff"},
]


@pytest.mark.parametrize("headers", SPARSE_NONSENSE, ids=str)
def test_fault_17_nonsense_in_the_extended_headers_of_a_tar_is_one_sentence(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    records = b"".join(pax_record(key, value) for key, value in headers.items())
    head = tarfile.TarInfo("pax")
    head.type, head.size = tarfile.XHDTYPE, len(records)
    tar = head.tobuf() + records.ljust(-(-len(records) // 512) * 512, b"\0") + tar_bytes(entry("a", b"x" * 512))
    # Some of it does no harm; nothing of it may end in another error.
    with contextlib.suppress(ArchiveError):
        take_file(archive(tmp_path, tar), "a", tmp_path / "target")
    assert not (tmp_path / "a").exists()


def pax_record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    return next(b"%d%s" % (size, rest) for size in range(10_000) if len(b"%d%s" % (size, rest)) == size)


@pytest.mark.parametrize("place", ["directory offset", "directory size", "local offset"])
@pytest.mark.parametrize("value", [0xFFFFFFFE, 0xFFFFFFFF, 9_999, 7])
def test_fault_17_wrong_places_in_a_zip_are_one_sentence(tmp_path: Path, place: str, value: int) -> None:
    data = bytearray(zip_bytes(("a.tsv", os.urandom(300))))
    end, directory = data.rfind(b"PK\5\6"), data.rfind(b"PK\1\2")
    offset = {"directory offset": end + 16, "directory size": end + 12, "local offset": directory + 42}[place]
    data[offset : offset + 4] = value.to_bytes(4, "little")
    refused(tmp_path, bytes(data), "not a sound archive")


def test_p29_a_tar_without_its_end_mark_is_refused(tmp_path: Path) -> None:
    data = tar_bytes(entry("a", b"x" * 512))
    for ending in (b"", bytes(511), b"\0" * 511 + b"x", bytes(1024) + b"x" * 512):
        refused(tmp_path, data[:1024] + ending, "not a sound archive|damaged")
    read_all(archive(tmp_path, data[:1024] + bytes(1024)))


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_p29_archives_cut_short_or_damaged_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = [entry(f"{number}.mp3", os.urandom(5000)) for number in range(3)]
    data = COMPRESSIONS[suffix](tar_bytes(*noise))
    # A plain tar may end anywhere after its end mark, which is followed by padding.
    for length in (0, 100, 4000, 512 + 5120, 512 + 5120 + 300, 12_000):
        refused(tmp_path, data[:length], "not a sound archive|damaged")
    spoilt = bytearray(data)
    spoilt[5632 + 100 : 5632 + 140] = bytes(40)  # in the second header of the plain tar
    refused(tmp_path, bytes(spoilt), "not a sound archive|damaged")


def test_a_zip_cut_short_or_damaged_is_refused(tmp_path: Path) -> None:
    data = zip_bytes(("a", os.urandom(5000)))
    refused(tmp_path, data[:4000], "not a sound archive")
    refused(tmp_path, data[:1000] + b"!!!!" + data[1004:], "not a sound archive")


@pytest.mark.parametrize(
    "data", [b"", b"<html><body>404</body></html>", b"\x1f\x8b<html>", b"PK\3\4 nonsense", b"path\n" * 900]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data, "not a sound archive|damaged")


def test_p29_a_link_that_was_there_before_is_not_followed_out(tmp_path: Path) -> None:
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.write_bytes(b"mine")
    target.symlink_to(outside)
    take_file(archive(tmp_path, tar_bytes(entry("clips/a.mp3"))), "a.mp3", target)
    assert outside.read_bytes() == b"mine"
    assert target.read_bytes() == b"x"


def test_p26_nothing_has_its_final_name_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, tar_bytes(*(entry(name, data) for name, data in CONTENT.items())))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        take_file(path, "a.mp3", tmp_path / "target")
    assert [item.name for item in tmp_path.iterdir()] == ["archive"]
