"""Curves over training: accuracy and loss over epochs, gradients over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.lines import LineStyle, add_legend, draw_band, heading, line_styles
from fastff.analysis.style import CENTRE, TWO_COLUMNS, theme, width_of, wrap
from fastff.analysis.summary import labels_of, require_one, require_one_shape, summarise_epochs
from fastff.tables.schema import PRINTED

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
HEIGHT = 1.9  # inches of a panel
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1), (1, 1), (4, 1, 1, 1))  # by level
NODE_PARTS = ("node_in", "node_out")
NOTE = "mean over seeds and trees; thick: mean over the nodes of a level; thin: one node"


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
    styles = line_styles(list(labels_of(epochs)))
    summary = summarise_epochs(epochs, EPOCH_METRICS)
    with theme():
        size = (width_of(len(EPOCH_METRICS)), 1.1 + PANEL_HEIGHT)
        figure = Figure(figsize=size, layout="constrained")
        row = figure.subplots(1, len(EPOCH_METRICS), squeeze=False)[0]
        for axes, metric in zip(row, EPOCH_METRICS, strict=True):
            for variant, style in styles.items():
                lines = summary[summary["variant"] == variant].sort_values("epoch")
                draw_band(axes, lines, "epoch", metric, style)
            axes.set_ylabel(PRINTED[metric].heading)
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
    styles = line_styles(list(labels))
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


def _draw_units(axes: Axes, rows: pd.DataFrame, style: LineStyle) -> None:
    curves = rows.groupby(["unit", "step"])["magnitude"].mean().unstack("unit")
    n_units = len(curves.columns)
    for place, unit in enumerate(curves.columns):
        curve = curves[unit].where(curves[unit] > 0)  # a logarithmic axis has no 0
        opacity = 1 - 0.75 * place / max(1, n_units - 1)
        axes.plot(curves.index, curve, color=style.colour, alpha=opacity, linewidth=0.7)


@unless_all_failed
def draw_node_gradients(gradients: pd.DataFrame, title: str) -> Figure:
    """Return the gradients of node trees over the steps: a panel per part, a line per level.

    A thick line is the mean over the nodes of a level and over seeds of the smoothed mean absolute
    gradient, a thin line of the same dashes that of one node. (A node is the same one of all
    parallel trees.)

    Args:
        gradients: the table of gradients, of node trees.
        title: what the figure shows; dataset and number of seeds are added.

    Raises:
        ValueError: for more than one variant or shape, or without gradients of a whole tree.

    """
    nodes = gradients[gradients["part"].isin(NODE_PARTS)]
    if nodes.empty:
        raise ValueError(f"gradients has no part of {' and '.join(NODE_PARTS)}")
    require_one(nodes, "variant")
    require_one_shape(nodes)
    (style,) = line_styles(list(labels_of(nodes))).values()
    placed = with_levels(nodes)
    levels = sorted(placed["level"].unique())
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 1.2 + HEIGHT), layout="constrained")
        panels = figure.subplots(1, len(NODE_PARTS))
        for axes, part in zip(panels, NODE_PARTS, strict=True):
            for level in levels:
                rows = placed[(placed["part"] == part) & (placed["level"] == level)]
                curves = rows.pivot_table(index="step", columns="unit", values="magnitude")
                curves = curves.where(curves > 0)  # a logarithmic axis has no 0
                keywords = _level_style(style, level)
                for node in curves.columns:
                    axes.plot(curves.index, curves[node], **keywords | {"linewidth": 0.4})
                mean = rows.groupby("step")["magnitude"].mean()
                axes.plot(mean.index, mean.where(mean > 0), **keywords)
            axes.set_yscale("log")
            axes.set_title(PARTS[part])
            axes.set_xlabel("step")
            axes.minorticks_off()
        panels[0].set_ylabel("mean absolute gradient")
        figure.suptitle(wrap(heading(nodes, title), TWO_COLUMNS, heading=True))
        names = [f"level {level}" if level else "root" for level in levels]
        lines = zip(names, levels, strict=True)
        figure.legend(
            handles=[
                Line2D([], [], label=name, **_level_style(style, level)) for name, level in lines
            ],
            title=NOTE,
            loc="outside lower center",
            ncols=len(levels),
        )
    return figure


def with_levels(nodes: pd.DataFrame) -> pd.DataFrame:
    """Return gradients of nodes in heap order with their `level`: that of the root is 0.

    Raises:
        ValueError: where the units are not a whole tree.

    """
    n_nodes = int(nodes["unit"].max()) + 1
    if (n_nodes + 1) & n_nodes:
        raise ValueError(f"{n_nodes} units are no whole tree")
    return nodes.assign(level=np.log2(nodes["unit"] + 1).astype(int))


def _level_style(style: LineStyle, level: int) -> dict[str, Any]:
    """Return the keywords of a level's line: the root's is the darkest."""
    dashes = DASHES[level % len(DASHES)]
    line = (0, dashes) if dashes else "-"
    opacity = max(1 - 0.2 * level, 0.3)
    return {"color": style.colour, "alpha": opacity, "linestyle": line, "linewidth": 1.5}
