"""What earlier runs took, and what that says of others.

An experiment takes the seconds per run and epoch that were measured of it, times its runs and
epochs. Where it has other sizes, or another number of jobs, the seconds are scaled by what both
would take at the mean rates of all that was measured: seconds per job that starts, per training
step of a stack of runs, and per product of an input with a hidden unit. What was not measured takes
the rate of the most similar experiment.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from fastff.artifact.costs import ALL, MIB
from fastff.config.errors import ConfigError
from fastff.config.experiment import EngineBenchmark, Experiment
from fastff.config.jobs import job_specs
from fastff.config.language_models import LanguageBenchmark, LanguageModel
from fastff.config.load import Benchmark, Config, load_config
from fastff.config.yaml_file import read_yaml
from fastff.data.names import DATASET_SIZES, outline
from fastff.tables.provenance import FILE, launch_of, launches
from fastff.tables.read import NOT_A_TABLE
from fastff.train.scheduler import FLOAT, PER_PARAMETER
from fastff.train.sizes import runs

REFERENCE = Path("results") / "reference"
MEASURES = ["seconds", "peak_mib", "disk_mib"]


@dataclass(frozen=True)
class Work:
    """What training jobs ask for. Early stopping is not foreseen: all epochs count.

    Attributes:
        jobs: processes that start.
        steps: optimiser steps, of a stack of runs as one.
        products: of an input of a sample with a hidden unit, over all runs and epochs.
        runs: that are trained.
        run_epochs: epochs of all of them.
        n_bytes: the data, and parameters with gradients and moments of the stacks under way.

    """

    jobs: int = 0
    steps: int = 0
    products: int = 0
    runs: int = 0
    run_epochs: int = 0
    n_bytes: int = 0

    def __add__(self, other: Work) -> Work:
        """Return the work of jobs that run one after the other."""
        sums = (one + two for one, two in zip(astuple(self), astuple(other), strict=True))
        return replace(Work(*sums), n_bytes=max(self.n_bytes, other.n_bytes))

    @property
    def terms(self) -> list[float]:
        """What takes time, in the order of `Training.rates`."""
        return [self.jobs, self.steps, self.products]


def training_work(config: Config, experiment: str, device: str) -> list[Work]:
    """Return what each training job of an experiment asks for.

    Args:
        config: the whole config.
        experiment: one of its experiments.
        device: "cpu" or "cuda".

    """
    data = outline(config.experiments[experiment].dataset)
    at_once = config.stacks_at_once if device == "cuda" else 1
    found = []
    for specs in job_specs(config, experiment).values():
        work, largest = Work(jobs=1), 0
        for spec in specs:
            recipe = spec.recipe
            n_train = recipe.n_train(len(data.train_labels), data.name)
            steps = recipe.epochs * (n_train // recipe.batch_size)
            for shape, n_runs in Counter(run.shape for run in runs(spec, data)).items():
                weights = data.in_features * 2**shape.depth * shape.hidden_features
                stacks = math.ceil(n_runs / config.runs_per_stack / at_once)
                largest = max(largest, min(n_runs, config.runs_per_stack) * weights)
                work += Work(
                    steps=stacks * steps,
                    products=n_runs * steps * recipe.batch_size * weights,
                    runs=n_runs,
                    run_epochs=n_runs * recipe.epochs,
                )
        n_bytes = data.n_bytes + at_once * FLOAT * PER_PARAMETER * largest
        found.append(replace(work, n_bytes=n_bytes))
    return found


@dataclass(frozen=True)
class Measured:
    """An experiment that was trained, by its config and its name, and what its training took."""

    config: str
    name: str
    block: Experiment
    work: Work
    seconds: float
    peak_mib: float

    @property
    def notebook(self) -> str:
        """The notebook that draws it, which experiments share that only differ in their data."""
        return self.block.notebook or self.name

    def memory(self, work: Work) -> float:
        """Return the memory in MiB of training that asks for other work."""
        return self.peak_mib + (work.n_bytes - self.work.n_bytes) / MIB


@dataclass(frozen=True)
class Training:
    """What training took on a device of a machine."""

    machine: str
    measured: tuple[Measured, ...]

    @cached_property
    def rates(self) -> np.ndarray:
        """Seconds per job, step and product, none negative, of the least relative errors."""
        terms = np.asarray([one.work.terms for one in self.measured], dtype=float)
        scale = np.maximum(terms.max(axis=0), 1)
        seconds = np.asarray([one.seconds for one in self.measured])
        rates, _ = nnls(terms / scale / seconds[:, None], np.ones(len(seconds)))
        return np.asarray(rates / scale)

    def like(self, name: str, block: Experiment) -> Measured:
        """Return what was measured that resembles an experiment most.

        That is the experiment of this name; else one with the same notebook, on the same dataset,
        or with the most models in common.
        """
        models = {variant.model for variant in block.variants}

        def likeness(other: Measured) -> tuple[bool, bool, bool, float]:
            others = {variant.model for variant in other.block.variants}
            return (
                name == other.name,
                (block.notebook or name) == other.notebook,
                block.dataset == other.block.dataset,
                len(models & others) / len(models | others),
            )

        return max(self.measured, key=likeness)

    def seconds(self, work: Work, like: Measured) -> float:
        """Return how long training takes by the rate of an experiment that was measured."""
        expected = np.dot(work.terms, self.rates) / np.dot(like.work.terms, self.rates)
        return float(like.seconds * expected)

    def errors(self) -> list[float]:
        """Return each experiment's relative error of time, predicted from the others."""
        found = []
        for one in self.measured:
            rest = replace(self, measured=tuple(o for o in self.measured if o is not one))
            like = rest.like(one.name, one.block)
            found.append(rest.seconds(one.work, like) / one.seconds - 1)
        return found


@dataclass(frozen=True)
class Costs:
    """What was measured: a table of `fastff costs` of one machine, and training.

    Attributes:
        table: of the costs.
        configs: those that it names, by name, as they were run.
        training: on the plan's device.
        host: of processes beside that device: their start, and memory.
        gpu: on the reference's GPU, if the plan's device is one; its memory.
        language_on_gpu: likewise, seconds of language models per unit of their work, by name.

    """

    table: pd.DataFrame
    configs: Mapping[str, Config]
    training: Training
    host: Training
    gpu: Training | None
    language_on_gpu: Mapping[str, float]

    def of(self, step: str, name: str) -> tuple[pd.Series, bool]:
        """Return the MEASURES of a step, in the median, and whether they are of this very name.

        A dataset that was not prepared takes what others do, by its size; anything else what the
        step takes of others.
        """
        rows = self.table[self.table["step"] == step]
        own = rows[rows["name"] == name]
        if step != "prepare" or len(own):
            return (own if len(own) else rows)[MEASURES].median(), len(own) > 0
        if name not in DATASET_SIZES:  # a text
            return rows[:0][MEASURES].median(), False
        rows = rows[rows["name"].isin(DATASET_SIZES)]
        sizes = np.asarray([outline(other).n_bytes for other in rows["name"]])
        n_bytes = outline(name).n_bytes
        found = rows[MEASURES].div(sizes, axis=0).median() * n_bytes
        found["peak_mib"] = rows["peak_mib"].median() + n_bytes / MIB  # most is the process
        return found, False

    def language(self, name: str, model: LanguageModel, device: str) -> tuple[pd.Series, bool]:
        """Return the MEASURES of training a language model, and whether they are of this name.

        By the time of those that were measured, in proportion to the bytes that are seen, the
        blocks, and the square of their width; where there are none, the costs are NaN.
        """
        rows = self.table[self.table["step"] == "train"]
        is_one = [row.name in self.configs[row.config].language_models for row in rows.itertuples()]
        rows = rows[is_one]
        own = rows[rows["name"] == name] if (rows["name"] == name).any() else rows
        found = own[MEASURES].median()
        rates = [
            row.seconds / _language_work(self.configs[row.config].language_models[row.name])
            for row in own.itertuples()
        ]
        if device == "cuda" and self.gpu is not None:
            rates = [rate for other, rate in self.language_on_gpu.items() if other == name]
        found["seconds"] = np.median(rates) * _language_work(model) if rates else np.nan
        return found, bool(rates) and name in {*own["name"], *self.language_on_gpu}

    def timing(self, name: str, block: Benchmark, device: str) -> tuple[pd.Series, bool]:
        """Return the MEASURES of a benchmark, by how much it times, and whether it is measured.

        One that isn't measured takes as long as others of its kind, and on a GPU as long as on a
        CPU; where there is none, the costs are NaN.
        """
        rows = self.table[self.table["step"] == "bench"]
        blocks = [self.configs[row.config].benchmarks[row.name] for row in rows.itertuples()]
        same_kind = np.asarray([other.kind == block.kind for other in blocks], dtype=bool)
        own = same_kind & (rows["name"] == name).to_numpy(dtype=bool)
        chosen = own if own.any() else same_kind
        found = rows[chosen][MEASURES].median()
        counts = [_n_measurements(other, "cpu") for other in blocks]
        seconds = (rows["seconds"] / counts)[chosen].median()
        found["seconds"] = seconds * _n_measurements(block, device)
        return found, bool(own.any()) and device == "cpu"

    def collecting(self, like: Measured, work: Work) -> pd.Series:
        """Return the MEASURES of joining an experiment's tables, by its runs and epochs.

        `disk_mib` is with what is kept beside them: the tables of the jobs, the store and logs.
        """
        rows = self.table[self.table["step"] == "collect"]
        is_own = (rows["config"] == like.config) & (rows["name"] == like.name)
        found = rows[is_own][MEASURES].median()
        is_all = self.table["name"] == ALL
        disk = self.table["disk_mib"]
        kept = disk[is_all].sum() - disk[~is_all].sum() + rows["disk_mib"].sum()
        found["disk_mib"] *= 1 + kept / rows["disk_mib"].sum()
        found[["seconds", "disk_mib"]] *= work.run_epochs / like.work.run_epochs
        return found


def _language_work(model: LanguageModel) -> float:
    recipe, decoder = model.recipe, model.decoder
    n_bytes = recipe.steps * recipe.batch_size * decoder.context
    return len(model.variants) * len(model.seeds) * n_bytes * decoder.n_layers * decoder.width**2


def _n_measurements(block: Benchmark, device: str) -> int:
    """Return how much a benchmark measures on a device: samples of calls, or trained samples."""
    if isinstance(block, EngineBenchmark):
        points = len(block.variants) * len(block.grid.points())
        passes = block.repeats * (len(block.workers) + 1)
        return points * passes * DATASET_SIZES[block.dataset].n_train
    if isinstance(block, LanguageBenchmark):
        timed = [case for case in block.cases.values() if device == "cuda" or case.device == "cpu"]
        per_variant = sum(len(case.ops) * len(case.modes) for case in timed)
        return block.processes * block.repeats * per_variant
    cases = [case for case in block.cases.values() if device == "cuda" or case.device == "cpu"]
    calls = sum(
        len(case.widths(depth))
        * len(variant.dtypes or case.dtypes)
        * len(variant.modes or case.modes)
        for case in cases
        for depth, variant, _ in itertools.product(case.depth, case.variants, case.batch)
    )
    return block.processes * block.repeats * calls


def load_costs(root: Path, device: str, paths: Sequence[Path] = ()) -> Costs:
    """Return what was measured.

    Args:
        root: the repository: its `config/` has the configs that tables name, and
            `results/reference/` has what is taken without `paths`.
        device: "cpu" or "cuda", where the plan trains.
        paths: tables of `fastff costs`, of one machine, which trained on such a device.

    Raises:
        ConfigError: for a table of a config that isn't there, and where nothing was measured on
            such a device.

    """
    # one machine's: tables of several would not fit together
    chosen = list(paths) or sorted((root / REFERENCE).glob("*/costs.csv"))[:1]
    if not chosen:
        raise ConfigError(f"{root / REFERENCE} has no */costs.csv; give --costs")
    table = pd.concat([_read(path) for path in chosen], ignore_index=True)
    configs = _configs(root, table)
    host = _trained(table, configs, device if paths else "cpu")
    gpu = _trained_on_gpu(root) if device == "cuda" else None
    on_gpu = _language_on_gpu(root) if device == "cuda" else {}
    return Costs(table, configs, host if paths or gpu is None else gpu, host, gpu, on_gpu)


def _language_on_gpu(root: Path) -> dict[str, float]:
    """Return the seconds per unit of work of the reference's language models, by name."""
    models = load_config(root / "config" / "reference.yaml").language_models
    folders = [path.parent for path in sorted((root / REFERENCE).glob(f"*/{FILE}"))]
    return {
        name: launch["made"][name]["seconds"] / _language_work(model)
        for folder in folders
        for name, model in models.items()
        if (launch := launch_of(folder, name)) is not None
    }


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except NOT_A_TABLE as error:
        raise ConfigError(f"{path} is not a CSV table: {' '.join(str(error).split())}") from None
    if missing := [key for key in ("config", "name", "step", "seconds") if key not in table]:
        raise ConfigError(f"{path} has no column {missing[0]!r}; `fastff costs` writes such tables")
    if "train" not in set(table["step"]):
        raise ConfigError(f"{path} has no row of step train; `fastff costs` writes such tables")
    return table


def _configs(root: Path, table: pd.DataFrame) -> dict[str, Config]:
    """Return the configs that a table names, from the files of the repository."""
    paths = sorted((root / "config").glob("*.yaml"))
    by_name = {read_yaml(path).get("name"): path for path in paths}
    for name in table["config"].unique():
        if name not in by_name:
            where = f"no config in {root / 'config'} has that name"
            raise ConfigError(f"the costs are of a config named {name!r}, but {where}")
    return {name: load_config(by_name[name]) for name in table["config"].unique()}


def _trained(table: pd.DataFrame, configs: Mapping[str, Config], device: str) -> Training:
    rows = table[table["step"] == "train"]
    measured = []
    for row in rows.itertuples():
        config = configs[row.config]
        if row.name not in config.experiments:  # a language model
            continue
        work = replace(sum(training_work(config, row.name, device), Work()), jobs=int(row.jobs))
        block = config.experiments[row.name]
        cost = (float(row.seconds), float(row.peak_mib))
        measured.append(Measured(row.config, row.name, block, work, *cost))
    return Training(str(rows["device_name"].iloc[0]), tuple(measured))


def _trained_on_gpu(root: Path) -> Training:
    """Return what the largest launch of the reference on a GPU trained.

    Launches are of several versions of the code, so that their times would not fit together.
    """
    folders = [path.parent for path in sorted((root / REFERENCE).glob(f"*/{FILE}"))]
    made = [launch for folder in folders for launch in launches(folder) if launch["driver"]]
    if not made:
        raise ConfigError(f"{root / REFERENCE} has no */{FILE} of a GPU; give --costs")
    largest = max(
        made, key=lambda launch: sum(cost.get("runs", 0) for cost in launch["made"].values())
    )
    config = load_config(root / "config" / "reference.yaml")
    config = config.model_copy(update={"stacks_at_once": largest["stacks_at_once"]})
    measured = []
    for name, block in config.experiments.items():
        if (cost := largest["made"].get(name)) is not None:
            work = sum(training_work(config, name, "cuda"), Work())
            took = (cost["seconds"], cost["peak_bytes"] / MIB)
            measured.append(Measured(config.name, name, block, work, *took))
    return Training(largest["device_name"], tuple(measured))
