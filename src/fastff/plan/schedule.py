"""How long jobs take together on so many cores and GPUs."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

STAGES = ("prepare", "train", "collect", "draw")


class Job(NamedTuple):
    """A process of the workflow: its step, how long it takes alone, and what it holds meanwhile."""

    step: str
    seconds: float
    cores: int = 1
    gpus: int = 0


def wall_seconds(blocks: Sequence[Sequence[Job]], *, cores: int, gpus: int) -> float:
    """Return how long the jobs of all blocks take, as the workflow would start them.

    Stage by stage: all datasets, all training, all tables, all figures; within a stage the longest
    jobs first, each on the first free place. Benchmarks have the machine to themselves.

    Jobs of which nothing is known, with NaN seconds, don't count.

    Args:
        blocks: the jobs of each dataset, experiment and benchmark.
        cores: of the machine, or that a cluster gives at once.
        gpus: likewise.

    """
    jobs = [job for block in blocks for job in block if not math.isnan(job.seconds)]
    alone = sum(job.seconds for job in jobs if job.step not in STAGES)
    return alone + sum(
        _makespan([job for job in jobs if job.step == stage], cores, gpus) for stage in STAGES
    )


def _makespan(jobs: Sequence[Job], cores: int, gpus: int) -> float:
    if not jobs:
        return 0.0
    places = max(1, cores // max(job.cores for job in jobs))
    if any(job.gpus for job in jobs):
        places = min(places, max(1, gpus))
    ends = [0.0] * places
    for job in sorted(jobs, key=lambda job: -job.seconds):
        heapq.heapreplace(ends, ends[0] + job.seconds)
    return max(ends)
