"""A routed layer beside the feed-forward layer of its size: in parameters, or in hidden units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fastff.analysis.summary import labels_of, mean_ci, summarise
from fastff.tables.schema import SHAPE

METRIC = "accuracy_hard"
# What two layers may have in common, by the name of the table's columns.
SENSES = {
    "equal_parameters": "n_parameters",
    "equal_training_width": "training_width",
    "equal_inference_width": "inference_width",
}


def routed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of layers with several experts."""
    return runs[runs["n_experts"] > 1]


def feed_forward(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of layers without a gate or tree, and with hidden units."""
    return runs[(runs["depth"] == 0) & (runs["hidden_features"] > 0)]


def reference_variant(runs: pd.DataFrame) -> str:
    """Return the feed-forward variant with the most widths, the first of equals.

    Raises:
        ValueError: where there is no feed-forward variant.

    """
    flat = feed_forward(runs)
    if flat.empty:
        raise ValueError("no variant is a feed-forward layer, of depth 0 and with hidden units")
    widths = {
        name: flat.loc[flat["variant"] == name, "hidden_features"].nunique()
        for name in labels_of(flat)
    }
    return max(widths, key=lambda name: widths[name])


def match_sizes(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each routed layer beside the feed-forward layers of its size, a row per shape.

    The feed-forward layers are those of `reference_variant`: that with the closest number of
    parameters (by ratio; the smaller of two), that with the same number of hidden units in
    training, and that with the same at inference.

    Returns:
        The columns of GROUP, `n_seeds`, `accuracy_hard_mean` and `_ci`; per key of SENSES
        `<key>_units`, the feed-forward layer's hidden units, `<key>_mean` and `_ci`, its accuracy,
        and `<key>_difference_mean` and `_ci`, what the routed layer's accuracy is above that, with
        the half width of Welch's 95 % interval. NaN where no such layer was trained.

    """
    reference = runs[runs["variant"] == reference_variant(runs)]
    candidates = summarise(reference, [METRIC])
    rows: list[dict[str, Any]] = []
    for row in summarise(routed(runs), [METRIC]).to_dict("records"):
        own = _accuracies(runs[runs["variant"] == row["variant"]], row)
        for sense, size in SENSES.items():
            other = _closest(candidates, size, row[size], exact=size != "n_parameters")
            theirs = np.array([np.nan]) if other is None else _accuracies(reference, other)
            mean, half_width = mean_ci(theirs)
            difference, difference_ci = welch_difference(own, theirs)
            row |= {
                f"{sense}_units": np.nan if other is None else other["hidden_features"],
                f"{sense}_mean": mean,
                f"{sense}_ci": half_width,
                f"{sense}_difference_mean": difference,
                f"{sense}_difference_ci": difference_ci,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def welch_difference(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Return `mean(first) - mean(second)` and the half width of its 95 % interval after Welch.

    Both are NaN where a value is not finite, and the half width where a sample has one value.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan"), float("nan")
    difference = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return difference, float("nan")
    errors = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    if errors.sum() == 0:
        return difference, 0.0
    freedom = errors.sum() ** 2 / (errors**2 / np.array([len(a) - 1, len(b) - 1])).sum()
    return difference, float(stats.t.ppf(0.975, freedom) * np.sqrt(errors.sum()))


def _closest(
    candidates: pd.DataFrame, size: str, wanted: float, *, exact: bool
) -> dict[str, Any] | None:
    ordered = candidates.sort_values(size, kind="stable")
    ratios = np.abs(np.log(ordered[size].to_numpy(dtype=float) / wanted))
    place = int(ratios.argmin())
    if exact and ordered[size].iloc[place] != wanted:
        return None
    found: dict[str, Any] = ordered.iloc[place].to_dict()
    return found


def _accuracies(runs: pd.DataFrame, shape: dict[str, Any]) -> NDArray[np.float64]:
    """Return the accuracies of one variant's runs of a shape, by seed."""
    same = np.all([runs[column] == shape[column] for column in SHAPE], axis=0)
    values: NDArray[np.float64] = runs[same].sort_values("seed")[METRIC].to_numpy(dtype=float)
    return values
