"""A plan as text for a terminal."""

from __future__ import annotations

import numpy as np
from tabulate import tabulate

from fastff.plan.estimate import HOUR, Plan
from fastff.plan.sources import Basis

SHOWN = {
    "name": "name",
    "dataset": "dataset",
    "runs": "runs",
    "jobs": "jobs",
    "gpu_hours": "GPU h",
    "cpu_hours": "CPU h",
    "longest_job_minutes": "longest job, min",
    "disk_mib": "disk MiB",
    "peak_mib": "memory MiB",
    "gpu_peak_mib": "GPU MiB",
    "not_measured": "beyond what was measured",
}


def report(plan: Plan, measured: Basis, device: str, *, cores: int, gpus: int) -> str:
    """Return the plan's table, the time on the clock, and how good the estimate is."""
    columns = [key for key in SHOWN if device == "cuda" or not key.startswith("gpu_")]
    rows = [
        [_shown(key, value) for key, value in zip(columns, row, strict=True)]
        for row in plan.table[columns].itertuples(index=False)
    ]
    where = f"{cores} cores" + (f" and {gpus} GPUs" if device == "cuda" else "")
    errors = np.abs(measured.training.errors())
    return (
        f"{tabulate(rows, [SHOWN[key] for key in columns], disable_numparse=True)}\n\n"
        f"On {where}: about {_time(plan.seconds)}. From costs of {measured.training.machine}; "
        f"training time of each of its {len(errors)} experiments, predicted from the others: "
        f"{np.median(errors):.0%} off in the median, {errors.max():.0%} at most.\n"
    )


def _shown(key: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return "?"
    digits = 2 if key.endswith("hours") else 1 if key.endswith("minutes") else 0
    return f"{value:,.{digits}f}"


def _time(seconds: float) -> str:
    """Return a time with a unit that fits it."""
    if not seconds >= 0:
        return "an unknown time"
    if seconds < 2 * HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.1f} h"
