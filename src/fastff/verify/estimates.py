"""Means with their standard errors: of a tidy table over seeds, or as a drawn table states them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from fastff.tables.schema import PRINTED, SHAPE
from fastff.verify.samples import Samples
from fastff.verify.trees import VerifyError

# What tells a row of a drawn table from the others, what must be the same, and what n counts.
NAMES = ("variant", "treatment", "baseline", "metric", "measure", *SHAPE)
EXACT = tuple(column.name for column in PRINTED.values() if column.role == "given")
COUNTS = ("n_seeds", "n_points")


@dataclass(frozen=True)
class Estimates:
    """A table as means that can be compared.

    Attributes:
        means: indexed by the keys and `column`; `mean`, `squared_error` (of the mean), `n` (runs
            that it is of), `missing` (the share of them without a finite value).
        exact: indexed by the keys; what must be the same on both sides.
        columns: all columns of the file.
        seeds: the seeds of the runs, where the table has them.

    """

    means: pd.DataFrame
    exact: pd.DataFrame
    columns: frozenset[str]
    seeds: frozenset[int] = frozenset()


def over_seeds(samples: Samples, columns: frozenset[str], steps: pd.Series[float]) -> Estimates:
    """Return the means over seeds of each key and metric.

    The variance of a metric is at least that of rounding to its step, `step**2 / 12`: an accuracy
    of 1,000 samples comes in thousandths, and may be the same for all of a few seeds by chance.

    Args:
        samples: of a tidy table.
        columns: all columns of the file.
        steps: the step of each metric, as `steps_of` returns them.

    """
    keys = list(samples.keys)
    rows = samples.rows[[*keys, *samples.metrics]].astype(dict.fromkeys(samples.metrics, float))
    long = rows.melt(keys, var_name="column", value_name="value")
    long["value"] = long["value"].where(np.isfinite(long["value"]))
    grouped = long.groupby([*keys, "column"], sort=False)["value"]
    found = grouped.agg(mean="mean", variance="var", values="count", n="size")
    floor = found.index.get_level_values("column").map(steps).to_numpy() ** 2 / 12
    variance = np.maximum(found["variance"], floor)  # NaN for a single value
    means = pd.DataFrame(
        {
            "mean": found["mean"],
            "squared_error": variance / found["values"],
            "n": found["n"],
            "missing": 1 - found["values"] / found["n"],
        }
    )
    exact = samples.rows.groupby(keys, sort=False)[list(samples.exact)].first()
    seeds = frozenset(int(seed) for seed in samples.rows["seed"].unique())
    return Estimates(means, exact, columns, seeds)


def steps_of(left: Samples, right: Samples) -> pd.Series[float]:
    """Return the least difference between two values of a metric, over both sides; 0 for none."""
    steps = {}
    for metric in left.metrics:
        values = np.concatenate([side.rows[metric].to_numpy(float) for side in (left, right)])
        distinct = np.unique(np.round(values[np.isfinite(values)], 12))
        steps[metric] = float(np.diff(distinct).min()) if distinct.size > 1 else 0.0
    return pd.Series(steps, dtype=float)


def as_stated(table: pd.DataFrame, path: str) -> Estimates:
    """Return the means of a drawn table, `<name>_mean` with the half width `<name>_ci` beside it.

    What has no interval of its own (`t`, `p`, counts of better points, the best of the seeds) is
    left out: it follows from the runs.

    Raises:
        VerifyError: for a table with two rows of one name.

    """
    keys = [column for column in NAMES if column in table]
    if table.duplicated(keys).any():
        row = table.loc[table.duplicated(keys), keys].iloc[0]
        where = ", ".join(f"{key} {value}" for key, value in row.items())
        raise VerifyError(f"{path}: two rows for {where}; allowed is one")
    table = table.set_index(keys)
    counts = [column for column in COUNTS if column in table]
    n = table[counts[0]] if counts else pd.Series(1, index=table.index)
    names = [column.removesuffix("_mean") for column in table if column.endswith("_mean")]
    parts = {}
    for name in names:
        half = table.get(f"{name}_ci", pd.Series(np.nan, index=table.index))
        mean = table[f"{name}_mean"].astype(float)
        error = half.astype(float) / stats.t.ppf(0.975, np.maximum(n - 1, 1))
        missing = (~np.isfinite(mean)).astype(float)
        parts[f"{name}_mean"] = pd.DataFrame(
            {"mean": mean, "squared_error": error**2, "n": n, "missing": missing}
        )
    if not parts:
        columns = ["mean", "squared_error", "n", "missing"]
        means = pd.DataFrame([], columns=columns, index=table.index[:0], dtype=float)
    else:
        means = pd.concat(parts, names=["column"]).reorder_levels([*keys, "column"])
    exact = table[[column for column in EXACT if column in table]]
    return Estimates(means, exact, frozenset({*table.columns, *keys}))
