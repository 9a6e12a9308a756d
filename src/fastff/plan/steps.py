"""What the steps beside training take: preparing, collecting, drawing, timing, and the ledger."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from fastff.artifact.costs import ALL, CLAIMS, MIB
from fastff.config.experiment import Benchmark, EngineBenchmark
from fastff.config.load import Config
from fastff.data.names import DATASET_SIZES
from fastff.plan.demands import demands
from fastff.plan.training import fit, together
from fastff.tables.schema import TIDY

FLOAT = 4  # bytes
RESOLUTION = 0.1  # seconds, of measured costs
MEASURES = ["seconds", "peak_mib", "disk_mib"]


class MeasuredSteps:
    """Costs of steps as `fastff costs` wrote them down, and what they say of others.

    Args:
        costs: the table, of one machine.
        configs: the configs that it names, by name, as they were run.
        on_gpu: benchmarks that were measured on a GPU, by name, and the seconds.

    """

    def __init__(
        self,
        costs: pd.DataFrame,
        configs: Mapping[str, Config],
        on_gpu: Mapping[str, tuple[Benchmark, float]],
    ) -> None:
        self.costs = costs
        self.configs = configs
        self.on_gpu = on_gpu

    def drawing(self, notebook: str) -> tuple[pd.Series, bool]:
        """Return what executing a notebook takes, and whether it is measured.

        If it isn't, what notebooks take in the median.
        """
        rows = self.costs[self.costs["step"] == "draw"]
        drawn = [self._notebook(row.config, row.name) == notebook for row in rows.itertuples()]
        own = rows[np.asarray(drawn, dtype=bool)]
        return (own if len(own) else rows)[MEASURES].median(), len(own) > 0

    def preparing(self, dataset: str) -> tuple[pd.Series, bool]:
        """Return what preparing a dataset takes; one that isn't measured, by its size."""
        rows = self.costs[self.costs["step"] == "prepare"]
        own = rows[rows["name"] == dataset]
        if len(own):
            return own[MEASURES].median(), True
        sizes = np.asarray([_pixels(name) for name in rows["name"]])
        found = rows[MEASURES].div(sizes, axis=0).median() * _pixels(dataset)
        # most of a small one's memory is the process
        found["peak_mib"] = rows["peak_mib"].median() + FLOAT * _pixels(dataset) / MIB
        return found, False

    def timing(self, name: str, block: Benchmark, device: str) -> tuple[pd.Series, bool]:
        """Return what a benchmark takes, by how much it measures.

        One that isn't measured on the device takes as long as on a CPU, or as others of its kind;
        where there is none, the costs are NaN.
        """
        rows = self.costs[self.costs["step"] == "bench"]
        blocks = [self.configs[row.config].benchmarks[row.name] for row in rows.itertuples()]
        same_kind = np.asarray([other.kind == block.kind for other in blocks], dtype=bool)
        own = same_kind & (rows["name"] == name).to_numpy(dtype=bool)
        chosen = own if own.any() else same_kind
        found = rows[chosen][MEASURES].median()
        measured = [_n_measurements(other, "cpu") for other in blocks]
        per_unit = (rows["seconds"] / measured)[chosen].median()
        is_measured = bool(own.any()) and device == "cpu"
        if device == "cuda" and name in self.on_gpu:
            other, seconds = self.on_gpu[name]
            per_unit, is_measured = seconds / _n_measurements(other, device), True
        found["seconds"] = per_unit * _n_measurements(block, device)
        return found, is_measured

    def ledger(self) -> tuple[pd.Series, bool]:
        """Return what the ledger of claims and its figure take together."""
        rows = self.costs[self.costs["name"] == CLAIMS]
        by_step = rows.groupby("step")[MEASURES].median()
        found = by_step.sum()
        found["peak_mib"] = by_step["peak_mib"].max()
        return found, len(rows) > 0

    def collecting(self, rows: Mapping[str, int]) -> pd.Series:
        """Return what joining the tables of an experiment takes; `rows` are those of each table."""
        collected = self._collected
        terms = [[1.0, sum(measured.values())] for measured in self._rows]
        rates = fit(terms, collected["seconds"].clip(lower=RESOLUTION))
        seconds = float(np.dot([1.0, sum(rows.values())], rates))
        peak = float(collected["peak_mib"].median())
        return pd.Series([seconds, peak, self.tidy_bytes(rows) / MIB], index=MEASURES)

    def tidy_bytes(self, rows: Mapping[str, int]) -> float:
        """Return the size of tidy tables with so many rows."""
        return float(np.dot([rows.get(table, 0) for table in TIDY], self._bytes_per_row))

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
        terms = [[measured.get(table, 0) for table in TIDY] for measured in self._rows]
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
