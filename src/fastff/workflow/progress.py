"""How far a training job is, and how far a whole run is: one line each.

A job writes its line to its log. The line of a run adds up the last lines of its jobs' logs, so
that it can be told on any machine that sees the folder of results.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from fastff.files import atomic_path

if TYPE_CHECKING:
    from fastff.config.job import Run, TrainSpec
    from fastff.config.model import Point
    from fastff.train.job import JobRun
    from fastff.train.results import RunResult

log = logging.getLogger(__name__)
LINE_INTERVAL, BAR_INTERVAL = 10.0, 0.2  # seconds between plain lines, and between looks of a bar
LINE = "{desc}, {n_fmt}/{total_fmt} run epochs, {remaining} left{postfix}"
BAR = "{desc} |{bar:12}| {remaining} left{postfix}"
COUNTS = re.compile(r": (\d+) of (\d+) runs, (\d+)/(\d+) run epochs, ")  # of a LINE
JOBS = Path("logs") / "training.json"  # in a run's folder of results
TAIL = 4096  # bytes of a log that hold its last line


class Progress:
    """Shows on stderr, in one line, how many runs are done, their epochs and the time left.

    A `fastff.train.job.Watch`, for training to call. What it finds stored it logs first.

    On a terminal the line is a bar; elsewhere it is written anew every LINE_INTERVAL. Slurm keeps
    what a job writes to stdout, so in a Slurm job the lines go there too.

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
        self.reached = dict.fromkeys(epochs, 0)
        is_terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=sum(epochs.values()),
            desc=self._runs(),
            postfix="starting",
            bar_format=BAR if is_terminal else LINE,
            file=sys.stderr if is_terminal else _Lines(),
            dynamic_ncols=is_terminal,
            mininterval=BAR_INTERVAL if is_terminal else LINE_INTERVAL,
            miniters=0,
            smoothing=0,  # the time left is by the mean speed
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.bar.set_postfix_str("done", refresh=False)
        self.bar.close()

    def advance(
        self, runs: Iterable[JobRun], epoch: int, loss: float, *, resumed: bool = False
    ) -> None:
        """Note that the runs of a stack have reached an epoch, with this mean train loss.

        Those of a stack that starts again begin again, too. Epochs that come from a checkpoint
        were `resumed`: they are done, but say nothing of the speed.
        """
        moved, where = 0, ""
        for run in runs:
            moved += epoch - self.reached[run]
            self.reached[run] = epoch
            job, point, _ = run
            where = f"{self.specs[job].variant.name}, {describe_point(point)}"
        if resumed:
            self.bar.initial += moved
        self.bar.set_postfix_str(f"{where}, epoch {epoch}, loss {loss:.4f}", refresh=False)
        self.bar.update(moved)

    def finish(self, runs: Iterable[JobRun]) -> None:
        """Note that runs are finished, perhaps before their last epoch."""
        moved = 0
        for run in runs:
            self.n_done += 1
            moved += self.epochs[run] - self.reached[run]
            self.reached[run] = self.epochs[run]
        self.bar.set_description_str(self._runs(), refresh=False)
        self.bar.update(moved)

    def _runs(self) -> str:
        return f"{self.title}: {self.n_done} of {self.n_runs} runs"


class _Lines:
    """What tqdm takes for a terminal: each state of its bar becomes a line of a log."""

    def write(self, text: str) -> None:
        if line := text.strip():
            print(line, file=sys.stderr, flush=True)
            in_slurm = "SLURM_JOB_ID" in os.environ and not sys.stdout.isatty()
            if in_slurm and not os.path.sameopenfile(1, 2):
                print(line, flush=True)

    def flush(self) -> None:
        pass


def describe_point(point: Point) -> str:
    """Return "depth 2, hidden 4", with the region leak where there is one."""
    text = f"depth {point.depth}, hidden {point.hidden_features}"
    return text + (f", region leak {point.region_leak:g}" if point.region_leak else "")


def failures(specs: Sequence[TrainSpec], jobs: Sequence[Mapping[Run, RunResult]]) -> list[str]:
    """Return a line for each run whose loss became NaN or infinite, from each job's results."""
    lines = []
    for spec, results in zip(specs, jobs, strict=True):
        for run, result in results.items():
            if (failure := result.failure) is None:
                continue
            last = "none" if failure.last_loss is None else f"{failure.last_loss:.4g}"
            where = f"{describe_point(run.shape)}, seed {run.seed}"
            lines.append(
                f"{spec.experiment} {spec.variant.name}, {where}: the loss is no finite number in "
                f"epoch {failure.epoch}; the last that was: {last}"
            )
    return lines


@dataclass(frozen=True)
class TrainingJob:
    """A training job of a run of the workflow.

    Attributes:
        log: its log, relative to the run's folder.
        n_runs: as the grid has them; the log knows better of those that equal others in size.
        epochs: of each run.
        is_needed: whether the run trains it, or has found its results.

    """

    log: str
    n_runs: int
    epochs: int
    is_needed: bool


def write_jobs(folder: Path, jobs: Iterable[TrainingJob]) -> None:
    """Write down the training jobs of a run that starts now, in its folder of results."""
    values = {"started": time.time(), "jobs": [asdict(job) for job in jobs]}
    with atomic_path(folder / JOBS) as temporary:
        temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


def run_progress(folder: Path, now: Callable[[], float] = time.time) -> str:
    """Return a line that says how far the run is whose results are in a folder.

    A job's log counts once it is written after the run's start: before, it is an earlier run's. The
    time left is at the mean speed of the run so far, in epochs of runs.

    Raises:
        OSError: where no run has been started there.
        ValueError: where the file of its jobs is damaged.

    """
    try:
        values = json.loads((folder / JOBS).read_text(encoding="utf-8"))
        started = float(values["started"])
        jobs = [TrainingJob(**job) for job in values["jobs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / JOBS} has no training jobs of a run: {error!r}") from None
    counts = [_counts(job, folder, started) for job in jobs]
    n_done, n_runs, done, total = (sum(values) for values in zip(_Counts(), *counts, strict=True))
    line = f"{folder.resolve().name}: {n_done} of {n_runs} runs"
    if done == total:
        return f"{line}, training is done"
    seconds = (total - done) * (now() - started) / done if done else None
    left = "?" if seconds is None else tqdm.format_interval(seconds)
    return f"{line}, {left} left of training"


class _Counts(NamedTuple):
    """How many runs of a job are finished, and of the epochs of those that it trains."""

    runs_done: int = 0
    runs: int = 0
    epochs_done: int = 0
    epochs: int = 0


def _counts(job: TrainingJob, folder: Path, started: float) -> _Counts:
    if not job.is_needed:
        return _Counts(job.n_runs, job.n_runs, 0, 0)
    path = folder / job.log
    if path.exists() and path.stat().st_mtime >= started:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            found = COUNTS.findall(file.read().decode(errors="replace"))
        if found:
            return _Counts(*map(int, found[-1]))
    return _Counts(0, job.n_runs, 0, job.n_runs * job.epochs)
