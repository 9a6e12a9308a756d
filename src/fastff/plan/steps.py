"""What the steps beside training take: preparing, collecting, drawing, timing, and the ledger."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from fastff.artifact.costs import ALL, CLAIMS, MIB
from fastff.config import Config
from fastff.data.names import DATASET_SIZES
from fastff.experiment import Benchmark, EngineBenchmark
from fastff.plan.demands import demands
from fastff.plan.training import fit, together
from fastff.tidy import TABLES

MEASURES = ["seconds", "peak_mib", "disk_mib"]


class MeasuredSteps:
    """Costs of steps as `fastff costs` wrote them down, and what they say of others.

    Args:
        costs: the table, of one machine.
        configs: the configs that it names, by name, as they were run.

    """

    def __init__(self, costs: pd.DataFrame, configs: Mapping[str, Config]) -> None:
        self.costs = costs
        self.configs = configs

    def drawing(self, notebook: str) -> tuple[pd.Series, bool]:
        """Return what executing a notebook takes, and whether it is measured.

        If it isn't, what notebooks take in the median.
        """
        rows = self.costs[self.costs["step"] == "draw"]
        drawn = [self._notebook(row.config, row.name) for row in rows.itertuples(name="Row")]
        own = rows[[name == notebook for name in drawn]]
        return (own if len(own) else rows)[MEASURES].median(), len(own) > 0

    def preparing(self, dataset: str) -> tuple[pd.Series, bool]:
        """Return what preparing a dataset takes; one that isn't measured, by its size."""
        rows = self.costs[self.costs["step"] == "prepare"]
        own = rows[rows["name"] == dataset]
        if len(own):
            return own[MEASURES].median(), True
        sizes = np.asarray([_pixels(name) for name in rows["name"]])
        return rows[MEASURES].div(sizes, axis=0).median() * _pixels(dataset), False

    def timing(self, name: str, block: Benchmark, device: str) -> tuple[pd.Series, bool]:
        """Return what a benchmark takes, by how much it measures.

        One that isn't measured takes as long as others of its kind.
        """
        rows = self.costs[self.costs["step"] == "bench"]
        blocks = [self.configs[row.config].benchmarks[row.name] for row in rows.itertuples()]
        same_kind = rows[[other.kind == block.kind for other in blocks]]
        own = same_kind[same_kind["name"] == name]
        chosen = own if len(own) else same_kind
        if not len(chosen):
            return pd.Series(math.nan, index=MEASURES), False
        measured = [self.configs[row.config].benchmarks[row.name] for row in chosen.itertuples()]
        per_unit = chosen["seconds"] / [_n_measurements(other, "cpu") for other in measured]
        found = chosen[MEASURES].median()
        found["seconds"] = per_unit.median() * _n_measurements(block, device)
        return found, len(own) > 0

    def ledger(self) -> tuple[pd.Series, bool]:
        """Return what the ledger of claims and its figure take together."""
        rows = self.costs[self.costs["name"] == CLAIMS]
        by_step = rows.groupby("step")[MEASURES].median()
        found = by_step.sum()
        found["peak_mib"] = by_step["peak_mib"].max()
        return found, len(rows) > 0

    def collecting(self, n_jobs: int, rows: Mapping[str, int]) -> pd.Series:
        """Return what joining the tables of an experiment takes; `rows` are those of each table."""
        collected = self._collected
        terms = [[1.0, sum(measured.values())] for measured in self._rows]
        rates = fit(terms, collected["seconds"].clip(lower=0.1))
        seconds = float(np.dot([1.0, sum(rows.values())], rates))
        peak = float(collected["peak_mib"].median())
        return pd.Series([seconds, peak, self.tidy_bytes(rows) / MIB], index=MEASURES)

    def tidy_bytes(self, rows: Mapping[str, int]) -> float:
        """Return the size of tidy tables with so many rows."""
        return float(np.dot([rows.get(table, 0) for table in TABLES], self._bytes_per_row))

    @cached_property
    def stored_share(self) -> float:
        """Bytes of the store, logs and measurements for one of the tidy tables."""
        whole = self.costs[self.costs["name"] == ALL]["disk_mib"].sum()
        parts = self.costs[self.costs["name"] != ALL]["disk_mib"].sum()
        return float((whole - parts) / self._collected["disk_mib"].sum())

    @cached_property
    def _collected(self) -> pd.DataFrame:
        return self.costs[self.costs["step"] == "collect"]

    @cached_property
    def _rows(self) -> list[dict[str, int]]:
        return [
            together(demands(self.configs[row.config], row.name, "cpu").values()).rows()
            for row in self._collected.itertuples()
        ]

    @cached_property
    def _bytes_per_row(self) -> np.ndarray:
        terms = [[measured.get(table, 0) for table in TABLES] for measured in self._rows]
        return fit(terms, self._collected["disk_mib"] * MIB)

    def _notebook(self, config: str, name: str) -> str:
        if name == CLAIMS:
            return CLAIMS
        return self.configs[config].drawn()[name].notebook or name


def _pixels(dataset: str) -> int:
    n_train, n_test, image_shape, _ = DATASET_SIZES[dataset]
    return (n_train + n_test) * math.prod(image_shape)


def _n_measurements(block: Benchmark, device: str) -> int:
    """Return how much a benchmark measures on a device: samples of calls, or trained samples."""
    if isinstance(block, EngineBenchmark):
        points = len(block.variants) * len(block.grid.points())
        passes = block.repeats * (len(block.workers) + 1)
        return points * passes * DATASET_SIZES[block.dataset].n_train
    cases = [case for case in block.cases.values() if device == "cuda" or case.device == "cpu"]
    return block.repeats * sum(
        len(case.widths(depth))
        * len(variant.dtypes or case.dtypes)
        * len(variant.modes or case.modes)
        for case in cases
        for depth, variant, _ in itertools.product(case.depth, case.variants, case.batch)
    )
