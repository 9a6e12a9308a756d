"""How far a job is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

LINE_INTERVAL = 10.0  # seconds between plain lines


class Progress:
    """Counts runs times epochs and shows rate, epoch and loss on stderr.

    Args:
        description: what is trained.
        total: runs times epochs in all.

    """

    def __init__(self, description: str, total: int) -> None:
        self.description = description
        self.is_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=total, desc=description, unit="run·epoch", disable=not self.is_terminal
        )
        self.total = total
        self.done = 0
        self.start = self.last_line = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.close()
        if error is None and not self.is_terminal:
            self._line("done")

    def advance(self, run_epochs: int, state: str) -> None:
        """Count `run_epochs` more; `state` says where the job is (shape, epoch, loss)."""
        self.done += run_epochs
        if self.is_terminal:
            self.bar.set_postfix_str(state, refresh=False)
            self.bar.update(run_epochs)
        elif time.monotonic() - self.last_line > LINE_INTERVAL:
            self._line(state)

    def _line(self, state: str) -> None:
        self.last_line = time.monotonic()
        rate = self.done / max(self.last_line - self.start, 1e-9)
        print(
            f"{self.description}: {self.done}/{self.total} run·epochs, {rate:.1f}/s, {state}",
            file=sys.stderr,
            flush=True,
        )
