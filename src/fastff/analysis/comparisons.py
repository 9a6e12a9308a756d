"""Is one variant better than another? Paired over the shapes, as the study asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fastff.analysis.summary import labels_of, mean_ci, seed_means

LEFT_OUT = "n_left_out"
ACCURACIES = ("accuracy_hard", "accuracy_soft")
COLUMNS = (
    *("experiment", "dataset", "treatment", "baseline", "treatment_label", "baseline_label"),
    *("metric", "change_mean", "change_ci", "t", "p", "n_better", "n_points"),
)


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
    table = pd.DataFrame(rows, columns=[*COLUMNS, LEFT_OUT])
    return table if table[LEFT_OUT].any() else table.drop(columns=LEFT_OUT)


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
