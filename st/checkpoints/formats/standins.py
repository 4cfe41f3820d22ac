"""Inert stand-ins for the classes that published checkpoints mention beside their weights.

fairseq wrote its settings as ``argparse.Namespace``, later as ``omegaconf`` containers with enums inside. None of that
code needs to run to read what they hold: every such global is replaced by a class that only keeps what it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from st.doors.shown import shown

INERT_GLOBALS: tuple[str, ...] = (
    r"argparse\.Namespace",
    r"omegaconf\.(\w+\.)*\w+",
    r"fairseq\.dataclass\.(\w+\.)*\w+",
    r"fairseq\.(tasks|models|criterions|optim|data)\.(\w+\.)*\w*(Config|CHOICES|Choices|Enum)",
    r"fairseq\.meters\.\w+",
    r"fairseq\.data\.dictionary\.Dictionary",
    r"collections\.defaultdict",
    r"typing\.(Any|Union|Optional|List|Dict|Tuple)",
    r"builtins\.(int|float|str|bool|bytes|dict|list|tuple|type|object|NoneType)",
    r"enum\.\w+",
    r"pathlib\.(Pure)?(Posix|Windows)?Path",
    r"numpy\.(_?core\.multiarray\.(scalar|_reconstruct)|dtype|ndarray|dtypes\.\w+)",
    r"_codecs\.encode",
    r"copyreg\._reconstructor",
)
"""Full names that may be read as stand-ins; anything else in a file is refused."""

_INERT = re.compile("|".join(f"(?:{pattern})" for pattern in INERT_GLOBALS))


class Standin:
    """An object of a class that was not loaded: its name, arguments and state."""

    global_name = ""
    args: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *args: Any) -> Standin:
        """Keep the arguments."""
        self = super().__new__(cls)
        self.args = args
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<{self.global_name}>"

    def __hash__(self) -> int:
        return id(self)


def is_inert(name: str) -> bool:
    """Return whether the allow-list has ``name``, such as ``argparse.Namespace``."""
    return _INERT.fullmatch(name) is not None


def standins(names: Iterable[str]) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return a stand-in class per name, in the form of ``torch.serialization.safe_globals``."""
    return [(type("Standin", (Standin,), {"global_name": name}), name) for name in names]


def plain(value: Any) -> Any:
    """Turn what a checkpoint says about itself into dictionaries, lists, texts and numbers.

    A ``Namespace`` or a container becomes a dictionary or a list, an enum its value, any other stand-in its name.
    Interpolations (``${...}``) stay text. What the checkpoint has once and shows in many places is turned once.
    """
    return _plain(value, {})


def _plain(value: Any, known: dict[int, Any]) -> Any:
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, dict):
        table = known[id(value)] = {}
        table |= {
            (key if isinstance(key, str) else shown(_plain(key, known))): _plain(value[key], known) for key in value
        }
        return table
    if isinstance(value, list | tuple | set):
        items = known[id(value)] = []
        items += [_plain(item, known) for item in value]
        return items
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Standin):
        known[id(value)] = None
        known[id(value)] = _plain_standin(value, known)
        return known[id(value)]
    return value


def _plain_standin(value: Standin, known: dict[int, Any]) -> Any:
    state = value.state if isinstance(value.state, dict) else {}
    if value.global_name.startswith("omegaconf."):
        content = state.get("_content", state.get("_val", state.get("content")))
        return _plain(content, known)
    if state:
        return {
            key if isinstance(key, str) else shown(key): _plain(item, known)
            for key, item in state.items()
            if not (isinstance(key, str) and key.startswith("__"))
        }
    if len(value.args) == 1 and isinstance(value.args[0], str | int | float):
        return value.args[0]
    return {} if value.global_name == "argparse.Namespace" else value.global_name
