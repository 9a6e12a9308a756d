"""Which training jobs a run has, written down when it starts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from fastff.files import atomic_path


@dataclass(frozen=True)
class PlannedJob:
    """A training job.

    Attributes:
        title: experiment and variant.
        log: its log, relative to the plan's folder.
        n_runs: as the grid has them; the log knows better of those that equal others in size.
        epochs: of each run.
        is_needed: whether the run trains it, or has found its results.

    """

    title: str
    log: str
    n_runs: int
    epochs: int
    is_needed: bool


@dataclass(frozen=True)
class Plan:
    """The training jobs of a run that started at a time, in seconds since 1970."""

    started: float
    jobs: tuple[PlannedJob, ...]


def write_plan(path: Path, jobs: Iterable[PlannedJob]) -> None:
    """Write the plan of a run that starts now."""
    values = {"started": time.time(), "jobs": [asdict(job) for job in jobs]}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


def read_plan(path: Path) -> Plan:
    """Read what `write_plan` wrote. Raises ValueError for any other file, OSError for none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Plan(values["started"], tuple(PlannedJob(**job) for job in values["jobs"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no plan of a run: {error!r}") from None
