"""Where the measured costs of a plan come from: the repository's reference, or a user's table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fastff.config.errors import ConfigError
from fastff.config.load import Config, load_config
from fastff.config.yaml_file import read_yaml
from fastff.plan.measured import Training, from_costs, from_provenance, timed_benchmarks
from fastff.plan.steps import MeasuredSteps

REFERENCE = Path("results") / "reference"


class Basis(NamedTuple):
    """What a plan is estimated from.

    Attributes:
        training: how long it takes on the plan's device.
        host: what a training process takes beside it: its start, and memory.
        gpu: what training holds of a GPU's memory, where the plan has one.
        steps: what is not training.

    """

    training: Training
    host: Training
    gpu: Training | None
    steps: MeasuredSteps


def basis(root: Path, device: str, costs: Sequence[Path] = ()) -> Basis:
    """Return what was measured.

    Args:
        root: the repository: its `config/` has the configs that tables name, and
            `results/reference/` has what is taken without `costs`.
        device: "cpu" or "cuda", where the plan trains.
        costs: tables of `fastff costs`, of one machine, which trained on such a device.

    Raises:
        ConfigError: for a table of a config that isn't there, and where nothing was measured on
            such a device.

    """
    # one machine's: tables of several would not fit together
    paths = list(costs) or sorted((root / REFERENCE).glob("*/costs.csv"))[:1]
    if not paths:
        raise ConfigError(f"{root / REFERENCE} has no */costs.csv; give --costs")
    table = pd.concat([_read(path) for path in paths], ignore_index=True)
    configs = _configs(root, table)
    host = from_costs(table, configs, device if costs else "cpu")
    if device == "cpu":
        return Basis(host, host, None, MeasuredSteps(table, configs, {}))
    provenance = _provenance_of_gpu(root)
    gpu = from_provenance(provenance, root)
    steps = MeasuredSteps(table, configs, {} if costs else timed_benchmarks(provenance, root))
    return Basis(host if costs else gpu, host, gpu, steps)


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, keep_default_na=False)
    if missing := [key for key in ("config", "name", "step", "seconds") if key not in table]:
        raise ConfigError(f"{path} has no column {missing[0]!r}; `fastff costs` writes such tables")
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


def _provenance_of_gpu(root: Path) -> Path:
    for path in sorted((root / REFERENCE).glob("*/provenance.json")):
        if json.loads(path.read_text(encoding="utf-8")).get("driver"):
            return path
    raise ConfigError(f"{root / REFERENCE} has no */provenance.json of a GPU; give --costs")
