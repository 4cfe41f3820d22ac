"""Recordings without any text: those that are too long for a training are cut at pauses.

What was found of a recording is kept in ``<out>/.cuts/cuts.jsonl``, a line for each. So a run that is repeated or resumed,
another shard, and the merge of shards do not listen to it again.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from st.audio.sound_file import WholeFile
from st.audio.stream import SAMPLE_RATE, AudioStream, decoding
from st.console import progress
from st.doors.parsing import PARSER_ERRORS
from st.engines.engine import Engine
from st.errors import AudioError
from st.files import atomic_write
from st.preparation.archives.records import one_at_a_time
from st.preparation.stores.clips import open_clip, path_of
from st.preparation.stores.decode import UNREADABLE, ClipDecoder, DecodedClip
from st.preparation.stores.members import is_tar
from st.preparation.stores.names import split_member
from st.preparation.stores.store import StoreRecord
from st.segmentation.cutting import CutOptions
from st.segmentation.detectors import make_detector
from st.segmentation.levels import SpeechMeter
from st.segmentation.plan import plan_speech

logger = logging.getLogger(__name__)

CUTS_FOLDER = ".cuts"
_FILENAME = "cuts.jsonl"
_PIECES = {"audio": pl.String, "number": pl.Int64, "start_s": pl.Float64, "end_s": pl.Float64}
_ENTRY = frozenset(("audio", "bytes", "mtime_ns", "status", "pieces", "left_out"))


@dataclass(frozen=True, slots=True)
class CutRows:
    """Rows whose recordings are short enough, and what was done to make them so."""

    rows: pl.DataFrame
    report: Mapping[str, Any] = field(default_factory=dict)
    """Recordings that were cut, pieces, their hours, hours left out by reason, and what could not be cut by reason."""


def cut_rows(rows: pl.DataFrame, folder: Path, out: Path, engine: Engine[Any], options: CutOptions) -> CutRows:
    """Cut recordings that are longer than ``options.longest_s``, and leave out where nobody speaks in them.

    Args:
        rows: As in :mod:`st.corpora.rows`. Those that are a part of a recording stay as they are, and so do recordings in tar
            archives, which cannot be listened to before they are taken out.
        folder: Where recordings are that are not named from the root.
        out: The tree to be prepared.
        engine: What listens to them.
        options: How.

    Returns:
        Rows in the order of :mod:`st.corpora.rows`; pieces have the id of their row with ``_0``, ``_1`` … behind it.
    """
    is_whole = pl.col("start_s").is_null() & pl.col("end_s").is_null()
    whole = rows.filter(is_whole)["audio"].unique().sort().to_list()
    listened = [audio for audio in whole if not _is_in_tar(audio)]
    with one_at_a_time(out / CUTS_FOLDER):
        found = _listen([audio.removeprefix(f"{folder}/") for audio in listened], folder, out, engine, options)
    cut = {audio: entry for audio, entry in zip(listened, found, strict=True) if entry["pieces"] is not None}
    pieces = [(audio, n, *piece) for audio, entry in cut.items() for n, piece in enumerate(entry["pieces"])]
    is_cut = is_whole & pl.col("audio").is_in([*cut])
    parts = rows.filter(is_cut).drop("start_s", "end_s").join(pl.DataFrame(pieces, _PIECES, orient="row"), on="audio")
    parts = parts.with_columns(id=pl.format("{}_{}", "id", "number")).select(rows.columns)
    joined = pl.concat([rows.filter(~is_cut), parts]).sort("audio", "start_s", "id", nulls_last=False)
    return CutRows(joined, _report([*cut.values()], found, len(whole) - len(listened)))


def _is_in_tar(audio: str) -> bool:
    place = split_member(audio)
    return place is not None and is_tar(place[0])


def _report(cut: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], packed: int) -> dict[str, Any]:
    lost = Counter[str]()
    for entry in cut:
        lost.update(entry["left_out"])
    uncut = Counter(entry["status"] for entry in found if entry["status"] != "ok")
    if packed:
        uncut["in a tar archive"] = packed
        logger.warning(
            "%d recordings are in tar archives and are not cut; unpack these if recordings are longer than --max-seconds",
            packed,
        )
    kept = sum(end - start for entry in cut for start, end in entry["pieces"])
    report = {
        "recordings": len(cut),
        "pieces": sum(len(entry["pieces"]) for entry in cut),
        "hours": round(kept / 3600, 4),
        "left_out_hours": {reason: round(seconds / 3600, 4) for reason, seconds in sorted(lost.items())},
        "not_cut": dict(sorted(uncut.items())),
    }
    told = ", ".join(f"{reason} {hours:.2f} h" for reason, hours in report["left_out_hours"].items()) or "nothing"
    logger.info(
        "%d long recordings cut into %d pieces of %.2f h; left out: %s",
        len(cut),
        report["pieces"],
        report["hours"],
        told,
    )
    return report


def _listen(
    names: Sequence[str], folder: Path, out: Path, engine: Engine[Any], options: CutOptions
) -> list[dict[str, Any]]:
    """Return what is found of each recording, in their order; what an earlier run found of a file that did not change stays."""
    path = out / CUTS_FOLDER / _FILENAME
    # Tells once if only levels can be had; the processes tell nobody.
    how = {"detector": type(make_detector()).__name__, **asdict(options)}
    known = _read(path, how)
    stamps = {name: _stamp(folder, name) for name in names}
    known = {name: entry for name, entry in known.items() if stamps.get(name) == (entry["bytes"], entry["mtime_ns"])}
    missing = [name for name in names if name not in known]
    if missing:
        _write(path, how, known.values())
        with (
            path.open("a", encoding="utf-8") as file,
            ClipDecoder(engine, partial(find_cuts, options=options)) as pool,
            progress(total=len(missing), desc="pauses", unit="recording") as bar,
        ):
            for name, heard in zip(missing, pool.decode(folder, missing), strict=True):
                known[name] = _entry(name, stamps[name], heard)
                file.write(json.dumps(known[name]) + "\n")
                file.flush()
                bar.update()
    return [known[name] for name in names]


def _stamp(folder: Path, name: str) -> tuple[int, int]:
    """Return what tells two states of a recording's file apart; zeros if it cannot be asked."""
    place = split_member(name)
    with suppress(OSError):
        stat = Path(path_of(folder, place[0] if place else name)).stat()
        return stat.st_size, stat.st_mtime_ns
    return 0, 0


def _entry(name: str, stamp: tuple[int, int], heard: DecodedClip) -> dict[str, Any]:
    nothing: dict[str, Any] = {"pieces": None, "left_out": {}}
    found = json.loads(heard.payload) if isinstance(heard.payload, bytes) and heard.payload else nothing
    if heard.message:
        logger.warning("not cut: %s", heard.message)
    return {"audio": name, "bytes": stamp[0], "mtime_ns": stamp[1], "status": heard.record.status, **found}


def _write(path: Path, how: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> None:
    with atomic_write(path) as file:
        file.writelines(json.dumps(line) + "\n" for line in (how, *entries))


def _read(path: Path, how: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what was found earlier by name; nothing if it was found in another way, or the file is none of ours."""
    with suppress(FileNotFoundError, *PARSER_ERRORS):
        lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(lines[0]) == how:
            entries = [
                json.loads(line) for line in lines[1:] if line.endswith("}")
            ]  # A killed run's last line may be half.
            return {
                entry["audio"]: entry for entry in entries if entry.keys() == _ENTRY and entry["status"] != UNREADABLE
            }
    return {}


def find_cuts(folder: str, clip: str, options: CutOptions) -> DecodedClip:
    """Listen to a recording, unless its header says that it is short enough; a failure becomes a status.

    Returns:
        As payload JSON with ``pieces``, pairs of seconds or None for a recording that is not to be cut, and ``left_out``,
        seconds by reason; nothing if it cannot be decoded.
    """
    path = path_of(folder, clip)
    try:
        with open_clip(folder, clip) as source, decoding(path):
            file = WholeFile(source.handle, source, path)
            with AudioStream(file, path) as stream:
                if 0 < file.frames <= options.longest_s * file.samplerate:
                    return _heard(clip, {"pieces": None, "left_out": {}})
                return _heard(clip, _cut(stream, options))
    except AudioError as exc:
        return DecodedClip(StoreRecord(clip, status=exc.reason), message=str(exc))
    except OSError as exc:
        return DecodedClip(StoreRecord(clip, status=UNREADABLE), message=f"{path}: {exc.strerror}")


def _heard(clip: str, found: Mapping[str, Any]) -> DecodedClip:
    return DecodedClip(StoreRecord(clip), json.dumps(found).encode())


def _cut(stream: AudioStream, options: CutOptions) -> dict[str, Any]:
    meter, num_samples = SpeechMeter(make_detector()), 0
    for block in stream.blocks():
        meter.push(block)
        num_samples += len(block)
    plan = plan_speech(num_samples, *meter.finish(), options)
    left_out = Counter[str]()
    for gap in plan.gaps(plan.segments):
        left_out[gap.reason] += gap.end - gap.start
    return {
        "pieces": [(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE) for span in plan.segments],
        "left_out": {reason: count / SAMPLE_RATE for reason, count in sorted(left_out.items())},
    }
