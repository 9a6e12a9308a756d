"""Where the tables are that claims read: those of a run, or of a reference."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fastff.analysis.distribution import distribution
from fastff.claims.estimate import NotTestableError
from fastff.claims.speed import load_times
from fastff.tables.read import RUN, load_table
from fastff.tables.schema import MEASURES


@dataclass(frozen=True)
class Tables:
    """Folders with results, as the workflow writes them and the repository holds them.

    Attributes:
        folders: each has `tidy/<experiment>/<table>.csv` (or `.csv.xz`) and
            `benchmarks/<benchmark>.csv`, or one of the two. An experiment is in one of them; a
            benchmark's rows of several machines may be in several.
        only: the experiments and benchmarks that may be read; None for all that there are.

    """

    folders: Sequence[Path]
    only: Collection[str] | None = None

    def runs(self, experiment: str, metric: str) -> pd.DataFrame:
        """Return the runs of an experiment, with the metric.

        Raises:
            NotTestableError: where there are none, or they lack the metric.
            TidyError: for a table that can't be read.

        """
        folders = [folder / "tidy" / experiment for folder in self.folders]
        found = [folder for folder in folders if any(folder.glob("runs.csv*"))]
        if not found or not self._may_read(experiment):
            raise NotTestableError(f"no runs of experiment {experiment}")
        runs = load_table(found[0], "runs")
        if metric in MEASURES:
            measures = distribution(load_table(found[0], "expert_counts"))[[*RUN, *MEASURES]]
            runs = runs.merge(measures, on=list(RUN), how="left", validate="one_to_one")
        return runs

    def times(self, benchmark: str) -> pd.DataFrame:
        """Return the rows of a benchmark, of all machines.

        Raises:
            NotTestableError: where there are none.
            TidyError: for a table that can't be read.

        """
        paths = [folder / "benchmarks" / f"{benchmark}.csv" for folder in self.folders]
        found = [path for path in paths if path.exists()]
        if not found or not self._may_read(benchmark):
            raise NotTestableError(f"no measurements of {benchmark}")
        return load_times(found)

    def _may_read(self, name: str) -> bool:
        return self.only is None or name in self.only
