"""Changes of bytes and of text: those that know nothing of a format, and those that know lines, fields and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

Mutator = Callable[[bytes, Random], bytes]
"""A pure function of the bytes and of the numbers drawn."""

BYTE_VALUES = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x0A, 0x09, 0x22)
INTEGERS = (0, 1, -1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, -(2**63))
DEEP, LONG = 100_000, 200_000
WORDS = (
    *("", "²", "٣", "1e999", "-1e999", "-1", "0", "nan", "inf", "1.5", "0x10", "1_000", str(2**70), "9" * 5000, "-0"),
    *("2024-02-31", "2024-02-29", "12:60:60", "true", "null", "~", "NULL", "{}", "{:", "{x}", "%s", "[{}]", "__import__"),
    *("../../x", "/", "/dev/null", ".", "a/b", "con:0:5", "audio/x.zip:-1:5", "\\", "\\ud800", "\\u0000", "\x00", "\ufeff"),
    *("\r", "\u2028", "\u0085", "\u200d", "e\u0301", "İ", "ß", "\U0001f600", "<unk>", "</s>", "<lang:xx>", "▁", "|"),
)  # fmt: skip
"""Written in the place of a word or number."""
YAML_PIECES = (
    *("&a [*a, *a]", "*none", "!!python/object/apply:os.system [x]", "!!binary x", "!!set {a}", "!!timestamp 2024-02-31"),
    *("? [a, b]\n: c", "<<: 1", "<<: {a: b}", "${oc.env:HOME}", "{_target_: os.system}", "- 1\n- 2", "---", "%YAML 9.9", "|", ">-9"),
    *("[&a0 [x], " + ", ".join(f"&a{n + 1} [{f'*a{n}, ' * 9}]" for n in range(9)) + "]", "a: &x {b: *x}"),
    *( "1: 2", "null: 1", "2024-02-31", "2024-01-01: 1", "1e999: 1", '"\\ud800": 1', '"\\ud800"', "[]: 1"),
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 2**70, -(2**31), "", "²", "-1", "../x", "\ud800", "\x00"),
    *("a" * LONG, [], {}, [[]], [None], {"": None}, {"a": {}}, ["a", "a"], [1, "a"], {"1": 1}, [0] * 1000),
)  # fmt: skip
"""Put in the place of a value of JSON."""


def place(data: bytes, rng: Random) -> int:
    """Return a position in the bytes, half of the time near the beginning, where headers are."""
    return rng.randrange(min(len(data), 200) if rng.random() < 0.5 else len(data)) if data else 0


def span(data: bytes, rng: Random) -> tuple[int, int]:
    """Return where a part begins and ends; most are short."""
    start = place(data, rng)
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 100, 1000)))


def flip_bit(data: bytes, rng: Random) -> bytes:
    """Flip one bit."""
    at = place(data, rng)
    return data[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]


def overwrite(data: bytes, rng: Random) -> bytes:
    """Write one value, or anything, over a part."""
    start, stop = span(data, rng)
    size = stop - start
    value = bytes([rng.choice(BYTE_VALUES)]) * size if rng.random() < 0.7 else rng.randbytes(size)
    return data[:start] + value + data[stop:]


def truncate(data: bytes, rng: Random) -> bytes:
    """End somewhere."""
    return data[: place(data, rng)]


def insert(data: bytes, rng: Random) -> bytes:
    """Put bytes in between."""
    at, size = place(data, rng), rng.choice((1, 2, 4, 16, 500))
    value = bytes([rng.choice(BYTE_VALUES)]) * size if rng.random() < 0.7 else rng.randbytes(size)
    return data[:at] + value + data[at:]


def delete(data: bytes, rng: Random) -> bytes:
    """Leave a part out."""
    start, stop = span(data, rng)
    return data[:start] + data[stop:]


def duplicate(data: bytes, rng: Random) -> bytes:
    """Say a part several times, there or elsewhere."""
    start, stop = span(data, rng)
    at = stop if rng.random() < 0.5 else place(data, rng)
    return data[:at] + data[start:stop] * rng.choice((1, 1, 2, 50)) + data[at:]


def integer(data: bytes, rng: Random) -> bytes:
    """Write a number of 1, 2, 4 or 8 bytes that lies at the edge of something."""
    at, size, order = place(data, rng), rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    value = (rng.choice(INTEGERS) % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    return data[:at] + value + data[at + size :]


def word(data: bytes, rng: Random) -> bytes:
    """Replace a number or a word."""
    found = [*re.finditer(rb"-?\d[\d.]*" if rng.random() < 0.5 else rb"[^\s\"':,\[\]{}]+", data)]
    start, stop = rng.choice(found).span() if found else span(data, rng)
    return data[:start] + rng.choice(WORDS).encode() + data[stop:]


def line(data: bytes, rng: Random) -> bytes:
    """Repeat, drop, swap, join, empty or lengthen lines."""
    lines = data.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one : one + 1] = rng.choice((
        [lines[one]] * 2, [], [lines[other]], [lines[one] + lines[other]], [b"", lines[one]], [lines[one] + b"x" * LONG],
        [lines[one] + b"\t"], [lines[one].replace(b"\t", b"", 1)], [lines[one].replace(b"\t", b" ")], [lines[one][::-1]],
    ))  # fmt: skip
    return b"\n".join(lines)


def whole_text(data: bytes, rng: Random) -> bytes:
    """Change how all of a text is written: marks, line ends, encodings, one letter for another."""
    text = data.decode("utf-8", "replace")
    return rng.choice((
        b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), text.encode("utf-16"),
        text.encode("latin-1", "replace"), data.upper(), data.rstrip(b"\n"), data + b"\n" * 9, b"", b"\n", b" " + data,
    ))  # fmt: skip


def nesting(data: bytes, rng: Random) -> bytes:
    """Put something deep in between."""
    opened = rng.choice((b"[", b'{"a":', b"(", b"- ", b"{a: "))
    at, depth = rng.choice((0, place(data, rng))), rng.choice((50, 2000, DEEP))
    return data[:at] + opened * depth + data[at:]


def yaml_piece(data: bytes, rng: Random) -> bytes:
    """Put what YAML knows in the place of a value, or on a line of its own."""
    piece = rng.choice(YAML_PIECES).encode()
    values = [*re.finditer(rb"(?<=[:-] )\S.*", data)]
    if values and rng.random() < 0.6:
        start, stop = rng.choice(values).span()
        return data[:start] + piece + data[stop:]
    lines = data.split(b"\n")
    lines.insert(rng.randrange(len(lines) + 1), piece)
    return b"\n".join(lines)


def json_value(data: bytes, rng: Random) -> bytes:
    """Replace, drop, repeat or rename something in a JSON value, or in one line of JSON lines."""
    try:
        return dump(change_value(json.loads(data), rng), rng)
    except ValueError:
        lines = data.splitlines(keepends=True)
        number = rng.randrange(len(lines))
        start = lines[number].index(b"{")
        lines[number] = lines[number][:start] + dump(change_value(json.loads(lines[number][start:]), rng), rng) + b"\n"
        return b"".join(lines)


def change_value(value: Any, rng: Random) -> Any:
    """Change something at any depth of a JSON value."""
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.9:
        return json.dumps(change_value(json.loads(value), rng))
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return rng.choice(VALUES)
    keys = [*value] if isinstance(value, dict) else [*range(len(value))]
    key, other = rng.choice(keys), rng.choice(keys)
    action = rng.randrange(8)
    if action == 0:
        del value[key]
    elif action == 1:
        value[key] = value[other]
    elif action == 2 and isinstance(value, dict):
        value[rng.choice(WORDS)] = value.pop(key)
    elif action == 3 and isinstance(value[key], str):
        value[key] = value[key] * 2 if rng.random() < 0.3 else rng.choice(WORDS)
    elif action == 4 and isinstance(value[key], (int, float)):
        value[key] = rng.choice((*INTEGERS, 1.5, -value[key], value[key] * 1000, str(value[key])))
    else:
        value[key] = change_value(value[key], rng)
    return value


def dump(value: Any, rng: Random) -> bytes:
    """Write JSON; characters are escaped or not, and sometimes a key stands there twice."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1 and text.startswith('{"'):
        text = text[:-1] + ", " + text[1:]
    return text.encode("utf-8", "surrogatepass")


BYTES: tuple[Mutator, ...] = (flip_bit, overwrite, truncate, insert, delete, duplicate, integer)
TEXT: tuple[Mutator, ...] = (word, word, line, line, whole_text, nesting)
