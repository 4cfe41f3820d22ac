"""Work on a cluster of Ray: every processor of its machines takes items.

All machines must see the same files under the same names, and have the same versions of Python, Ray and this project. Ray starts a
task again, elsewhere, whose process or machine went down, and makes a result again that was lost with the machine that held it.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from st.engines.engine import Died, Engine
from st.errors import StError

_TRIES = 4
"""How often a task is worked on that brings down its process each time."""
_LOST = 10
"""How often a task is begun again because its machine went down: more of that is no accident."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What each process has to see before it works."""

    folder: str
    """Where the command runs, which relative names begin at."""
    shared: tuple[str, ...]


@dataclass(eq=False, slots=True)
class Task:
    """An item under way."""

    function: Callable[[Any], Any]
    item: Any
    reference: Any


class RayEngine(Engine[Task]):
    """All processors of the cluster that ``RAY_ADDRESS`` names, or that this machine belongs to."""

    def __init__(self, sources: Sequence[Path], out: Path) -> None:
        """Take what all machines must see.

        Args:
            sources: What is read.
            out: A folder that is written to.
        """
        import ray
        import ray.exceptions

        self._ray = ray
        self._sources, self._out = sources, out
        self._token: Path | None = None
        self._place = _Place("", ())
        self._remote: Any = None

    def __enter__(self) -> RayEngine:
        """Join the cluster, and ask every machine whether it sees the files.

        Raises:
            StError: If there is no cluster, or a machine does not see them or cannot run this project.
        """
        if not self._ray.is_initialized():
            try:
                self._ray.init(address="auto", configure_logging=False, log_to_driver=False)
            except ConnectionError:
                raise StError(
                    "there is no Ray cluster here: start one with `ray start --head`, and on the other machines "
                    "`ray start --address HOST:6379`, or name one in RAY_ADDRESS"
                ) from None
        self._out.mkdir(parents=True, exist_ok=True)
        # That a folder of this name is there says little: it has to be the same folder.
        handle, token = tempfile.mkstemp(prefix=".seen-by-all-", suffix=".tmp", dir=self._out)
        os.close(handle)
        self._token = Path(token)
        self._place = _Place(str(Path.cwd()), (*map(str, self._sources), token))
        self._remote = self._ray.remote(num_cpus=1, max_retries=_TRIES - 1)(_work)
        try:
            self._ask_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take back the file that all machines were shown; Ray is left when this process ends."""
        if self._token is not None:
            self._token.unlink(missing_ok=True)

    @property
    def jobs(self) -> int:
        """Processors of the machines that are there now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _ask_all(self) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        errors = self._ray.exceptions
        machines = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        asked = []
        for node in machines:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            question = self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_work)
            asked.append(question.remote(_do_nothing, None, self._place))
        for node, answer in zip(machines, asked, strict=True):
            try:
                self._get(answer)
            except (errors.NodeDiedError, errors.TaskUnschedulableError):
                pass  # It went down just now, which is nothing new to a cluster.
            except errors.RayError as exc:
                reason = str(exc).strip().splitlines()[-1]
                raise StError(
                    f"{node['NodeManagerHostname']} cannot run this project: {reason}; install the same version there"
                ) from None

    def _submit(self, function: Callable[[Any], Any], item: Any) -> Task:
        return Task(function, item, self._remote.remote(function, item, self._place))

    def _result(self, ticket: Task) -> Any:
        errors = self._ray.exceptions
        for _ in range(_LOST):
            try:
                return self._get(ticket.reference)
            except errors.WorkerCrashedError:
                return Died()
            except (errors.NodeDiedError, errors.ObjectLostError):
                ticket.reference = self._remote.remote(ticket.function, ticket.item, self._place)
        raise StError(
            f"machines of the Ray cluster went down {_LOST} times in a row; look at `ray status`, and run again"
        )

    def _get(self, reference: Any) -> Any:
        """Wait for a task; an error of its function is raised as it was."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as exc:
            if isinstance(exc.cause, Exception):
                raise exc.cause from None
            raise


def _work(function: Callable[[Any], Any], item: Any, place: _Place) -> Any:
    _require(place)
    return function(item)


@cache
def _require(place: _Place) -> None:
    """Go where the command runs, and check that all it needs is there: once for each process, of later machines too."""
    with suppress(OSError):
        os.chdir(place.folder)
    for name in place.shared:
        if not Path(name).exists():
            # Of the output a file is looked for that only this run can have made.
            known = Path(name).parent if name == place.shared[-1] else Path(name)
            raise StError(
                f"{socket.gethostname()} does not see {known}; all machines of the Ray cluster need the sources and the "
                "output under the same names, on a file system that they share"
            )


def _do_nothing(_: None) -> None:
    pass
