"""The corpus of ``compare_learning.py``: spoken samples of some languages, with little of some directions."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from st.errors import UsageError
from st.files import write_json, write_text
from st.text.languages import split_direction

DATA = "data"
"""Folder of the prepared tree in the work folder."""


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """What the corpus is made of."""

    directions: list[str]
    little: list[str]
    """Those of the directions that get little to train on."""
    clips: int
    """Recordings that they get."""
    hours: float
    """Of speech in all languages together, before training data are taken away."""


def prepare_corpus(work: Path, settings: CorpusSettings, jobs: int, call: Callable[[list[str]], None]) -> None:
    """Make and prepare the corpus, unless it is there.

    Args:
        work: Folder of everything.
        settings: What to make.
        jobs: Processes.
        call: Runs a command.

    Raises:
        UsageError: If the folder holds a corpus of other settings.
    """
    path = work / "settings.json"
    wanted = asdict(settings)
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else wanted
    if found != wanted:
        raise UsageError(f"{work} holds a corpus of {found}, not of {wanted}; give another --work")
    write_json(path, wanted)
    if (work / DATA / "report.json").exists():
        return
    spoken = list(dict.fromkeys(split_direction(direction)[0] for direction in settings.directions))
    written = {split_direction(direction)[1] for direction in settings.directions} - {"en", *spoken}
    corpus, tables = work / "corpus", work / "tables"
    covost, processes = [sys.executable, "-m", "covost"], ["--jobs", str(jobs)]
    targets = ["--targets", ",".join(sorted(written))] if written else []
    call([*covost, "sample", "--out", str(corpus), "--languages", ",".join(spoken), *targets, "--hours",
          str(settings.hours), *processes])  # fmt: skip
    for direction in settings.directions:
        name = f"covost_v2.{direction}.tsv"
        table = (corpus / split_direction(direction)[0] / name).read_text(encoding="utf-8")
        if direction in settings.little:
            table = thin_table(table, settings.clips)
        write_text(tables / name, table)
    call([*covost, "prepare", "--cv-root", str(corpus), "--covost-root", str(tables), "--directions",
          ",".join(settings.directions), "--out", str(work / DATA), *processes])  # fmt: skip


def thin_table(table: str, clips: int, seed: int = 1) -> str:
    """Cut a CoVoST table's training rows down to some drawn at random; their order and all other rows stay.

    Args:
        table: Its text: a header with a column ``split``.
        clips: Training rows to keep.
        seed: Another one draws others.
    """
    lines = table.splitlines()
    column = lines[0].split("\t").index("split")
    train = [place for place, line in enumerate(lines) if place and line.split("\t")[column] == "train"]
    kept = set(random.Random(seed).sample(train, min(clips, len(train))))
    dropped = set(train) - kept
    return "".join(f"{line}\n" for place, line in enumerate(lines) if place not in dropped)


def count_rows(data: Path, directions: Sequence[str]) -> dict[str, int]:
    """Return the number of training utterances of each direction."""
    return {d: (data / f"train_{d}.tsv").read_text(encoding="utf-8").count("\n") - 1 for d in directions}
