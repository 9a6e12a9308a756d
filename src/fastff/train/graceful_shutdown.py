"""Graceful shutdown: on SIGTERM a training finishes its epoch, writes a checkpoint, and stops."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StoppedError(Exception):
    """A training that was asked to stop, and has."""


class StopRequest:
    """While entered, takes the first SIGTERM as a wish to stop; a second one ends the process.

    Attributes:
        is_made: whether SIGTERM came.

    """

    def __init__(self) -> None:
        self.is_made = False

    def __enter__(self) -> StopRequest:
        self.before = signal.signal(signal.SIGTERM, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTERM, self.before)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.is_made = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
