"""Means over seeds with their confidence intervals: what every figure and table shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from fastff.tables.read import failed
from fastff.tables.schema import SHAPE, SIZES

# What the runs of one mean have in common: all but the seed.
GROUP = ("experiment", "dataset", "variant", "label", *SHAPE, "n_experts", *SIZES)
CHOICE = "validation_accuracy_hard"  # what the best of several seeds is chosen by


def mean_ci(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the mean of a sample and the half width of its Student-t confidence interval.

    The half width is `t((1 + level) / 2, n - 1) * s / sqrt(n)`, with the sample's standard
    deviation `s`. One value has no interval, so its half width is NaN. A value that is not finite
    (a run that diverged) makes both NaN: leaving it out would flatter the variant.

    Args:
        values: the sample, of shape (n,).
        level: the interval's coverage, between 0 and 1.

    Raises:
        ValueError: for an empty sample, one of another shape, or another level.

    """
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or sample.size == 0:
        raise ValueError(f"values has shape {sample.shape}; allowed is (n,) with n at least 1")
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: allowed is between 0 and 1")
    if not np.isfinite(sample).all():
        return float("nan"), float("nan")
    mean = float(sample.mean())
    if sample.size == 1:
        return mean, float("nan")
    quantile = stats.t.ppf((1 + level) / 2, sample.size - 1)
    return mean, float(quantile * stats.sem(sample))


def summarise(runs: pd.DataFrame, metrics: Sequence[str], *, best: bool = False) -> pd.DataFrame:
    """Return one row per variant and shape, in the order of the runs.

    Args:
        runs: a row per run, with some of the columns of GROUP, `seed` and the metrics.
        metrics: the columns to average.
        best: show the best run beside the mean: of the seed with the highest accuracy of the hard
            form on the validation samples, the first of equals.

    Returns:
        The columns of GROUP that `runs` has, `n_seeds`, where any run has failed how many of them
        did, `n_failed` (such a row has no means), and per metric `<metric>_mean` and
        `<metric>_ci`, the half width of the 95 % interval over seeds; with `best` also
        `<metric>_best`, NaN where no run has a validation accuracy.

    """
    keys = [column for column in GROUP if column in runs]
    rows: list[dict[str, Any]] = []
    gone = failed(runs)
    for key, group in runs.groupby(keys, sort=False, dropna=False):
        row = dict(zip(keys, key, strict=True)) | {"n_seeds": len(group)}
        if gone.any():
            row["n_failed"] = int(gone[group.index].sum())
        for metric in metrics:
            row[f"{metric}_mean"], row[f"{metric}_ci"] = mean_ci(group[metric])
            if best:
                row[f"{metric}_best"] = _of_best_run(group, metric)
        rows.append(row)
    return pd.DataFrame(rows)


def _of_best_run(group: pd.DataFrame, metric: str) -> float:
    by_seed = group.sort_values("seed")
    if by_seed[CHOICE].isna().all():
        return float("nan")
    return float(by_seed.loc[by_seed[CHOICE].idxmax(), metric])


def seed_means(runs: pd.DataFrame, variants: Iterable[str], metric: str) -> pd.DataFrame:
    """Return the means over seeds, a row per shape and a column per variant.

    A shape that one of the variants was not trained with is left out; where every variant has a
    single shape, those shapes are compared, and the index says 0.

    Raises:
        ValueError: for a variant that has no runs.

    """
    found = list(dict.fromkeys(runs["variant"]))
    for variant in variants:
        if variant not in found:
            raise ValueError(
                f"no runs of variant {variant!r}; there are runs of {', '.join(found)}"
            )
    summary = summarise(runs[runs["variant"].isin(list(variants))], [metric])
    if (summary["variant"].value_counts() == 1).all():
        summary[list(SHAPE)] = 0
    means = summary.pivot(index=list(SHAPE), columns="variant", values=f"{metric}_mean")
    shapes = summary.groupby(list(SHAPE))["variant"].nunique()
    return means[shapes == len(set(variants))]


def require_one(table: pd.DataFrame, column: str) -> None:
    """Raise ValueError where a column has more than one value."""
    values = sorted(table[column].unique().tolist())
    if len(values) > 1:
        raise ValueError(f"{column} has {values}; this figure shows one")


def require_one_shape(table: pd.DataFrame) -> None:
    """Raise ValueError where a variant has more than one shape."""
    for variant, rows in table.groupby("variant", sort=False):
        for column in SHAPE:
            values = sorted(rows[column].unique().tolist())
            if len(values) > 1:
                raise ValueError(
                    f"{column} of {variant} has {values}; these curves are of one shape per variant"
                )


def labels_of(runs: pd.DataFrame) -> dict[str, str]:
    """Return the label of each variant, in the order of the runs."""
    return dict(zip(runs["variant"], runs["label"], strict=True))
