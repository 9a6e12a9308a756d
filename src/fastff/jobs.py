"""Which training jobs an experiment has: one per variant, or several where its runs are split."""

from __future__ import annotations

from fastff.config import Config
from fastff.spec import TrainSpec


def train_jobs(config: Config, experiment: str) -> dict[str, TrainSpec]:
    """Return the training jobs of an experiment by name, in the order of their rows.

    A job's name is that of its variant, and of a variant that is split `<variant>/<first>-<last>`,
    with the numbers of its first and last run. So a job of the same name has the same runs, however
    the others are split.
    """
    runs_per_job = config.runs_per_job_of(experiment)
    jobs: dict[str, TrainSpec] = {}
    for spec in config.train_specs(experiment):
        name = spec.variant.name
        parts = []
        if runs_per_job is not None:
            sizes = (_n_points(spec), len(spec.seeds))
            parts = shards(*sizes, runs_per_stack=config.runs_per_stack, runs_per_job=runs_per_job)
        if len(parts) < 2:
            jobs[name] = spec
            continue
        for first, last in parts:
            jobs[f"{name}/{first}-{last}"] = spec.model_copy(update={"runs": (first, last)})
    return jobs


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


def _n_points(spec: TrainSpec) -> int:
    if not spec.equal_to:
        return len(spec.variant.points(spec.grid))
    # counts the parameters of models; the workflow waits for torch only where it has to
    from fastff.data.outline import outline
    from fastff.train.sizes import points

    return len(points(spec, outline(spec.dataset)))
