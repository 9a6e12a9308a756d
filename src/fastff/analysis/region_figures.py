"""The leaf regions of a plane over training, with the tree's decision lines and the samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon
from matplotlib.patheffects import withStroke

from fastff.analysis.failed import unless_all_failed
from fastff.analysis.planes import add_point_legend, draw_points, finite
from fastff.analysis.regions import area, tree_regions
from fastff.analysis.style import CENTRE, TWO_COLUMNS, class_colours, leaf_colours, theme, wrap
from fastff.analysis.summary import labels_of, require_one_shape

LEGENDS = 0.5  # inches beside the panels
MOST_PANELS, COLUMNS = 6, 3
LABELLED = 0.03  # share of the panel above which an area has its leaf's number
MARGIN = 0.04  # of the points' extent, around them
TINT = 0.34  # how much of a leaf's colour its area has; the rest is white


@unless_all_failed
def draw_regions(nodes: pd.DataFrame, projections: pd.DataFrame, title: str) -> Figure:
    """Return the plane over the epochs: areas are leaves, lines decisions, points samples.

    A node's line is drawn only where the plane reaches the node, the thicker the nearer the node
    is to the root. Points have the colour of their class. Of the first variant with a tree on a
    plane and of one seed, the first; at most six epochs, evenly chosen.

    Args:
        nodes: the table of nodes.
        projections: the table of projections, of the same runs.
        title: what the figure shows; dataset and seed are added.

    Raises:
        ValueError: without a tree on a plane, for more than one shape of a variant, or where the
            tables have no epoch in common.

    """
    on_plane = nodes.dropna(subset=["weight_x", "weight_y", "bias"])
    if on_plane.empty:
        raise ValueError("no node has weight_x, weight_y and bias: no tree is on a plane")
    require_one_shape(on_plane)
    variant, label = next(iter(labels_of(on_plane).items()))
    seed = on_plane.loc[on_plane["variant"] == variant, "seed"].min()
    trees, points = (
        table[(table["variant"] == variant) & (table["seed"] == seed)]
        for table in (on_plane[on_plane["tree"] == 0], projections)
    )
    epochs = np.intersect1d(trees["epoch"], points["epoch"])
    if len(epochs) == 0:
        raise ValueError(f"nodes and projections of {variant} have no epoch in common")
    places = np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_PANELS)).round().astype(int)
    classes = np.sort(points["class"].unique())
    by_class = dict(zip(classes, class_colours(len(classes)), strict=True))
    by_leaf = [_tint(colour) for colour in leaf_colours(int(points["n_experts"].iloc[0]))]

    with theme():
        n_columns = min(COLUMNS, len(places))
        n_rows = -(-len(places) // n_columns)
        panel = (TWO_COLUMNS - LEGENDS) / COLUMNS
        size = (LEGENDS + panel * n_columns, 0.8 + (panel + 0.2) * n_rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for axes in grid[len(places) :]:
            axes.set_axis_off()
        for axes, epoch in zip(grid, epochs[places], strict=False):
            shown = finite(points[points["epoch"] == epoch])
            if shown.empty:
                axes.annotate("diverged", **CENTRE)
                continue
            _draw_tree(axes, trees[trees["epoch"] == epoch], shown, by_leaf)
            draw_points(axes, shown, shown["class"].map(by_class), size=4)
            used = shown["expert"].nunique()
            axes.set_title(f"epoch {epoch:g}: {used} of {len(by_leaf)} leaves used")
        heading = f"{title}: {label} · {points['dataset'].iloc[0]} · seed {seed}"
        beside = figure.get_figwidth() - 2 * LEGENDS  # the title is centred between the legends
        figure.suptitle(wrap(heading, beside, heading=True))
        add_point_legend(
            figure, "outside right upper", "class", {str(k): c for k, c in by_class.items()}
        )
        figure.legend(
            handles=[Patch(color=colour, label=str(k)) for k, colour in enumerate(by_leaf)],
            title="leaf of an area; lines are the nodes' decisions, the thickest the root's",
            loc="outside lower center",
            ncols=min(len(by_leaf), 16),
            handlelength=1.0,
            handletextpad=0.4,
            borderaxespad=0.2,
        )
    return figure


def _draw_tree(axes: Axes, tree: pd.DataFrame, points: pd.DataFrame, colours: list[str]) -> None:
    """Draw the areas and lines of a tree, over the extent of `points`."""
    low, high = points[["x", "y"]].min().to_numpy(), points[["x", "y"]].max().to_numpy()
    margin = MARGIN * np.maximum(high - low, 1e-9)
    (left, bottom), (right, top) = low - margin, high + margin
    regions = tree_regions(tree, (left, right, bottom, top))
    for leaf, corners in regions.leaves.items():
        axes.add_patch(Polygon(corners, facecolor=colours[leaf], edgecolor="none", zorder=0))
        if area(corners) > LABELLED * (right - left) * (top - bottom):
            x, y = corners.mean(axis=0)
            number = axes.text(x, y, str(leaf), ha="center", va="center", zorder=4)
            number.set_path_effects([withStroke(linewidth=2, foreground=colours[leaf])])
    levels = [int(np.log2(node + 1)) for node in regions.lines]
    axes.add_collection(
        LineCollection(
            list(regions.lines.values()),
            linewidths=[max(1.8 - 0.5 * level, 0.5) for level in levels],
            colors="0.15",
            zorder=3,
        )
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _tint(colour: str) -> str:
    red, green, blue = (round(255 * (1 - TINT + TINT * part)) for part in to_rgb(colour))
    return f"#{red:02x}{green:02x}{blue:02x}"
