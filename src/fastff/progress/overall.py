"""How far a run is over all its training jobs, from its plan and their logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from fastff.progress.line import Standing, time_left
from fastff.progress.plan import Plan, PlannedJob, read_plan

PLAN = Path("logs") / "plan.json"  # in a run's folder of results
TAIL = 4096  # bytes of a log that hold its last line
MOST_NAMED = 3  # jobs in a line
SILENCE = 60.0  # seconds without a new line in any log, from which a line says so


@dataclass(frozen=True)
class Overall:
    """How far a run is.

    Attributes:
        name: of the config.
        n_done: finished runs, and those that needed no training.
        n_runs: in all.
        seconds_left: of training, None while nothing tells.
        under_way: the jobs that train, by their logs.
        silent: seconds since one of these logs was written, 0 without such jobs.

    """

    name: str
    n_done: int
    n_runs: int
    seconds_left: float | None
    under_way: tuple[Standing, ...]
    silent: float

    def __str__(self) -> str:
        jobs = [f"{job.title} {job.n_done}/{job.n_runs}" for job in self.under_way[:MOST_NAMED]]
        if more := len(self.under_way) - len(jobs):
            jobs.append(f"{more} more")
        state = f": {', '.join(jobs)}" if jobs else ", none under way"
        if self.silent >= SILENCE:
            state += f", nothing new for {tqdm.format_interval(self.silent)}"
        runs = f"{self.name}: {self.n_done} of {self.n_runs} runs"
        if self.seconds_left == 0:
            return f"{runs}, training is done"
        return f"{runs}, {time_left(self.seconds_left)} of training{state}"


def overall(folder: Path, now: Callable[[], float] = time.time) -> Overall:
    """Return how far the run is whose results are in a folder.

    A job's log counts once it is written after the run's start: before, it is an earlier run's. The
    time left is at the mean speed of the run so far, in epochs of runs.

    Raises:
        OSError: where no run has been started there.
        ValueError: where the plan is damaged.

    """
    plan = read_plan(folder / PLAN)
    standings = [_standing(job, plan, folder) for job in plan.jobs]
    needed = [(job, one) for job, one in zip(plan.jobs, standings, strict=True) if job.is_needed]
    done = sum(one.epochs_done for _, one in needed)
    missing = sum(one.n_epochs - one.epochs_done for _, one in needed)
    under_way = [
        (folder / job.log, one)
        for job, one in needed
        if one.n_done < one.n_runs and _is_of(plan, folder / job.log)
    ]
    time_now = now()
    seconds_left = None if missing else 0.0
    if done:
        seconds_left = missing * (time_now - plan.started) / done
    return Overall(
        name=folder.resolve().name,
        n_done=sum(one.n_done for one in standings),
        n_runs=sum(one.n_runs for one in standings),
        seconds_left=seconds_left,
        under_way=tuple(one for _, one in under_way),
        silent=min((time_now - log.stat().st_mtime for log, _ in under_way), default=0.0),
    )


def _standing(job: PlannedJob, plan: Plan, folder: Path) -> Standing:
    if not job.is_needed:
        return Standing(job.title, job.n_runs, job.n_runs, 0, 0)
    waiting = Standing(job.title, 0, job.n_runs, 0, job.n_runs * job.epochs)
    path = folder / job.log
    if not _is_of(plan, path):
        return waiting
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        text = file.read().decode(errors="replace")
    return Standing.last_of(text) or waiting


def _is_of(plan: Plan, log: Path) -> bool:
    return log.exists() and log.stat().st_mtime >= plan.started
