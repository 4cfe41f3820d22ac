"""Progress over recordings: files done, and seconds of the long one at hand."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from st.console import progress


class RecordingProgress:
    """Bars on a terminal; use as a context."""

    def __init__(self, num_files: int, *, hidden: bool) -> None:
        self._hidden = hidden
        self._files = progress(total=num_files, unit="file", hidden=hidden)
        self._seconds: Any = None

    def __enter__(self) -> RecordingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_seconds()
        self._files.close()

    def begin(self, name: str, duration_s: float) -> None:
        """A long recording is decoded from now on."""
        self._close_seconds()
        self._seconds = progress(
            total=round(duration_s), unit="s", desc=name[-30:], leave=False, position=1, hidden=self._hidden
        )

    def reach(self, time_s: float) -> None:
        """It is decoded up to a time."""
        if self._seconds is not None:
            self._seconds.update(max(0, round(time_s) - self._seconds.n))

    def end(self) -> None:
        """A recording is done."""
        self._close_seconds()
        self._files.update()

    def _close_seconds(self) -> None:
        if self._seconds is not None:
            self._seconds.close()
            self._seconds = None
