"""Curves over training: accuracy and loss over epochs, gradients over steps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.labels import label_ends
from fastff.analysis.lines import add_legend, draw_band, heading, line_styles
from fastff.analysis.style import CENTRE, log_ticks, theme, width_of, wrap
from fastff.analysis.summary import labels_of, require_one_shape, summarise_epochs
from fastff.tables.format import show_interval
from fastff.tables.schema import PRINTED

PANEL_HEIGHT = 1.75  # inches
EPOCH_METRICS = ("train_loss", "accuracy_soft", "accuracy_hard")
DECADES = 6  # of a gradient's axis: what is smaller moves nothing
ACTIVE = 1e-6  # mean absolute gradient of an expert's first layer from which on it learns
FIRST_LAYER = "expert_in"
PARTS = {
    "gate": "gate",
    FIRST_LAYER: "first layer",
    "expert_out": "second layer",
    "node_in": "nodes' input weights",
    "node_out": "nodes' output weights",
}
HEIGHT = 1.3  # inches of a panel of gradients
BAND = (0.1, 0.9)  # quantiles
NOTE = (
    "Median and 10–90 % of runs. Darkest: the expert (or logit) with the largest gradient of a run;"
    " of a tree's nodes, the root, then level by level."
)


@unless_all_failed
def draw_epochs(epochs: pd.DataFrame, title: str) -> Figure:
    """Return train loss, soft and hard accuracy over the epochs, a line per variant.

    Lines are means over seeds, bands their 95 % t-intervals; the last ones stand at the lines'
    ends. Both accuracies have one axis, since the gap between them is what routing costs.

    Args:
        epochs: the epochs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one shape of a variant.

    """
    require_one_shape(epochs)
    styles = line_styles(list(labels_of(epochs)))
    summary = summarise_epochs(epochs, EPOCH_METRICS).sort_values("epoch")
    with theme():
        size = (width_of(len(EPOCH_METRICS)), 1.1 + PANEL_HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        row = figure.subplots(1, len(EPOCH_METRICS), squeeze=False)[0]
        row[1].sharey(row[2])
        for axes, metric in zip(row, EPOCH_METRICS, strict=True):
            for variant, style in styles.items():
                draw_band(axes, summary[summary["variant"] == variant], "epoch", metric, style)
            axes.set_title(PRINTED[metric].heading)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        row[0].set_yscale("log")
        log_ticks(row[0].yaxis)
        for axes, metric in zip(row, EPOCH_METRICS, strict=True):
            last = summary.drop_duplicates("variant", keep="last").set_index("variant")
            ends = [
                (PRINTED[metric].scale * mean, show_interval(metric, mean, width), style.colour)
                for variant, style in styles.items()
                for mean, width in [last.loc[variant, [f"{metric}_mean", f"{metric}_ci"]]]
            ]
            label_ends(axes, ends, PANEL_HEIGHT)
        figure.suptitle(wrap(heading(epochs, title), figure.get_figwidth(), heading=True))
        add_legend(figure, styles, labels_of(epochs), interval="bands")
    return figure


@unless_all_failed
def draw_gradients(gradients: pd.DataFrame, title: str) -> Figure:
    """Return the gradients over the steps: a row per part of the layer, a column per variant.

    An expert has no number that means the same in two runs, so the experts of each run (and the
    logits of a gate that has one for each) are sorted by their mean gradient; a line is the median
    of a rank over the runs. The nodes of trees are taken together by their level. Bands are from
    10 to 90 %. Below is how many experts learn: those whose first layer has a gradient of at least
    ACTIVE. At most six decades are shown, and a layer that lacks a part says so.

    Args:
        gradients: the gradients table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one shape of a variant.

    """
    require_one_shape(gradients)
    parts = parts_of(gradients)
    labels = labels_of(gradients)
    styles = line_styles(list(labels))
    active = active_experts(gradients)
    n_rows = len(parts) + bool(len(active))
    with theme():
        size = (width_of(len(labels)), 1.1 + HEIGHT * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(n_rows, len(labels), sharex=True, sharey="row", squeeze=False)
        for row, (part, name) in zip(grid, parts.items(), strict=False):
            row[0].set_ylabel(f"gradient,\n{name}")
            shown = gradients[gradients["part"] == part]
            row[0].set_yscale("log")
            bottom = shown["magnitude"].max() / 10**DECADES
            for axes, variant in zip(row, labels, strict=True):
                axes.set_yscale("log")
                rows = shown[shown["variant"] == variant]
                if rows.empty:
                    axes.annotate(f"no {name}", **CENTRE)
                else:
                    _draw_groups(axes, grouped_units(rows), styles[variant].colour, bottom)
            row[0].set_ylim(bottom=max(bottom, row[0].get_ylim()[0]))  # panels share their axis
            log_ticks(row[0].yaxis)
        if len(active):
            grid[-1, 0].set_ylabel("experts that learn")
            for axes, variant in zip(grid[-1], labels, strict=True):
                rows = active[active["variant"] == variant]
                if rows.empty:
                    axes.annotate("one layer", **CENTRE)
                else:
                    _draw_groups(axes, rows.assign(group=0), styles[variant].colour, 0.0)
            most = int(gradients["n_experts"].max())
            grid[-1, 0].yaxis.set_major_locator(FixedLocator(range(0, most + 1, max(1, most // 4))))
            grid[-1, 0].set_ylim(0, 1.08 * most)
        for axes, label in zip(grid[0], labels.values(), strict=True):
            axes.set_title(wrap(label, width_of(len(labels)) / len(labels)))
        for axes in grid[-1]:
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        figure.align_ylabels(grid[:, 0])
        figure.suptitle(wrap(heading(gradients, title), figure.get_figwidth(), heading=True))
        figure.supxlabel(wrap(NOTE, figure.get_figwidth()))
    return figure


def grouped_units(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the gradients of one variant's part with `group`, the line that a unit is part of.

    Nodes and the logits of a hypercube belong to their level, 0 being the root's; experts, and
    logits of which each has one, to their rank within the run by the mean over its steps.
    """
    n_units, n_experts = rows["unit"].nunique(), rows["n_experts"].iloc[0]
    part = rows["part"].iloc[0]
    if part in ("node_in", "node_out") or (part == "gate" and n_units == n_experts - 1):
        return rows.assign(group=np.log2(rows["unit"] + 1).astype(int))
    if n_units != n_experts:
        return rows.assign(group=rows["unit"])
    means = rows.groupby(["seed", "unit"], as_index=False)["magnitude"].mean()
    ranks = means.groupby("seed")["magnitude"].rank(ascending=False, method="first")
    return rows.merge(means.assign(group=ranks.astype(int) - 1)[["seed", "unit", "group"]])


def active_experts(gradients: pd.DataFrame) -> pd.DataFrame:
    """Return how many experts learn, as `magnitude`: a row per variant of several, run and step."""
    rows = gradients[(gradients["part"] == FIRST_LAYER) & (gradients["n_experts"] > 1)]
    learns = rows.assign(magnitude=(rows["magnitude"] >= ACTIVE).astype(float))
    return learns.groupby(["variant", "seed", "step"], as_index=False)["magnitude"].sum()


def _draw_groups(axes: Axes, rows: pd.DataFrame, colour: str, bottom: float) -> None:
    """Draw a line per group: its median over the steps, and a band."""
    groups = sorted(rows["group"].unique())
    shades = sns.light_palette(colour, len(groups) + 2, reverse=True)
    for group, shade in zip(groups, shades, strict=False):
        of_group = rows[rows["group"] == group].groupby("step")["magnitude"]
        low, median, high = (of_group.quantile(q) for q in (BAND[0], 0.5, BAND[1]))
        keep = median.where(median > bottom) if bottom else median
        axes.plot(median.index, keep, color=shade, linewidth=0.9)
        axes.fill_between(
            low.index, low.clip(bottom), high.clip(bottom), color=shade, alpha=0.15, linewidth=0
        )


def parts_of(gradients: pd.DataFrame) -> dict[str, str]:
    """Return what the parts of a gradients table are called, those of PARTS first, in its order."""
    others = sorted(set(gradients["part"]) - set(PARTS))
    names = PARTS | {part: part.replace("_", " ") for part in others}
    return {part: name for part, name in names.items() if (gradients["part"] == part).any()}
