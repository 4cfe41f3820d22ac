"""Mutation fuzz: changed files of every kind go through the doors that commands and trainings read them by.

Valid inputs are made by the project's own code, changed a little or much, and read. What shall happen: it is taken, or
refused in one sentence. What must not: a trace, a crash, more than --seconds-limit, or more than --memory-limit resident.

  python scripts/fuzz.py                                     a few minutes
  python scripts/fuzz.py --mutants 100000 --jobs 2           the whole of it
  python scripts/fuzz.py --kinds audio,archives --seed 7 --keep faults
  python scripts/fuzz.py --seed 7 --one audio:1234           one mutant again, with its trace

A mutant depends on the seed, its kind and its number alone. Exit code 1 if there was a fault; the table lists different
ones by kind of error and innermost place in this project. With --keep, the folder of a mutant lies there with its trace
beside it; a door that is a command line runs in it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
PATHS = [str(ROOT / "scripts"), str(ROOT / "tests"), str(ROOT)]
sys.path[:0] = PATHS

from fuzzing.trial import Fault, Fuzz  # noqa: E402
from fuzzing.workers import Limits, Mutant, make_seeds, try_all  # noqa: E402

UNITS = {"GB": 1 << 30, "MB": 1 << 20, "": 1}
KEPT_OF_EACH = 5
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
"""Of the workers: one thread each, no network, no progress bars."""

Found = dict[tuple[str, str], list[tuple[Mutant, Fault]]]
"""Mutants and their faults, by error and place."""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = result.add_argument
    add("--kinds", default="", metavar="LIST", help="of the kinds in the table (default: all)")
    add("--mutants", type=int, default=10_000, metavar="N", help="shared by the kinds (default: %(default)s)")
    add("--first", type=int, default=0, metavar="N", help="number of the first mutant of a kind (default: %(default)s)")
    add("--seed", type=int, default=1, help="another number, other mutants (default: %(default)s)")
    add("--jobs", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    add(
        "--seconds-limit",
        type=float,
        default=10.0,
        metavar="S",
        help="of CPU time, for one mutant (default: %(default)s)",
    )
    add(
        "--memory-limit",
        type=num_bytes,
        default="2GB",
        metavar="SIZE",
        help="resident, such as 500MB (default: %(default)s)",
    )
    add(
        "--keep",
        type=Path,
        metavar="DIR",
        help=f"store up to {KEPT_OF_EACH} mutants of each fault there (default: none)",
    )
    add("--one", type=mutant, metavar="KIND:NUMBER", help="try one mutant alone and print its trace")
    add("--table", default="fuzzing.kinds", metavar="MODULE", help="whose KINDS are tried (default: %(default)s)")
    return result


def num_bytes(text: str) -> int:
    """Return a size such as ``2GB`` in bytes."""
    unit = next(unit for unit in UNITS if text.upper().endswith(unit))
    return int(float(text[: len(text) - len(unit)]) * UNITS[unit])


def mutant(text: str) -> Mutant:
    """Return kind and number of ``audio:12``."""
    kind, _, number = text.partition(":")
    return kind, int(number)


def keep(fuzz: Fuzz, name: Mutant, fault: Fault, folder: Path) -> None:
    """Store a mutant as its door saw it, and the trace beside it."""
    target = folder / f"{name[0]}-{fuzz.seed}-{name[1]}"
    if not target.exists():
        door = fuzz.write(*name, target)
        told = door if isinstance(door, str) else door.__name__
        target.with_suffix(".txt").write_text(f"{fault.what} in {fault.where}, door: {told}\n\n{fault.trace}")


def show(found: Found, tried: int, seed: int) -> None:
    """Print the different faults, the most frequent first."""
    print(f"{tried} mutants of seed {seed}, {sum(map(len, found.values()))} with a fault, {len(found)} different")
    for (what, where), cases in sorted(found.items(), key=lambda item: -len(item[1])):
        names = " ".join(f"{kind}:{number}" for (kind, number), _ in cases[:3])
        print(f"{len(cases):>6}  {what:<24} {where:<60} {names}")


def main(argv: Sequence[str] | None = None) -> int:
    """Try mutants; return 1 if one of them has a fault."""
    args = parser().parse_args(argv)
    if Path("/dev/shm").is_dir():  # noqa: S108  # in memory nothing waits for a disk
        tempfile.tempdir = "/dev/shm"  # noqa: S108
    os.environ.update(SURROUNDINGS, PYTHONPATH=os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")]))
    known = [*importlib.import_module(args.table).KINDS]
    kinds = [args.one[0]] if args.one else [name for name in args.kinds.split(",") if name] or known
    if not set(kinds) <= set(known):
        parser().error(f"unknown kind; choose from: {', '.join(known)}")
    mutants = [args.one] if args.one else [
        (kinds[n % len(kinds)], args.first + n // len(kinds)) for n in range(args.mutants)
    ]  # fmt: skip
    found: Found = defaultdict(list)
    tried = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-seeds-") as seeds, contextlib.suppress(KeyboardInterrupt):
        fuzz = Fuzz(args.table, Path(seeds), args.seed)
        make_seeds(fuzz, kinds)
        limits = Limits(seconds=args.seconds_limit, num_bytes=args.memory_limit)
        bar = tqdm(try_all(fuzz, mutants, args.jobs, limits), total=len(mutants), unit="mutant", disable=None)
        for tried, (name, fault) in enumerate(bar, start=1):  # noqa: B007
            if fault is None:
                continue
            cases = found[fault.what, fault.where]
            cases.append((name, fault))
            bar.set_postfix(faults=len(found))
            if args.keep and len(cases) <= KEPT_OF_EACH:
                keep(fuzz, name, fault, args.keep)
            if args.one:
                print(f"door: {fault.door}\n{fault.trace}")
    show(found, tried, args.seed)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
