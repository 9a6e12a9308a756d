"""Where a bottleneck of two features puts the samples: a column per model, by class and leaf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fastff.analysis.failed import first_seed, unless_all_failed
from fastff.analysis.style import (
    CENTRE,
    TWO_COLUMNS,
    class_colours,
    evenly,
    leaf_colours,
    theme,
    wrap,
)
from fastff.analysis.summary import labels_of, require_one, require_one_shape
from fastff.config.display import displayed
from fastff.tables.format import show

LEGENDS, MOST_ROWS = 0.95, 10  # inches beside the panels; entries in a column of a legend
MOST_LEAKS = 6
PALE = (0.88, 0.88, 0.88)  # of a leaf without a class of its own
LEAST_HEIGHT = 3.0  # inches, for both legends
Place = Literal["outside right upper", "outside right lower"]


@dataclass(frozen=True)
class Column:
    """One model at one epoch: its heading, and its rows of the table of projections."""

    heading: str
    points: pd.DataFrame
    routes: bool


@unless_all_failed
def draw_projections(runs: pd.DataFrame, projections: pd.DataFrame, title: str) -> Figure:
    """Return the planes of all models after training, and of one before it.

    A column per variant, the first being the first variant that routes, untrained. Above, a point
    has the colour of its class; below, that of the leaf that the hard form routes it to,
    the paler the more its samples are of several classes. Of one
    seed, the first of which no run has failed.

    Args:
        runs: the runs table of an experiment.
        projections: the table of projections.
        title: what the figure shows; dataset and seed are added.

    Raises:
        ValueError: for more than one shape of a variant.

    """
    require_one_shape(runs)
    seed = first_seed(runs)
    found = projections[projections["seed"] == seed]
    columns: list[Column] = []
    for variant, label in labels_of(runs).items():
        run = runs[(runs["variant"] == variant) & (runs["seed"] == seed)].iloc[0]
        points = found[found["variant"] == variant]
        routes, epochs = run["n_experts"] > 1, points["epoch"]
        if routes and not any(column.routes for column in columns) and epochs.min() == 0:
            untrained = Column(f"{label}\nuntrained", points[epochs == 0], True)
            columns.insert(0, untrained)
        name = f"{_scored(label, run)}\n{_sized(run)}"
        columns.append(Column(name, points[epochs == epochs.max()], routes))
    return _draw_columns(columns, _heading(title, runs, seed))


@unless_all_failed
def draw_leak_projections(runs: pd.DataFrame, projections: pd.DataFrame, title: str) -> Figure:
    """Return the planes of one variant after training with different region leaks.

    A column per leak, at most six of them, evenly chosen; rows and seed as in `draw_projections`.

    Raises:
        ValueError: for more than one variant, depth or width.

    """
    for column in ("variant", "depth", "hidden_features"):
        require_one(runs, column)
    seed = first_seed(runs)
    leaks = evenly(np.sort(runs["region_leak"].unique()), MOST_LEAKS)
    columns = []
    for leak in leaks:
        key = {"seed": seed, "region_leak": leak}
        run = runs[(runs[list(key)] == pd.Series(key)).all(axis=1)].iloc[0]
        points = projections[(projections[list(key)] == pd.Series(key)).all(axis=1)]
        last = points[points["epoch"] == points["epoch"].max()]
        columns.append(Column(_scored(f"leak {leak:g}", run), last, run["n_experts"] > 1))
    return _draw_columns(columns, _heading(f"{title}, {_sized(runs.iloc[0])}", runs, seed))


def draw_points(axes: Axes, points: pd.DataFrame, colours: Sequence[str], *, size: float) -> None:
    """Draw the points of a plane in their colours, in no order that hides one group.

    They are half transparent, so that where many lie is darker.
    """
    axes.scatter(
        points["x"], points["y"], c=list(colours), s=size, linewidths=0, alpha=0.6, rasterized=True
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_box_aspect(1)
    axes.spines[:].set(visible=True, color="0.75")
    axes.grid(visible=False)


def purities(points: pd.DataFrame) -> pd.Series[float]:
    """Return by leaf the share of its points that are of its most frequent class."""
    counts = points.groupby(["expert", "class"]).size()
    return counts.groupby("expert").max() / counts.groupby("expert").sum()


def faded(colour: str, share: float) -> str:
    """Return a colour of which only a share is left, the rest being light grey."""
    parts = zip(to_rgb(colour), PALE, strict=True)
    red, green, blue = (share * own + (1 - share) * pale for own, pale in parts)
    return to_hex((red, green, blue))


def finite(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points that have a place: those of a run that diverged have none."""
    return points[np.isfinite(points[["x", "y"]]).all(axis=1)]


def add_point_legend(figure: Figure, place: Place, title: str, entries: dict[str, str]) -> None:
    """Put a legend of coloured points beside the panels."""
    handles = [
        Line2D([], [], label=name, color=colour, marker="o", linestyle="", markersize=4)
        for name, colour in entries.items()
    ]
    figure.legend(
        handles=handles,
        title=title,
        loc=place,
        ncols=int(np.ceil(len(entries) / MOST_ROWS)),
        labelspacing=0.3,
        handletextpad=0.1,
        handlelength=1.2,
        columnspacing=0.6,
        borderaxespad=0.2,
    )


def _heading(title: str, runs: pd.DataFrame, seed: int) -> str:
    return f"{title} · {displayed(runs['dataset'].iloc[0])} · hard accuracy of seed {seed}"


def _scored(label: str, run: pd.Series) -> str:
    return f"{label}\n{show('accuracy_hard', run['accuracy_hard'])} %"


def _sized(run: pd.Series) -> str:
    return f"{run['n_parameters']:,} parameters"


def _draw_columns(columns: Sequence[Column], heading: str) -> Figure:
    points = pd.concat([column.points for column in columns])
    classes = np.sort(points["class"].unique())
    by_class = dict(zip(classes, class_colours(len(classes)), strict=True))
    n_leaves = int(points["n_experts"].max())
    by_leaf = dict(enumerate(leaf_colours(n_leaves)))
    with theme():
        panel = (TWO_COLUMNS - LEGENDS) / max(len(columns), 3)
        size = (LEGENDS + panel * max(len(columns), 2), max(1.0 + 2 * panel, LEAST_HEIGHT))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(2, len(columns), squeeze=False)
        for (above, below), column in zip(grid.T, columns, strict=True):
            shown = finite(column.points)
            above.set_title(wrap_lines(column.heading, panel))
            draw_points(above, shown, shown["class"].map(by_class), size=2.5)
            routed = shown if column.routes else shown.iloc[:0]
            pure = purities(routed)
            shades = {leaf: faded(by_leaf[leaf], share) for leaf, share in pure.items()}
            draw_points(below, routed, routed["expert"].map(shades), size=2.5)
            if shown.empty:
                above.annotate("diverged", **CENTRE)
            elif not column.routes:
                below.annotate("does not\nroute", **CENTRE)
        grid[0, 0].set_ylabel("by class")
        grid[1, 0].set_ylabel("by leaf, pale: mixed")
        beside = figure.get_figwidth() - 2 * LEGENDS  # the title is centred between the legends
        figure.suptitle(wrap(heading, beside, heading=True))
        add_point_legend(
            figure, "outside right upper", "class", {str(k): c for k, c in by_class.items()}
        )
        add_point_legend(
            figure, "outside right lower", "leaf", {str(k): c for k, c in by_leaf.items()}
        )
    return figure


def wrap_lines(text: str, width: float) -> str:
    """Return a text of lines, each broken where it is wider than `width` inches."""
    return "\n".join(wrap(line, width) for line in text.split("\n"))
