"""How the runs of a variant are split into jobs."""

from __future__ import annotations


def shards(
    n_points: int, n_seeds: int, *, runs_per_stack: int, runs_per_job: int
) -> list[tuple[int, int]]:
    """Return the numbers of each job's first and last run.

    Runs are counted from 0, point by point, and at a point seed by seed. A job has whole stacks, as
    many as fit into `runs_per_job` runs but at least one: the runs of a stack are trained as one
    computation, at one point. So runs are computed beside the same others in any split, to the same
    bits, and as fast.
    """
    at_point = [min(runs_per_stack, n_seeds - seed) for seed in range(0, n_seeds, runs_per_stack)]
    found: list[tuple[int, int]] = []
    first = end = 0
    for stack in at_point * n_points:
        if end > first and end + stack - first > runs_per_job:
            found.append((first, end - 1))
            first = end
        end += stack
    return [*found, (first, end - 1)]
