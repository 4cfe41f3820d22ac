"""One mutant: made from its name alone, put through a door, and what came of it."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl

from fuzzing.containers import mutate
from st.errors import StError

ROOT = Path(__file__).resolve().parents[2]
Maker = Callable[[Path], object]
"""Fills a folder with valid input."""
Door = str | Callable[[], object]
"""A command line or a function; both work in the folder of the input."""
TRACE_BEGINS = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Sample:
    """A valid input and its doors."""

    make: Maker
    doors: tuple[Door, ...]
    """Each changed input goes through one of them."""
    files: str = "*"
    """Which files below the folder are changed."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What must not happen."""

    what: str
    """Class of the error, or hang, memory, signal 11 …"""
    where: str
    """Innermost place in this project's packages."""
    door: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Fuzz:
    """A run of the fuzz; a mutant is a function of ``seed``, its kind and its number, nothing else."""

    table: str
    """Module whose ``KINDS`` are the samples by kind."""
    seeds: Path
    """Folder of the valid inputs, ``<kind>/<number of the sample>``."""
    seed: int

    def samples(self, kind: str) -> list[Sample]:
        """Return the samples of a kind."""
        return [*importlib.import_module(self.table).KINDS[kind].values()]

    def make_seeds(self, kinds: list[str]) -> None:
        """Make the valid inputs, and see that every door takes them.

        Raises:
            RuntimeError: If a command refuses one; a function raises its own error.
        """
        made: dict[Maker, Path] = {}
        for kind in kinds:
            for number, sample in enumerate(self.samples(kind)):
                folder = self.seeds / kind / str(number)
                if sample.make in made:
                    shutil.copytree(made[sample.make], folder)
                else:
                    made[sample.make] = folder
                    folder.mkdir(parents=True)
                    with _captured():
                        sample.make(folder)
                for door in dict.fromkeys(sample.doors):
                    _require_valid(door, folder)

    def write(self, kind: str, number: int, folder: Path) -> Door:
        """Write a mutant into a folder; return the door that it goes through."""
        rng = Random(f"{self.seed}:{kind}:{number}")
        samples = self.samples(kind)
        place = rng.randrange(len(samples))
        source, sample = self.seeds / kind / str(place), samples[place]
        files = sorted(path for path in source.rglob(sample.files) if path.is_file())
        chosen, other = rng.choice(files), rng.choice(files)
        shutil.copytree(source, folder)
        changed = mutate(chosen.name, chosen.read_bytes(), rng, other.read_bytes())
        (folder / chosen.relative_to(source)).write_bytes(changed)
        return rng.choice(sample.doors)

    def attempt(self, kind: str, number: int, folder: Path) -> Fault | None:
        """Make a mutant in a folder that is not there yet, try it, and remove it."""
        try:
            return enter(self.write(kind, number, folder), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _require_valid(door: Door, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        with contextlib.chdir(copy), _captured() as said:
            code = go_through(door)
        if code:
            raise RuntimeError(f"{folder}: {name_of(door)} refuses valid input: {said.getvalue()}")


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Keep the standard streams quiet; yield what is said on that of errors."""
    output, said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(said):
        yield said


def enter(door: Door, folder: Path) -> Fault | None:
    """Go through a door in a folder; an error of this project, or of the system about a file, is what shall happen."""
    said = io.StringIO()
    try:
        with contextlib.chdir(folder), _captured() as said:
            go_through(door)
    except StError:
        pass
    except OSError as error:
        if not error.filename:  # The sentence that a command makes of it would not say of which file.
            return fault_of(error, door)
    except (Exception, pl.exceptions.PanicException) as error:
        return fault_of(error, door)
    if TRACE_BEGINS in said.getvalue():
        return Fault(
            what="trace in the log", where=innermost_written(said.getvalue()), door=name_of(door), trace=said.getvalue()
        )
    return None


def go_through(door: Door) -> int:
    """Run a command line, or call a function; return the exit code."""
    if not isinstance(door, str):
        door()
        return 0
    program, *arguments = shlex.split(door)
    main: Callable[[list[str]], int] = importlib.import_module(f"{program}.cli").main
    return main(arguments)


def name_of(door: Door) -> str:
    """Return the command line, or the name of the function."""
    return door if isinstance(door, str) else door.__name__


def fault_of(error: BaseException, door: Door) -> Fault:
    """Return what an error is as a fault."""
    places = [
        f"{frame.f_code.co_filename}:{frame.f_code.co_name}" for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    trace = "".join(traceback.format_exception(error, limit=-40))
    return Fault(what=type(error).__name__, where=innermost(places), door=name_of(door), trace=trace)


def innermost(places: list[str]) -> str:
    """Return the last of the places, ``file:function``, that is in this project's packages; or else the last of all."""
    packages = (f"{ROOT}/st/", f"{ROOT}/covost/")
    own = [place.removeprefix(f"{ROOT}/") for place in places if place.startswith(packages)]
    return own[-1] if own else "/".join(places[-1].split("/")[-3:]) if places else "?"


def innermost_written(trace: str) -> str:
    """Return the same of a written trace, Python's or that of faulthandler, which begins with the innermost."""
    found = re.findall(r'File "(.+?)", line \d+,? in (\S+)', trace)
    return innermost([":".join(place) for place in (found if TRACE_BEGINS in trace else reversed(found))])
