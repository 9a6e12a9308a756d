"""Which training jobs an experiment has: one per variant, or several where its runs are split."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastff.config.base import unknown
from fastff.config.benchmarks import EngineBenchmarkSpec, TimingBenchmarkSpec
from fastff.config.errors import ConfigError, describe_faults
from fastff.config.job import TrainSpec
from fastff.config.language import LanguageBenchmarkSpec, LanguageSpec
from fastff.config.load import Config

# What jobs read of a config beside what they train or time. The commands take it from the config's
# file, and the workflow's rules have it as parameters, so that a change reruns the jobs.
TRAIN_SETTINGS = (
    *("device", "threads", "runs_per_stack", "stacks_at_once"),
    *("checkpoint_seconds", "failed_runs", "tf32"),
)
# Of a job's spec: labels are for figures, and no job of training reads them.
LABELS: Any = {"variant": {"label"}, "equal_to": {"__all__": {"variant": {"label"}}}}
RECORD = "job.json"  # beside a job's tables: what it trained
WHOLE = "all"  # the name of the job that trains a whole experiment
BENCH_SETTINGS = ("device", "stacks_at_once", "tf32")


def settings(config: Config, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of some keys of a config."""
    return {name: getattr(config, name) for name in names}


def job_record(
    specs: Sequence[TrainSpec] | Sequence[LanguageSpec], settings: Mapping[str, Any], sources: str
) -> dict[str, Any]:
    """Return all that the tables of a training job depend on, as the JSON values of RECORD.

    Args:
        specs: what the job trains.
        settings: the values of TRAIN_SETTINGS.
        sources: the digest of the code, `fastff.workflow.digests.stage_digest` of "train", or of
            "language".

    """
    named = {spec.variant.name: spec.model_dump(mode="json", exclude=LABELS) for spec in specs}
    # checkpoints change nothing in the tables
    kept = {key: value for key, value in settings.items() if key != "checkpoint_seconds"}
    return {**named, "settings": kept, "sources": sources}


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
            sizes = (_n_models(spec), len(spec.seeds))
            parts = shards(*sizes, runs_per_stack=config.runs_per_stack, runs_per_job=runs_per_job)
        if len(parts) < 2:
            jobs[name] = spec
            continue
        for first, last in parts:
            jobs[f"{name}/{first}-{last}"] = spec.model_copy(update={"runs": (first, last)})
    return jobs


def job_specs(config: Config, experiment: str) -> dict[str, tuple[TrainSpec, ...]]:
    """Return what each process trains of an experiment, by the name of its job.

    That is one of `train_jobs`, or where the config has one job per experiment, "all" of them.
    """
    if config.one_job_per_experiment:
        return {WHOLE: tuple(config.train_specs(experiment))}
    return {name: (spec,) for name, spec in train_jobs(config, experiment).items()}


def named_jobs(config: Config, name: str) -> list[TrainSpec]:
    """Return what `fastff train --job` trains, a spec per variant.

    Args:
        config: where the names are from.
        name: `<experiment>` for all its variants, `<experiment>/<variant>`, or of this the runs
            `<experiment>/<variant>/<first>-<last>`, counted as `shards` does.

    Raises:
        ConfigError: for a name that isn't there, with those that are.

    """
    experiment, *parts = name.split("/", 2)
    if experiment not in config.experiments:
        allowed = [*config.experiments, *config.language_models]
        raise ConfigError(_fault(name, "experiment", experiment, allowed))
    specs = {spec.variant.name: spec for spec in config.train_specs(experiment)}
    if not parts:
        return [*specs.values()]
    if parts[0] not in specs:
        raise ConfigError(_fault(name, f"variant of {experiment}", parts[0], [*specs]))
    spec = specs[parts[0]]
    if len(parts) == 1:
        return [spec]
    if not re.fullmatch(r"[0-9]+-[0-9]+", parts[1], re.ASCII):
        raise ConfigError(
            f"--job {name}: {parts[1]!r} should be the numbers of the first and the last run, such "
            "as 0-19"
        )
    first, _, last = parts[1].partition("-")
    with describe_faults(f"--job {name}"):
        return [TrainSpec(**{**dict(spec), "runs": (int(first), int(last))})]


def language_jobs(config: Config, name: str) -> dict[str, tuple[LanguageSpec, ...]]:
    """Return what each process trains of a language model, by the name of its job.

    That is a variant's, or where the config has one job per experiment, "all" of them.
    """
    specs = config.language_models[name].specs(name)
    if config.one_job_per_experiment:
        return {WHOLE: tuple(specs)}
    return {spec.variant.name: (spec,) for spec in specs}


def named_language_jobs(config: Config, name: str) -> list[LanguageSpec]:
    """Return what `fastff train --job` trains of a language model, a spec per variant.

    Args:
        config: where the names are from.
        name: `<language model>` for all its variants, or `<language model>/<variant>`.

    Raises:
        ConfigError: for a variant that isn't there, with those that are.

    """
    model, _, variant = name.partition("/")
    specs = {spec.variant.name: spec for spec in config.language_models[model].specs(model)}
    if not variant:
        return [*specs.values()]
    if variant not in specs:
        raise ConfigError(_fault(name, f"variant of {model}", variant, [*specs]))
    return [specs[variant]]


def named_benchmark(
    config: Config, name: str
) -> EngineBenchmarkSpec | TimingBenchmarkSpec | LanguageBenchmarkSpec:
    """Return what `fastff bench --job` measures.

    Raises:
        ConfigError: for a name that isn't there, with those that are.

    """
    if not config.benchmarks:
        raise ConfigError(f"--job {name}: the config has no benchmarks")
    if name not in config.benchmarks:
        raise ConfigError(_fault(name, "benchmark", name, [*config.benchmarks]))
    return config.benchmark_spec(name)


def _fault(job: str, what: str, given: str, allowed: list[str]) -> str:
    return f"--job {job}: {unknown(f'{what} {given!r}', given, allowed)}"


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


def n_runs(spec: TrainSpec) -> int:
    """Return how many runs a job has; a part of a job, how many of them are its own."""
    if spec.runs is not None:
        first, last = spec.runs
        return last - first + 1
    return _n_models(spec) * len(spec.seeds)


def _n_models(spec: TrainSpec) -> int:
    if not spec.equal_to:
        return len(spec.variant.models(spec.grid))
    # counts the parameters of models; the workflow waits for torch only where it has to
    from fastff.data.names import outline
    from fastff.train.sizes import models

    return len(models(spec, outline(spec.dataset)))
