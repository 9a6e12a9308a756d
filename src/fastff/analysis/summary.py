"""Means over seeds with their intervals, and what one variant changes over another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fastff.tables.read import LABEL, failed
from fastff.tables.schema import SHAPE, SIZES

# What the runs of one mean have in common: all but the seed.
GROUP = ("experiment", "dataset", "variant", LABEL, *SHAPE, "n_experts", *SIZES)
CHOICE = "validation_accuracy_hard"  # what the best of several seeds is chosen by
LEFT_OUT = "n_left_out"
ACCURACIES = ("accuracy_hard", "accuracy_soft")
COMPARISON_COLUMNS = (
    *("experiment", "dataset", "treatment", "baseline", "treatment_label", "baseline_label"),
    *("metric", "change_mean", "change_ci", "t", "p", "n_better", "n_points"),
)


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


def summarise_epochs(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return what `summarise` does of each epoch of a table, with the column `epoch`."""
    epochs = [summarise(rows, metrics).assign(epoch=n) for n, rows in table.groupby("epoch")]
    return pd.concat(epochs, ignore_index=True)


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
    require_runs(runs, variants)
    summary = summarise(runs[runs["variant"].isin(list(variants))], [metric])
    if (summary["variant"].value_counts() == 1).all():
        summary[list(SHAPE)] = 0
    means = summary.pivot(index=list(SHAPE), columns="variant", values=f"{metric}_mean")
    shapes = summary.groupby(list(SHAPE))["variant"].nunique()
    return means[shapes == len(set(variants))]


def require_runs(runs: pd.DataFrame, variants: Iterable[str]) -> None:
    """Raise ValueError for a variant that has no runs."""
    found = labels_of(runs)
    for variant in variants:
        if variant not in found:
            raise ValueError(
                f"no runs of variant {variant!r}; there are runs of {', '.join(found)}"
            )


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


def compare(
    runs: pd.DataFrame,
    comparisons: Sequence[Mapping[str, str]],
    metrics: Sequence[str] = ACCURACIES,
) -> pd.DataFrame:
    """Return what each treatment changes over its baseline, a row per comparison and metric.

    A grid point is one shape that both have; two variants of a single shape each are compared at
    those. The values of a point are the two variants' means over seeds, `a` of the
    treatment and `b` of the baseline:

    - `change_mean`: the mean over grid points of `(a - b) / b`, a fraction; `change_ci`: the half
      width of its 95 % t-interval over grid points;
    - `t`, `p`: paired two-sided t-test of `a` against `b` over grid points; positive where the
      treatment is larger. NaN for a single point, and where all points differ by the same amount;
    - `n_points`, and `n_better`, how many of them have `a > b`. A point where a run of either has
      failed is left out, and counted in `n_left_out`: a column that is there if it is ever needed.

    The p-values are not corrected for the number of comparisons.

    Args:
        runs: the runs table of an experiment.
        comparisons: mappings with the keys `treatment` and `baseline`, both names of variants.
        metrics: columns of `runs`.

    Raises:
        ValueError: for a comparison with other keys, or a variant without runs.

    """
    labels = labels_of(runs)
    rows: list[dict[str, Any]] = []
    for comparison in comparisons:
        if set(comparison) != {"treatment", "baseline"}:
            raise ValueError(f"comparison {dict(comparison)}: allowed keys: treatment, baseline")
        treatment, baseline = comparison["treatment"], comparison["baseline"]
        for metric in metrics:
            means = seed_means(runs, (treatment, baseline), metric)
            change = paired_change(means[treatment].to_numpy(), means[baseline].to_numpy())
            row = {
                "experiment": runs["experiment"].iloc[0],
                "dataset": runs["dataset"].iloc[0],
                "treatment": treatment,
                "baseline": baseline,
                "treatment_label": labels[treatment],
                "baseline_label": labels[baseline],
                "metric": metric,
            }
            rows.append(row | change)
    table = pd.DataFrame(rows, columns=[*COMPARISON_COLUMNS, LEFT_OUT])
    return table if table[LEFT_OUT].any() else table.drop(columns=LEFT_OUT)


def seed_differences(
    runs: pd.DataFrame, comparisons: Sequence[Mapping[str, str]], metrics: Sequence[str]
) -> pd.DataFrame:
    """Return treatment less baseline of the same shape and seed, in the form of a runs table.

    Two variants of a single shape each are compared at those. Variant and label of a row name the
    pair, and it has failed where either run has.

    Raises:
        ValueError: for a variant that has no runs.

    """
    found = labels_of(runs)
    pairs = []
    for comparison in comparisons:
        sides = [comparison["treatment"], comparison["baseline"]]
        require_runs(runs, sides)
        first, second = (runs[runs["variant"] == side] for side in sides)
        single = max(len(rows[[*SHAPE]].drop_duplicates()) for rows in (first, second)) == 1
        keys = ["seed"] if single else [*SHAPE, "seed"]
        both = first.merge(second, on=keys, suffixes=("", "_baseline"))
        values = {metric: both[metric] - both[f"{metric}_baseline"] for metric in metrics}
        names = {"variant": "/".join(sides), LABEL: f"{found[sides[0]]} − {found[sides[1]]}"}
        gone = failed(both) | failed(both.filter(like="_baseline").rename(columns=_undone))
        failures = {"failed_epoch": both["epochs"].where(gone)}
        pairs.append(both[[*first.columns]].assign(**names, **values, **failures))
    return pd.concat(pairs, ignore_index=True)


def _undone(column: str) -> str:
    return column.removesuffix("_baseline")


def paired_change(
    treatment: NDArray[np.float64], baseline: NDArray[np.float64]
) -> dict[str, float | int]:
    """Return the numbers that `compare` describes for two arrays of shape (n_points,)."""
    both = np.isfinite(treatment) & np.isfinite(baseline)
    treatment, baseline = treatment[both], baseline[both]
    n_points = len(treatment)
    mean = half_width = t = p = float("nan")
    if n_points and (baseline != 0).all():
        mean, half_width = mean_ci((treatment - baseline) / baseline)
    difference = treatment - baseline
    # a constant difference has no variance: a t of rounding errors would look like a finding
    if n_points > 1 and not np.allclose(difference, difference[0], rtol=1e-9, atol=1e-12):
        t, p = (float(x) for x in stats.ttest_rel(treatment, baseline))
    return {
        "change_mean": mean,
        "change_ci": half_width,
        "t": t,
        "p": p,
        "n_better": int((difference > 0).sum()),
        "n_points": n_points,
        LEFT_OUT: int((~both).sum()),
    }


def rank(runs: pd.DataFrame, metric: str = "accuracy_hard") -> pd.DataFrame:
    """Return the variants, best first: largest mean over the shapes that all of them have.

    Variants that have a single shape each are compared at those, whatever they are.

    Returns:
        `dataset`, `variant`, `label`, `<metric>_mean` (mean over shapes of the means over seeds),
        `mean_rank` (1 is the best of a shape; ties share their mean rank) and `n_points`. A variant
        of which a run has failed has neither a mean nor a rank, and comes last.

    """
    labels = labels_of(runs)
    means = seed_means(runs, tuple(labels), metric)
    ranks = means.rank(axis="columns", ascending=False)
    table = pd.DataFrame(
        {
            "dataset": runs["dataset"].iloc[0],
            "variant": list(labels),
            "label": list(labels.values()),
            f"{metric}_mean": means.mean(skipna=False)[list(labels)].to_list(),
            "mean_rank": ranks.mean(skipna=False)[list(labels)].to_list(),
            "n_points": len(means),
        }
    )
    return table.sort_values(f"{metric}_mean", ascending=False, kind="stable", ignore_index=True)
