"""Split an evaluation over processes and machines: which part is ours, and how the parts come together.

A shard takes whole batches of the division that an undivided run makes, so that every recording is computed in the
company it would have had, to the last bit. Shards that were started one by one (``--shard 2/3``) leave their results in
files of the results folder, and the last to finish makes the report. Under ``torchrun`` the processes send theirs to
the first one, so that the machines need no folder in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from st.errors import UsageError

Item = TypeVar("Item")

_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LONGEST_WAIT = timedelta(days=7)
"""Between the first process to finish and the last."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of the work."""

    index: int = 1
    """From 1 to ``count``."""
    count: int = 1
    connected: bool = False
    """Whether the parts run together under ``torchrun``."""

    @property
    def leads(self) -> bool:
        """Whether this process alone speaks for all that run together."""
        return self.index == 1 or not self.connected

    @property
    def filename(self) -> str:
        """Name of the file for its results."""
        return "partial.jsonl" if self.count == 1 else f"partial-{self.index}-of-{self.count}.jsonl"

    def __str__(self) -> str:
        """Return the shard as the command line writes it."""
        return f"{self.index}/{self.count}"

    def take(self, batches: Sequence[Item]) -> list[Item]:
        """Return this shard's batches; of batches sorted by length every shard gets some of each."""
        return list(batches[self.index - 1 :: self.count])


WHOLE = Shard()


def choose_shard(numbers: tuple[int, int] | None, environment: Mapping[str, str]) -> Shard:
    """Return the part of this process.

    Args:
        numbers: Which part of how many, from 1; None for what ``torchrun`` says, else everything.
        environment: The process's environment.

    Raises:
        UsageError: If there are numbers under ``torchrun``.
    """
    launched = all(environment.get(name) for name in _LAUNCHED) and environment["WORLD_SIZE"] != "1"
    if numbers is None:
        if not launched:
            return WHOLE
        return Shard(int(environment["RANK"]) + 1, int(environment["WORLD_SIZE"]), connected=True)
    if launched:
        raise UsageError(f"`shard` {numbers[0]}/{numbers[1]}: torchrun divides the work already; leave it out")
    return Shard(*numbers)


@contextmanager
def connection(shard: Shard) -> Iterator[None]:
    """Keep the processes of ``torchrun`` connected as long as the block runs; does nothing for others."""
    if not shard.connected:
        yield
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=_LONGEST_WAIT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def send_results(shard: Shard, text: str) -> None:
    """Send this process's results to the first one, and wait until it has written the report."""
    import torch
    import torch.distributed as dist

    content = torch.frombuffer(bytearray(text.encode("utf-8") or b"\n"), dtype=torch.uint8)
    dist.send(torch.tensor([len(content)]), dst=0)
    dist.send(content, dst=0)
    release(shard)


def receive_results(shard: Shard) -> Iterator[str]:
    """Yield what the other processes send, on the first one."""
    import torch
    import torch.distributed as dist

    for rank in range(1, shard.count):
        size = torch.zeros(1, dtype=torch.int64)
        dist.recv(size, src=rank)
        content = torch.zeros(int(size), dtype=torch.uint8)
        dist.recv(content, src=rank)
        yield content.numpy().tobytes().decode("utf-8")


def release(shard: Shard) -> None:
    """Let the processes of ``torchrun`` go on together."""
    if shard.connected:
        import torch.distributed as dist

        dist.barrier()
