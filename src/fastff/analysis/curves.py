"""Curves over training: accuracy and loss over epochs, gradients over steps."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import add_legend, draw_band
from fastff.analysis.looks import Look, looks
from fastff.analysis.panels import heading
from fastff.analysis.style import CENTRE, theme, width_of, wrap
from fastff.analysis.summary import labels_of, require_one_shape, summarise
from fastff.tables.format import COLUMNS

PANEL_HEIGHT = 1.75  # inches
EPOCH_METRICS = ("train_loss", "accuracy_soft", "accuracy_hard")
DECADES = 6  # of a gradient's axis: what is smaller moves nothing
PARTS = {
    "gate": "gate",
    "expert_in": "first layer",
    "expert_out": "second layer",
    "node_in": "nodes' input weights",
    "node_out": "nodes' output weights",
}


@unless_all_failed
def draw_epochs(epochs: pd.DataFrame, title: str) -> Figure:
    """Return train loss, soft and hard accuracy over the epochs, a line per variant.

    Lines are means over seeds, bands their 95 % t-intervals.

    Args:
        epochs: the epochs table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one shape of a variant.

    """
    require_one_shape(epochs)
    styles = looks(list(labels_of(epochs)))
    summaries = {epoch: summarise(rows, EPOCH_METRICS) for epoch, rows in epochs.groupby("epoch")}
    summary = pd.concat(
        [rows.assign(epoch=epoch) for epoch, rows in summaries.items()], ignore_index=True
    )
    with theme():
        size = (width_of(len(EPOCH_METRICS)), 1.1 + PANEL_HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        row = figure.subplots(1, len(EPOCH_METRICS), squeeze=False)[0]
        for axes, metric in zip(row, EPOCH_METRICS, strict=True):
            for variant, look in styles.items():
                lines = summary[summary["variant"] == variant].sort_values("epoch")
                draw_band(axes, lines, "epoch", metric, look)
            axes.set_ylabel(COLUMNS[metric].heading)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        figure.suptitle(wrap(heading(epochs, title), figure.get_figwidth(), heading=True))
        add_legend(figure, styles, labels_of(epochs), interval="bands")
    return figure


@unless_all_failed
def draw_gradients(gradients: pd.DataFrame, title: str) -> Figure:
    """Return the gradients over the steps: a row per part of the layer, a column per variant.

    A line per unit (a node or logit of the gate, or an expert): the mean over seeds of its
    smoothed mean absolute gradient, on a logarithmic axis. Units are told apart by shade, the
    first darkest. A unit without any gradient has no line, and a layer that lacks a part says so.
    At most six decades are shown.

    Args:
        gradients: the gradients table of an experiment.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one shape of a variant.

    """
    require_one_shape(gradients)
    parts = parts_of(gradients)
    labels = labels_of(gradients)
    styles = looks(list(labels))
    with theme():
        size = (width_of(len(labels)), 0.9 + 1.35 * len(parts))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(parts), len(labels), sharex=True, sharey="row", squeeze=False)
        for row, (part, name) in zip(grid, parts.items(), strict=True):
            row[0].set_ylabel(name)
            for axes, variant in zip(row, labels, strict=True):
                rows = (gradients["part"] == part) & (gradients["variant"] == variant)
                if rows.any():
                    _draw_units(axes, gradients[rows], styles[variant])
                else:
                    axes.annotate(f"no {name}", **CENTRE)
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(numticks=5))
                axes.minorticks_off()
            bottom = _bottom(gradients[gradients["part"] == part])
            if bottom is not None:  # all panels of a row share their axis
                row[0].set_ylim(bottom=bottom)
        for axes, label in zip(grid[0], labels.values(), strict=True):
            axes.set_title(wrap(label, width_of(len(labels)) / len(labels)))
        for axes in grid[-1]:
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        figure.supylabel("mean absolute gradient")
        figure.suptitle(wrap(heading(gradients, title), figure.get_figwidth(), heading=True))
    return figure


def parts_of(gradients: pd.DataFrame) -> dict[str, str]:
    """Return what the parts of a gradients table are called, those of PARTS first, in its order."""
    others = sorted(set(gradients["part"]) - set(PARTS))
    names = PARTS | {part: part.replace("_", " ") for part in others}
    return {part: name for part, name in names.items() if (gradients["part"] == part).any()}


def _bottom(rows: pd.DataFrame) -> float | None:
    """Return where the axis ends below, None for where the data do: at most DECADES are shown."""
    means = rows.groupby(["variant", "unit", "step"])["magnitude"].mean()
    least, most = means[means > 0].min(), means.max()
    return float(most / 10**DECADES) if most / least > 10**DECADES else None


def _draw_units(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    curves = rows.groupby(["unit", "step"])["magnitude"].mean().unstack("unit")
    n_units = len(curves.columns)
    for place, unit in enumerate(curves.columns):
        curve = curves[unit].where(curves[unit] > 0)  # a logarithmic axis has no 0
        opacity = 1 - 0.75 * place / max(1, n_units - 1)
        axes.plot(curves.index, curve, color=look.colour, alpha=opacity, linewidth=0.7)
