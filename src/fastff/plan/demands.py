"""What the training jobs of a config ask for."""

from __future__ import annotations

from fastff.config.jobs import train_jobs
from fastff.config.load import Config
from fastff.data.names import outline
from fastff.plan.stacks import stack_costs
from fastff.plan.training import Demand


def demands(config: Config, experiment: str, device: str) -> dict[str, Demand]:
    """Return what each training job of an experiment asks for, by the job's name.

    Args:
        config: the whole config.
        experiment: one of its experiments.
        device: "cpu" or "cuda".

    """
    data = outline(config.experiments[experiment].dataset)
    at_once = config.stacks_at_once if device == "cuda" else 1
    return {
        name: Demand(
            jobs=1,
            stacks=tuple(stack_costs(spec, data, device, config.runs_per_stack)),
            on_gpu=device == "cuda",
            at_once=at_once,
            data_bytes=data.n_bytes,
        )
        for name, spec in train_jobs(config, experiment).items()
    }
