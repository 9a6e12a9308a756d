"""Names at the ends of lines and beside points, moved apart where they would meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from fastff.analysis.style import CHARACTER, FONT_SIZE

LINE = 1.3 * FONT_SIZE / 72  # inches from one line of text to the next
LOWEST, HIGHEST = -0.05, 1.0  # of a name, in shares of a panel's height
NEAR = 0.03  # share of a panel's width within which names of points are set below each other
FAN, GAP = 0.05, 0.02  # shares of a panel's width, from the end of a line, or a point, to its name


Box = tuple[float, float, float]  # left, right and height of a line of text, in such shares


@dataclass(frozen=True, order=True)
class Label:
    """What is named: its place in shares of a panel's width and height, its name and colour."""

    x: float
    y: float
    text: str
    colour: str


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], height: float) -> None:
    """Write texts at the right of a panel, at the ends of lines.

    Args:
        axes: a panel whose limits are set.
        ends: where a line ends (in data; NaN has no text), its text and its colour.
        height: of the panel in inches, about.

    """
    to_axes = axes.transData + axes.transAxes.inverted()
    _write(
        axes,
        [
            Label(1.0, float(to_axes.transform((1.0, y))[1]), text, colour)
            for y, text, colour in ends
            if np.isfinite(y)
        ],
        height,
        FAN,
    )


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float, str, str]],
    size: tuple[float, float],
    *,
    gap: float = GAP,
    zorder: float = 1,
) -> None:
    """Write names beside points: at the right, or at the left where another point is in the way.

    Where points are in the way on both sides, names stand at the right of those, too.

    Args:
        axes: a panel whose limits are set.
        points: x and y in data, name ("" of a point that is only in the way), and colour.
        size: width and height of the panel in inches, about.
        gap: share of the panel's width from a point to its name.
        zorder: of the names; by default they are below points and their bars.

    """
    to_axes = axes.transData + axes.transAxes.inverted()
    drawn = []
    for x, y, text, colour in points:
        place = to_axes.transform((x, y))
        drawn.append(Label(float(place[0]), float(place[1]), text, colour))
    columns: list[list[Label]] = []
    for point in sorted(point for point in drawn if point.text):
        if columns and point.x - columns[-1][0].x <= NEAR:
            columns[-1].append(point)
        else:
            columns.append([point])
    taken: list[Box] = []
    while columns:
        column = columns.pop(0)
        hidden = [(point.x, point.x, point.y) for point in drawn if point not in column] + taken
        edges = {side: max(side * label.x for label in column) for side in (1, -1)}
        boxes = {side: _boxes(column, side, edge + gap, size) for side, edge in edges.items()}
        free = [side for side in boxes if not _meet(boxes[side], hidden, LINE / size[1])]
        if not free and columns:
            columns[0] = column + columns[0]
            continue
        if not free:
            free, edges[1] = [1], max(right for _, right, _ in hidden)
        taken += _boxes(column, free[0], edges[free[0]] + gap, size)
        _write(axes, column, size[1], free[0] * gap, edges[free[0]], zorder)


def _boxes(column: Sequence[Label], side: int, edge: float, size: tuple[float, float]) -> list[Box]:
    """Return the boxes of the names of a column that stand beyond an edge at a side (1: right)."""
    boxes = []
    for label, y in _apart(column, size[1]):
        end = edge + GAP + CHARACTER * len(label.text) / size[0]
        x = sorted((side * (edge - GAP), side * end))
        boxes.append((x[0], x[1], y))
    return boxes


def _meet(boxes: Sequence[Box], others: Sequence[Box], height: float) -> bool:
    return any(
        left < right_2 and left_2 < right and abs(y - y_2) < 0.8 * height
        for left, right, y in boxes
        for left_2, right_2, y_2 in others
    )


def _apart(column: Sequence[Label], height: float) -> list[tuple[Label, float]]:
    """Return each label of a column with the height of its name, a line of text apart at least."""
    shown = sorted(column, key=lambda label: label.y)
    step = LINE / height
    places: list[float] = []
    for label in shown:
        places.append(max(label.y, places[-1] + step if places else LOWEST))
    top = HIGHEST
    for k in reversed(range(len(places))):
        places[k] = min(places[k], top)
        top = places[k] - step
    return list(zip(shown, places, strict=True))


def _write(
    axes: Axes,
    column: Sequence[Label],
    height: float,
    gap: float,
    edge: float = 1.0,
    zorder: float = 1,
) -> None:
    """Write the names of a column beyond an edge, each with a line to what it names."""
    side = 1 if gap > 0 else -1
    for label, place in _apart(column, height):
        axes.plot(
            [label.x, side * edge + 0.8 * gap], [label.y, place], color=label.colour,
            linewidth=0.6, clip_on=False, transform=axes.transAxes, scalex=False, scaley=False,
            zorder=zorder,
        )  # fmt: skip
        axes.text(
            side * edge + gap, place, label.text, transform=axes.transAxes,
            ha="left" if side > 0 else "right", va="center", zorder=zorder,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.2},
        )  # fmt: skip
