"""A table for ``scripts/fuzz.py`` whose doors have every fault that it must notice, and what is none."""

import ctypes
import time
from pathlib import Path

from fuzzing.trial import Sample

from st.errors import StError


def lookup():
    return {}[Path("input.txt").read_text()]


def endless():
    while True:
        pass


def asleep():
    time.sleep(1000)


def hungry():
    taken = b"x" * (400 << 20)
    while taken:
        time.sleep(0.1)


def crash():
    ctypes.string_at(0)


def nameless():
    raise OSError("CRC check failed")


def refusal():
    raise StError("input.txt: refused")


def missing():
    Path("none").read_text()


def taken():
    pass


class Valid:
    """A door that takes what was not changed."""

    def __init__(self, door):
        self.door, self.__name__ = door, door.__name__

    def __call__(self):
        if Path("input.txt").read_bytes() != b"valid input of 20 bytes":
            self.door()


def make(folder):
    (folder / "input.txt").write_bytes(b"valid input of 20 bytes")


KINDS = {
    door.__name__: {"text": Sample(make, (Valid(door),))}
    for door in (lookup, endless, asleep, hungry, crash, nameless, refusal, missing, taken)
}
