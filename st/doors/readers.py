"""Small files from anybody, such as configs and vocabularies: read with a bound on their size and on the work they make.

JSON and YAML can say more than a file can hold: texts with half a surrogate pair, which cannot be written again; YAML
can refer to one list a billion times. None of that has a place here.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from st.doors.parsing import parsing
from st.errors import StError

MAX_JSON_BYTES = 16 << 20
MAX_VOCABULARY_BYTES = 64 << 20
_MAX_YAML_BYTES = 32 << 10
MAX_YAML_ROWS_BYTES = 256 << 20
_MAX_ALIASES = 16
"""So many cannot make a list of more than some hundred items."""


def read_bounded(path: Path, error: type[StError], *, expected: str, most: int) -> bytes:
    """Read a file of at most so many bytes.

    Raises:
        StError: ``error``, if it is longer.
        OSError: If it cannot be read.
    """
    with parsing(path, error, expected=expected), path.open("rb") as handle:
        content = handle.read(most + 1)
    if len(content) > most:
        raise error(f"{path}: not {expected}: it has more than {most:,} bytes")
    return content


def read_json(path: Path, error: type[StError], *, expected: str = "JSON") -> Any:
    """Read a JSON document of at most :data:`MAX_JSON_BYTES`.

    Raises:
        StError: ``error``, if it is none.
        OSError: If it cannot be read.
    """
    return parse_json(read_bounded(path, error, expected=expected, most=MAX_JSON_BYTES), path, error, expected=expected)


def parse_json(content: bytes | str, name: object, error: type[StError], *, expected: str = "JSON") -> Any:
    """Parse a JSON document; ``name`` tells users where it is from.

    Raises:
        StError: ``error``, if it is none, or holds text that UTF-8 cannot write.
    """
    with parsing(name, error, expected=expected):
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        document = json.loads(text)
        if "\\ud" in text.lower():  # the one way to half a surrogate pair
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        return document


def read_yaml(path: Path, error: type[StError], *, expected: str = "plain YAML") -> Any:
    """Read a YAML document of plain values.

    Raises:
        StError: ``error``, if it is none, or refers to its own parts more than a few times.
        OSError: If it cannot be read.
    """
    content = read_bounded(path, error, expected=expected, most=_MAX_YAML_BYTES)
    with parsing(path, error, expected=expected, advice="mend it", also=(yaml.YAMLError,)):
        return yaml.load(content.decode("utf-8"), Loader=_PlainLoader)  # noqa: S506 - a SafeLoader


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader with a bound on aliases, and without text that cannot be written."""

    _num_aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._num_aliases += 1
            if self._num_aliases > _MAX_ALIASES:
                raise yaml.composer.ComposerError(None, None, f"it has more than {_MAX_ALIASES} aliases", None)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        value.encode("utf-8")
        return value


def read_yaml_rows(path: Path, error: type[StError], *, expected: str) -> Iterator[dict[str, str]]:
    """Yield the entries of a long YAML list of flat mappings, such as the segments of talks, all values as text.

    The document is never built: neither aliases nor tags can make it larger than the file.

    Raises:
        StError: ``error``, if it is anything else, or has more than :data:`MAX_YAML_ROWS_BYTES`.
        OSError: If it cannot be read.
    """
    content = read_bounded(path, error, expected=expected, most=MAX_YAML_ROWS_BYTES)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with parsing(path, error, expected=expected, advice="mend it", also=(yaml.YAMLError,)):
        events = yaml.parse(content.decode("utf-8-sig"), Loader=loader)
        kinds = [type(event) for event in itertools.islice(events, 3)]
        if kinds != [yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.SequenceStartEvent]:
            raise ValueError("it is no list")
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                return
            inner = list(itertools.takewhile(lambda item: not isinstance(item, yaml.MappingEndEvent), events))
            values = [item.value for item in inner if isinstance(item, yaml.ScalarEvent)]
            if not isinstance(event, yaml.MappingStartEvent) or len(values) < len(inner):
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise ValueError(f"line {line} is no mapping of plain values")
            yield dict(zip(values[::2], values[1::2], strict=True))
