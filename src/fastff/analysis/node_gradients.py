"""The gradients of node trees, level by level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fastff.analysis.curves import PARTS
from fastff.analysis.failed import unless_all_failed
from fastff.analysis.looks import Look, looks
from fastff.analysis.panels import heading
from fastff.analysis.style import TWO_COLUMNS, theme, wrap
from fastff.analysis.summary import labels_of, require_one, require_one_shape

HEIGHT = 1.9  # inches of a panel
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1), (1, 1), (4, 1, 1, 1))  # by level
NODE_PARTS = ("node_in", "node_out")
NOTE = "mean over seeds and trees; thick: mean over the nodes of a level; thin: one node"


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
    (look,) = looks(list(labels_of(nodes))).values()
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
                style = _style(look, level)
                for node in curves.columns:
                    axes.plot(curves.index, curves[node], **style | {"linewidth": 0.4})
                mean = rows.groupby("step")["magnitude"].mean()
                axes.plot(mean.index, mean.where(mean > 0), **style)
            axes.set_yscale("log")
            axes.set_title(PARTS[part])
            axes.set_xlabel("step")
            axes.minorticks_off()
        panels[0].set_ylabel("mean absolute gradient")
        figure.suptitle(wrap(heading(nodes, title), TWO_COLUMNS, heading=True))
        names = [f"level {level}" if level else "root" for level in levels]
        lines = zip(names, levels, strict=True)
        figure.legend(
            handles=[Line2D([], [], label=name, **_style(look, level)) for name, level in lines],
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


def _style(look: Look, level: int) -> dict[str, Any]:
    """Return the keywords of a level's line: the root's is the darkest."""
    dashes = DASHES[level % len(DASHES)]
    line = (0, dashes) if dashes else "-"
    opacity = max(1 - 0.2 * level, 0.3)
    return {"color": look.colour, "alpha": opacity, "linestyle": line, "linewidth": 1.5}
