"""How far a job is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

from fastff.progress.messages import say_point

if TYPE_CHECKING:
    from fastff.config.job import TrainSpec
    from fastff.train.job import JobRun

log = logging.getLogger(__name__)
LINE_INTERVAL, BAR_INTERVAL = 10.0, 0.2  # seconds between plain lines, and between looks of a bar
STANDING = re.compile(
    r"^(?P<title>[^:]+): (?P<n_done>\d+) of (?P<n_runs>\d+) runs, "
    r"(?P<epochs_done>\d+)/(?P<n_epochs>\d+) run epochs, ",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Standing:
    """How far a job is.

    Attributes:
        title: experiment and variant.
        n_done: finished runs, stored ones among them.
        n_runs: all of the job's.
        epochs_done: over all runs that were not stored.
        n_epochs: that these have in all.

    """

    title: str
    n_done: int
    n_runs: int
    epochs_done: int
    n_epochs: int

    def __str__(self) -> str:
        return (
            f"{self.title}: {self.n_done} of {self.n_runs} runs, "
            f"{self.epochs_done}/{self.n_epochs} run epochs"
        )

    @classmethod
    def last_of(cls, text: str) -> Standing | None:
        """Return what the last line of a job's log that says so tells, None for none."""
        found = STANDING.findall(text)
        if not found:
            return None
        title, *numbers = found[-1]
        return cls(title, *map(int, numbers))


class Progress:
    """Shows on stderr, in one line, how many runs are done, their epochs, rate and time left.

    A `fastff.train.job.Watch`, for training to call. What it finds stored it logs first.

    Slurm keeps what a job writes to stdout, so in a Slurm job the lines go there too.

    Args:
        specs: the jobs, of one experiment.
        epochs: of each run that is to be trained.
        n_stored: runs of each job that need not be trained.

    """

    def __init__(
        self,
        specs: Sequence[TrainSpec],
        epochs: Mapping[JobRun, int],
        n_stored: Sequence[int],
    ) -> None:
        self.specs = specs
        self.title = specs[0].experiment + (f" {specs[0].variant.name}" if len(specs) == 1 else "")
        to_train = Counter(job for job, _, _ in epochs)
        for job, (spec, stored) in enumerate(zip(specs, n_stored, strict=True)):
            counts = (spec.variant.name, stored + to_train[job], stored, to_train[job])
            log.info("%s: %d runs: %d stored, %d to train", *counts)
        self.epochs = epochs
        self.n_done = sum(n_stored)
        self.n_runs = self.n_done + len(epochs)
        self.total = sum(epochs.values())
        self.reached = dict.fromkeys(epochs, 0)
        self.done = self.resumed = 0
        self.is_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=self.total,
            bar_format="{desc} |{bar:12}| {postfix}",
            dynamic_ncols=True,
            disable=not self.is_terminal,
        )
        self.start = time.monotonic()
        self.interval = BAR_INTERVAL if self.is_terminal else LINE_INTERVAL
        self.shown = -LINE_INTERVAL

    def __enter__(self) -> Progress:
        self._show("starting")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._show("done", now=True)
        self.bar.close()

    def advance(
        self, runs: Iterable[JobRun], epoch: int, loss: float, *, resumed: bool = False
    ) -> None:
        """Note that the runs of a stack have reached an epoch, with this mean train loss.

        Those of a stack that starts again begin again, too. Epochs that come from a checkpoint
        were `resumed`: they are done, but say nothing of the rate.
        """
        before, where = self.done, ""
        for run in runs:
            self.done += epoch - self.reached[run]
            self.reached[run] = epoch
            job, point, _ = run
            where = f"{self.specs[job].variant.name}, {say_point(point)}"
        if resumed:
            self.resumed += self.done - before
        self._show(f"{where}, epoch {epoch}, loss {loss:.4f}")

    def finish(self, runs: Iterable[JobRun]) -> None:
        """Note that runs are finished, perhaps before their last epoch."""
        for run in runs:
            self.n_done += 1
            self.done += self.epochs[run] - self.reached[run]
            self.reached[run] = self.epochs[run]

    def _show(self, state: str, *, now: bool = False) -> None:
        if not now and time.monotonic() - self.shown < self.interval:
            return
        self.shown = time.monotonic()
        if self.is_terminal:
            self.bar.n = self.done
            self.bar.set_description_str(str(self._standing()), refresh=False)
            self.bar.set_postfix_str(f"{self._speed()}; {state}")
        else:
            for stream in _streams():
                line = f"{self._standing()}, {self._speed()}; {state}"
                print(line, file=stream, flush=True)

    def _standing(self) -> Standing:
        return Standing(self.title, self.n_done, self.n_runs, self.done, self.total)

    def _speed(self) -> str:
        rate = (self.done - self.resumed) / max(time.monotonic() - self.start, 1e-9)
        return f"{rate:.1f}/s, {time_left((self.total - self.done) / rate if rate > 0 else None)}"


def time_left(seconds: float | None) -> str:
    """Return "1:02:03 left" for seconds, "? left" for None."""
    return f"{'?' if seconds is None else tqdm.format_interval(seconds)} left"


def _streams() -> list[TextIO]:
    if "SLURM_JOB_ID" not in os.environ or sys.stdout.isatty():
        return [sys.stderr]
    return [sys.stderr] if os.path.sameopenfile(1, 2) else [sys.stderr, sys.stdout]
