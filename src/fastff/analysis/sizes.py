"""Routed layers beside feed-forward layers of their size: in parameters, or in hidden units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import LineStyle, heading, line_styles
from fastff.analysis.style import TWO_COLUMNS, theme, wrap
from fastff.analysis.summary import labels_of, mean_ci, require_one, summarise
from fastff.tables.schema import MATCHES, PRINTED, SHAPE

METRIC = "accuracy_hard"
AXES = {
    "n_parameters": "parameters",
    "training_width": "hidden units in training",
    "inference_width": "hidden units at inference",
}
MARKERS = "osD^vP*X"  # by depth
HEIGHT = 2.3  # inches of a panel
MARGIN = 1.35  # factor beside the smallest and the largest size


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
        The columns of GROUP, `n_seeds`, `accuracy_hard_mean` and `_ci`; per key of MATCHES
        `<key>_units`, the feed-forward layer's hidden units, `<key>_mean` and `_ci`, its accuracy,
        and `<key>_difference_mean` and `_ci`, what the routed layer's accuracy is above that, with
        the half width of Welch's 95 % interval. NaN where no such layer was trained.

    """
    reference = runs[runs["variant"] == reference_variant(runs)]
    candidates = summarise(reference, [METRIC])
    rows: list[dict[str, Any]] = []
    for row in summarise(routed(runs), [METRIC]).to_dict("records"):
        own = _accuracies(runs[runs["variant"] == row["variant"]], row)
        for match, size in MATCHES.items():
            other = _closest(candidates, size, row[size], exact=size != "n_parameters")
            theirs = np.array([np.nan]) if other is None else _accuracies(reference, other)
            mean, half_width = mean_ci(theirs)
            difference, difference_ci = welch_difference(own, theirs)
            row |= {
                f"{match}_units": np.nan if other is None else other["hidden_features"],
                f"{match}_mean": mean,
                f"{match}_ci": half_width,
                f"{match}_difference_mean": difference,
                f"{match}_difference_ci": difference_ci,
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


@unless_all_failed
def draw_sizes(runs: pd.DataFrame, title: str) -> Figure:
    """Return the accuracy of the hard form over the size: a panel per notion of size.

    A routed layer is a point per shape: colour says which, the marker its depth, and a line joins
    the widths of one depth. The feed-forward layer, `reference_variant`, is the line to compare
    with; band and bars are 95 % t-intervals over seeds. Panels have the extent of the points: a
    wide interval, or the line, may leave them.

    Args:
        runs: the runs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak, or without a feed-forward layer.

    """
    require_one(runs, "region_leak")
    reference = reference_variant(runs)
    shown = runs[(runs["variant"] == reference) | (runs["n_experts"] > 1)]
    labels = labels_of(shown)
    styles = line_styles(list(labels))
    summary = summarise(shown, [METRIC])
    depths = sorted(set(summary["depth"]) - {0})
    sizes = summary.loc[summary["variant"] != reference, list(AXES)]
    least, most = sizes.min(), sizes.max()
    marks = dict(zip(depths, MARKERS, strict=False))
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 1.1 + HEIGHT), layout="constrained")
        row = figure.subplots(1, len(AXES), sharey=True)
        for axes, (column, name) in zip(row, AXES.items(), strict=True):
            for variant, style in styles.items():
                rows = summary[summary["variant"] == variant].sort_values(column)
                if variant == reference:
                    _draw_reference(axes, rows, column, style)
                    continue
                for depth, points in rows.groupby("depth"):
                    _draw_depth(axes, points, column, style, marks[depth])
            base = 10 if column == "n_parameters" else 2
            axes.set_xscale("log", base=base)
            axes.set_xlim(least[column] / MARGIN, most[column] * MARGIN)
            axes.xaxis.set_major_locator(LogLocator(base, numticks=9))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter("{x:g}" if column != "n_parameters" else _power)
            axes.set_xlabel(name)
        row[0].set_ylim(*_limits(summary))
        row[0].set_ylabel(PRINTED[METRIC].heading)
        figure.suptitle(wrap(heading(shown, title), TWO_COLUMNS, heading=True))
        handles = [
            Line2D([], [], label=labels[name], color=style.colour, linewidth=1.4)
            for name, style in styles.items()
        ]
        handles += [
            Line2D([], [], label=f"depth {depth}", color="0.3", marker=mark, linestyle="")
            for depth, mark in marks.items()
        ]
        figure.legend(
            handles=handles,
            title="mean over seeds; bars and band: 95 % t-interval; lines join widths of a depth",
            loc="outside lower center",
            ncols=min(len(handles), 7),
            handlelength=2.0,
        )
    return figure


def _limits(summary: pd.DataFrame) -> tuple[float, float]:
    means = PRINTED[METRIC].scale * summary[f"{METRIC}_mean"]
    pad = max(0.08 * (means.max() - means.min()), 0.5)
    return means.min() - pad, means.max() + pad


def _draw_reference(axes: Axes, rows: pd.DataFrame, column: str, style: LineStyle) -> None:
    scale = PRINTED[METRIC].scale
    mean, width = scale * rows[f"{METRIC}_mean"], scale * rows[f"{METRIC}_ci"]
    axes.plot(rows[column], mean, color=style.colour, linewidth=1.4, zorder=3)
    low, high = mean - width, mean + width
    axes.fill_between(rows[column], low, high, color=style.colour, alpha=0.2, linewidth=0)


def _draw_depth(
    axes: Axes, points: pd.DataFrame, column: str, style: LineStyle, marker: str
) -> None:
    scale = PRINTED[METRIC].scale
    axes.errorbar(
        points[column],
        scale * points[f"{METRIC}_mean"],
        yerr=scale * points[f"{METRIC}_ci"],
        color=style.colour,
        marker=marker,
        linewidth=0.6,
        elinewidth=0.5,
    )


def _power(value: float, _: int) -> str:
    """Return a number of parameters, such as 10k or 1M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"
