"""Runs and their means, and whether those of two tables are of one distribution.

They are the runs of a tidy table and their means over seeds, or the means that a drawn table
states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from fastff.analysis.distribution import distribution_per_tree
from fastff.tables.schema import CHOICES, PRINTED, SHAPE, TIDY

LEVEL = 0.95
# What tells a row of a drawn table from the others, and what its n counts.
NAMES = ("variant", "treatment", "baseline", "metric", "measure", *SHAPE)
COUNTS = ("n_seeds", "n_points")
# What comes in lumps, such as at its bound in nine of ten runs: a single run of it says nothing.
LUMPED = ("best_epoch", *CHOICES)


class VerifyError(ValueError):
    """Result trees that can't be compared; the message names the file or folder and the fault."""


@dataclass(frozen=True)
class Samples:
    """Values of the runs of an experiment.

    Attributes:
        rows: a row per run and place; columns `seed`, `keys`, `exact` and `metrics`.
        keys: tell a grid point, and a place in its runs such as the epoch, from the others.
        exact: follow from the config, and must be the same for a key.
        metrics: vary with the seed.

    """

    rows: pd.DataFrame
    keys: tuple[str, ...]
    exact: tuple[str, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Estimates:
    """A table as means that can be compared.

    Attributes:
        means: indexed by the keys and `column`; `mean`, `squared_error` (of the mean), `n` (runs
            that it is of), `missing` (the share of them without a finite value). Of a tidy table
            also the `lowest` and the `highest` run, and the `least` variance of a run.
        exact: indexed by the keys; what must be the same on both sides.

    """

    means: pd.DataFrame
    exact: pd.DataFrame


def samples_of(name: str, table: pd.DataFrame) -> Samples:
    """Return the values of a tidy table.

    Experts have no identity that two machines share, and a plane no direction: of the expert
    counts it is the entropy of the shares and the number of used experts that are compared, as
    means over trees, and of projections each class's spread around its centre and the distance of
    that from the centre of all.

    Args:
        name: of the table: `runs`, `epochs`, `expert_counts`, `gradients`, `nodes`, `projections`.
        table: as `fastff.tables.read` reads it.

    """
    if name == "expert_counts":
        return _expert_counts(table)
    if name == "projections":
        return _projections(table)
    schema = TIDY[name]
    keys = tuple(key for key in schema.keys if key != "seed")
    if name != "runs":
        return Samples(table, keys, (), schema.values)
    choices = [metric for metric in CHOICES if metric in table]
    return Samples(table, keys, schema.given, (*schema.values, *choices))


def _expert_counts(table: pd.DataFrame) -> Samples:
    keys = ("variant", *SHAPE, "epoch")
    metrics = ("entropy", "used_experts")
    run = [*keys, "seed"]
    rows = distribution_per_tree(table).groupby(run, sort=False)[list(metrics)].mean()
    rows["samples"] = table.groupby(run, sort=False)["count"].sum()
    return Samples(rows.reset_index(), keys, ("samples",), metrics)


def _projections(table: pd.DataFrame) -> Samples:
    keys = ("variant", *SHAPE, "epoch", "class")
    of_run = table.groupby(["variant", *SHAPE, "epoch", "seed"], sort=False)
    of_class = table.groupby([*keys, "seed"], sort=False)
    centres = of_class[["x", "y"]].transform("mean")
    away = table[["x", "y"]] - centres
    from_all = centres - of_run[["x", "y"]].transform("mean")
    rows = table[[*keys, "seed"]].assign(
        spread=(away**2).sum(axis=1, skipna=False), distance=np.hypot(from_all["x"], from_all["y"])
    )
    values = rows.groupby([*keys, "seed"], sort=False)[["spread", "distance"]].mean()
    values["spread"] = np.sqrt(values["spread"])
    values["samples"] = of_class.size()
    return Samples(values.reset_index(), keys, ("samples",), ("spread", "distance"))


def over_shapes(samples: Samples) -> Samples:
    """Return each run's means over the shapes of its variant, for variants of several shapes.

    A difference that all shapes of a variant share shows here first. The shape's keys say `all`.
    """
    keys = [key for key in samples.keys if key not in SHAPE]
    several = samples.rows.groupby(keys)[list(SHAPE)].transform("nunique").gt(1).any(axis=1)
    grouped = samples.rows[several].groupby([*keys, "seed"], sort=False)
    rows = grouped[list(samples.metrics)].mean().reset_index()
    varied = {key: samples.rows[key].nunique() > 1 for key in SHAPE}
    shape = {key: "all" if varied[key] else samples.rows[key].iloc[0] for key in SHAPE}
    return Samples(rows.assign(**shape), samples.keys, (), samples.metrics)


def over_seeds(sides: Sequence[Samples]) -> list[Estimates]:
    """Return the means over seeds of each key and metric, for each side of a comparison.

    The variance of a metric is at least that of rounding to its step, `step**2 / 12`: an accuracy
    of 1,000 samples comes in thousandths, and may be the same for all of a few seeds by chance.
    """
    steps = {}
    for metric in sides[0].metrics:
        values = np.concatenate([side.rows[metric].to_numpy(float) for side in sides])
        distinct = np.unique(np.round(values[np.isfinite(values)], 12))
        steps[metric] = float(np.diff(distinct).min()) if distinct.size > 1 else 0.0
    return [_over_seeds(side, pd.Series(steps, dtype=float)) for side in sides]


def _over_seeds(samples: Samples, steps: pd.Series[float]) -> Estimates:
    keys = list(samples.keys)
    rows = samples.rows[[*keys, *samples.metrics]].astype(dict.fromkeys(samples.metrics, float))
    long = rows.melt(keys, var_name="column", value_name="value")
    long["value"] = long["value"].where(np.isfinite(long["value"]))
    grouped = long.groupby([*keys, "column"], sort=False)["value"]
    found = grouped.agg(
        mean="mean", variance="var", values="count", n="size", lowest="min", highest="max"
    )
    least = found.index.get_level_values("column").map(steps).to_numpy() ** 2 / 12
    variance = np.maximum(found["variance"], least)  # NaN for a single value
    means = found[["mean", "n", "lowest", "highest"]].assign(
        squared_error=variance / found["values"],
        missing=1 - found["values"] / found["n"],
        least=least,
    )
    exact = samples.rows.groupby(keys, sort=False)[list(samples.exact)].first()
    return Estimates(means, exact)


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
    given = [column.name for column in PRINTED.values() if column.role == "given"]
    exact = table[[column for column in given if column in table]]
    n = next((table[column] for column in COUNTS if column in table), 1)
    parts = {}
    for column in [column for column in table if column.endswith("_mean")]:
        mean = table[column].astype(float)
        half = table.get(f"{column.removesuffix('_mean')}_ci", pd.Series(np.nan, table.index))
        error = half.astype(float) / stats.t.ppf(0.975, np.maximum(n - 1, 1))
        missing = (~np.isfinite(mean)).astype(float)
        parts[column] = pd.DataFrame(
            {"mean": mean, "squared_error": error**2, "n": n, "missing": missing}
        )
    if not parts:
        columns = ["mean", "squared_error", "n", "missing"]
        return Estimates(pd.DataFrame(columns=columns, index=table.index[:0], dtype=float), exact)
    means = pd.concat(parts, names=["column"]).reorder_levels([*keys, "column"])
    return Estimates(means, exact)


def compare_means(left: pd.DataFrame, right: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Return the cells that two sides have in common, with the interval of their difference.

    The difference of two means of independent runs has the standard error `sqrt(a + b)`, for their
    squared errors `a` and `b`, and by Welch and Satterthwaite
    `(a + b)**2 / (a**2 / (n_a - 1) + b**2 / (n_b - 1))` degrees of freedom. The interval is
    Bonferroni's: with m cells each has the level `1 - (1 - level) / m`, so that two trees of one
    and the same code pass all cells of a table with a probability of at least `level`. Runs of the
    same seed on two machines start alike; the more alike they stay, the narrower is the difference,
    and the safer the interval.

    Args:
        left: `mean`, `squared_error`, `n` and `missing` by key and column, as `Estimates.means`.
        right: the other side.
        level: of all intervals of the table together.

    Returns:
        By key and column: `left`, `right`, `difference` (right less left), `half_width` (NaN where
        a side has a single run) and `verdict`: `same` for equal means, `within` for a difference
        inside the interval, and `outside`, also where only one side has values, or other shares of
        runs without.

    """
    both = left.add_suffix("_left").join(right.add_suffix("_right"), how="inner")
    a, b = both["squared_error_left"], both["squared_error_right"]
    cells = pd.DataFrame({"left": both["mean_left"], "right": both["mean_right"]})
    cells["difference"] = cells["right"] - cells["left"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        freedom = (a + b) ** 2 / (a**2 / (both["n_left"] - 1) + b**2 / (both["n_right"] - 1))
    # two errors of 0 have no degrees of freedom, and an interval of no width
    quantile = stats.t.isf((1 - level) / 2 / max(len(both), 1), freedom.fillna(np.inf))
    cells["half_width"] = quantile * np.sqrt(a + b)
    same = (cells["left"] == cells["right"]) | (cells["left"].isna() & cells["right"].isna())
    missing = (both["missing_left"] - both["missing_right"]).abs() > 1e-9
    within = (cells["difference"].abs() <= cells["half_width"]) & ~missing
    verdict = np.where(same & ~missing, "same", np.where(within, "within", "outside"))
    return cells.assign(verdict=verdict)


def compare_runs(left: pd.DataFrame, right: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Return each side's lowest and highest run beside the other side's mean.

    Each side in turn is the reference, whose runs alone set the scale, so that a broken side that
    spreads widely widens no interval. With the standard deviation s of the reference's n runs, a
    further run differs from their mean by no more than the half width of their prediction interval,
    `t s sqrt(1 + 1/n)`, with the quantile t of Student's distribution at n - 1 degrees of freedom.
    Bonferroni's correction is for all runs of both sides.

    Few metrics are quite normal: of ten runs nine may be at 99 % and one at 90. So each run of the
    reference is left out in turn, and where it isn't in the interval of the others, all intervals
    of its metric are at least as wide as it is far from their mean.

    Args:
        left: as `Estimates.means` of a tidy table.
        right: the other side.
        level: of all intervals of the table together.

    Returns:
        What `compare_means` returns; the key says which run it is, as in `accuracy_hard of the
        lowest run on the left`. Without a spread (a reference of one run, or of runs that are all
        the same where others of the metric aren't) there is no interval, and nothing is outside.

    """
    both = left.add_suffix("_left").join(right.add_suffix("_right"), how="inner")
    both = both[~both.index.get_level_values("column").isin(LUMPED)]
    share = (1 - level) / 2 / max(float(both[["n_left", "n_right"]].to_numpy().sum()), 1)
    cells = []
    for side, reference in (("left", "right"), ("right", "left")):
        half = _half_width(both.filter(like=f"_{reference}"), share)
        mean = both[f"mean_{reference}"]
        for which in ("lowest", "highest"):
            value = both[f"{which}_{side}"]
            pair = (value, mean) if side == "left" else (mean, value)
            found = pd.DataFrame(dict(zip(("left", "right"), pair, strict=True)))
            found["difference"] = found["right"] - found["left"]
            found["half_width"] = half
            outside = found["difference"].abs() > half
            found["verdict"] = np.where(outside, "outside", "within")
            keys = found.index.to_frame()
            keys["column"] += f" of the {which} run on the {side}"
            cells.append(found.set_index(pd.MultiIndex.from_frame(keys)))
    return pd.concat(cells)


def _half_width(reference: pd.DataFrame, share: float) -> pd.Series[float]:
    """Return the half widths of prediction intervals, NaN where the reference has no spread."""
    runs = reference.rename(columns=lambda name: name.rpartition("_")[0])
    n = runs["n"] * (1 - runs["missing"])
    variance = runs["squared_error"] * n
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        half = stats.t.isf(share, n - 1) * np.sqrt(variance * (1 + 1 / n))
        # the farthest run from the others' mean, where it isn't in their interval
        away = runs[["lowest", "highest"]].sub(runs["mean"], axis=0).abs().max(axis=1)
        rest = ((n - 1) * variance - away**2 * n / (n - 1)) / (n - 2)
        away *= n / (n - 1)
        error = np.sqrt(np.maximum(rest, runs["least"]) * n / (n - 1))
        farthest = away.where(away > stats.t.isf(share, n - 2) * error)
    return np.fmax(half, farthest.groupby(level="column").transform("max"))


class RankTest(NamedTuple):
    """A permutation test of ranks over the seeds.

    Attributes:
        p: the probability of a difference as large.
        cell: key and column of the largest difference.
        higher: the side whose ranks are higher there.

    """

    p: float
    cell: pd.Series[Any]
    higher: Literal["left", "right"]


def rank_test(sides: Sequence[Samples], *, spreads: bool = False) -> RankTest | None:
    """Return whether the seeds of one side rank higher than those of the other, in any metric.

    Each seed's mean over the shapes of a variant is ranked among the seeds of both sides, and the
    largest difference of the sides' mean ranks over all variants and metrics, in standard
    deviations of the column's ranks, is compared with that of all ways to share the seeds out
    between the sides (of very many ways, 9,999 drawn ones). The distribution of the largest one
    needs no correction for the number of columns, assumes no normal distribution, and has the
    columns' own correlations (Westfall & Young, Resampling-Based Multiple Testing, 1993).

    Args:
        sides: the runs of both sides.
        spreads: rank deviations from the median of the side's runs of the same shape, in place of
            the values.

    Returns:
        The test, or None where a side has a single seed, or nothing varies.

    """
    tables = [_by_seed(side, spreads=spreads) for side in sides]
    values = pd.concat(tables, keys=["left", "right"], join="inner").dropna(axis="columns")
    ranks = values.rank()
    ranks = (ranks - ranks.mean()) / ranks.std()
    ranks = ranks.loc[:, ranks.notna().all()]  # without columns that are constant
    n_left = len(tables[0])
    if ranks.empty or not 2 <= n_left <= len(ranks) - 2:
        return None
    z = ranks.to_numpy()

    def largest(chosen: Any, rest: Any, axis: int) -> Any:
        return np.abs(z[chosen].mean(-2) - z[rest].mean(-2)).max(-1)

    places = np.arange(len(z))
    found = stats.permutation_test(
        (places[:n_left], places[n_left:]),
        largest,
        alternative="greater",
        vectorized=True,
        batch=500,
        rng=np.random.default_rng(0),
    )
    difference = z[:n_left].mean(0) - z[n_left:].mean(0)
    place = int(np.abs(difference).argmax())
    cell = ranks.columns.to_frame(index=False).iloc[place]
    return RankTest(float(found.pvalue), cell, "left" if difference[place] > 0 else "right")


def _by_seed(samples: Samples, *, spreads: bool) -> pd.DataFrame:
    """Return each seed's mean over shapes, or of its deviations: a column per key and metric."""
    metrics = list(samples.metrics)
    rows = samples.rows.astype(dict.fromkeys(metrics, float))
    if spreads:
        of_cell = rows.groupby(list(samples.keys), sort=False)[metrics]
        rows[metrics] = (rows[metrics] - of_cell.transform("median")).abs()
    keys = [key for key in samples.keys if key not in SHAPE]
    means = rows.groupby(["seed", *keys], sort=False)[metrics].mean()
    return means.rename_axis(columns="column").unstack(keys)


def compare_exactly(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Return the values that must be the same and are not, by key and column: `left`, `right`."""
    keys = list(left.index.names)
    long = {
        name: side.reset_index()
        .melt(keys, var_name="column", value_name="value")
        .set_index([*keys, "column"])["value"]
        for name, side in (("left", left), ("right", right))
    }
    both = pd.concat(long, axis=1, join="inner")
    equal = (both["left"] == both["right"]) | (both["left"].isna() & both["right"].isna())
    return both[~equal]
