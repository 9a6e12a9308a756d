"""Routed layers beside feed-forward layers of their size: in parameters, or in hidden units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.labels import LINE, label_ends
from fastff.analysis.lines import LineStyle, add_legend, heading, line_styles
from fastff.analysis.style import TWO_COLUMNS, ZERO, theme, wrap
from fastff.analysis.summary import labels_of, mean_ci, require_one, summarise
from fastff.tables.schema import MATCHES, PRINTED, SHAPE

METRIC = "accuracy_hard"
AXES = {
    "n_parameters": "parameters",
    "training_width": "hidden units in training",
    "inference_width": "hidden units at inference",
}
TICKS = (-20, -10, -5, -2, -1, 0, 1, 2, 5, 10)
HEIGHT = 2.3  # inches of a panel


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
    """Return how much more accurate routed layers are than feed-forward layers of their size.

    A panel per notion of size: the hard accuracy less that of the layer of equal size, as
    `match_sizes` has it, with Welch's 95 % interval. A line joins the widths of one depth, whose
    number is at its end. The axis is linear up to one point and logarithmic beyond.

    Args:
        runs: the runs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one region leak, or without a feed-forward layer.

    """
    require_one(runs, "region_leak")
    matched = match_sizes(runs)
    labels = labels_of(matched)
    styles = line_styles(list(labels))
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 1.2 + HEIGHT), layout="constrained")
        row = figure.subplots(1, len(MATCHES), sharey=True)
        row[0].set_yscale("symlog", linthresh=1.0)
        for axes, (match, size) in zip(row, MATCHES.items(), strict=True):
            axes.axhline(0, **ZERO)
            for (variant, _), points in matched.groupby(["variant", "depth"], sort=False):
                _draw_depth(axes, points.sort_values(size), match, styles[str(variant)])
            axes.set_xscale("log", base=10 if size == "n_parameters" else 2)
            if size != "n_parameters":
                axes.xaxis.set_major_formatter("{x:g}")
            axes.set_title(f"{match.replace('_', ' ')}")
            axes.set_xlabel(AXES[size])
        row[0].yaxis.set_major_locator(FixedLocator(TICKS))
        row[0].yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+g}" if x else "0"))
        for axes, match in zip(row, MATCHES, strict=True):
            _write_depths(axes, matched, match, styles)
        row[0].set_ylabel("hard accuracy less that of the\nfeed-forward layer (points)")
        figure.suptitle(wrap(heading(runs, title), TWO_COLUMNS, heading=True))
        add_legend(figure, styles, labels, "; numbers: depth")
    return figure


def _draw_depth(axes: Axes, points: pd.DataFrame, match: str, style: LineStyle) -> None:
    column = f"{match}_difference"
    scale, sizes = PRINTED[column].scale, points[MATCHES[match]]
    values, half_widths = scale * points[f"{column}_mean"], scale * points[f"{column}_ci"]
    axes.errorbar(sizes, values, yerr=half_widths, elinewidth=0.5, **style.line)


def _write_depths(
    axes: Axes, matched: pd.DataFrame, match: str, styles: dict[str, LineStyle]
) -> None:
    """Write the depth at the end of each line, or where all end at one size, beside the panel.

    There, lines of a variant whose ends are less than a line of text apart have one text.
    """
    column, size = f"{match}_difference", MATCHES[match]
    known = matched.dropna(subset=f"{column}_mean").sort_values(size)
    lasts = known.groupby(["variant", "depth"], sort=False).last().reset_index()
    lasts["y"] = PRINTED[column].scale * lasts[f"{column}_mean"]
    if lasts[size].nunique() > 1:
        for depth, row in lasts.sort_values("y").groupby("depth").last().iterrows():
            end = (row[size], row["y"])
            axes.annotate(str(depth), end, (0, 4), textcoords="offset points", ha="center")
        return
    places = axes.transScale.transform([(1.0, y) for y in lasts["y"]])[:, 1]
    low, high = axes.transScale.transform([(1.0, y) for y in axes.get_ylim()])[:, 1]
    lasts["line"] = (places - low) / (high - low) * HEIGHT / LINE
    ends = []
    for variant, rows in lasts.sort_values("line").groupby("variant", sort=False):
        starts = rows["line"].diff().gt(1).cumsum()
        for _, near in rows.groupby(starts):
            depths = ", ".join(map(str, sorted(near["depth"])))
            ends.append((float(near["y"].mean()), depths, styles[str(variant)].colour))
    label_ends(axes, ends, HEIGHT)
