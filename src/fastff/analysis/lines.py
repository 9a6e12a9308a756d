"""How variants are drawn: their line styles, lines of means with intervals, legend and heading."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from fastff.analysis.failed import say_failed
from fastff.analysis.style import CHARACTER, wrap
from fastff.config.base import Spec
from fastff.config.model import (
    BottleneckSpec,
    PartSpec,
    RoutedSpec,
    Variant,
    VisionTransformerSpec,
)
from fastff.config.presets import PRESETS
from fastff.tables.schema import PRINTED, SHAPE

# Places in seaborn's colour-blind palette, most distinct first; yellow and pale pink are left
# out, for they vanish on paper.
ORDER = (1, 7, 3, 0, 2, 4, 9, 5)
SOLID: tuple[float, ...] = ()
EXPERTS_STYLE: dict[str, tuple[tuple[float, ...], str]] = {
    "mixture": (SOLID, "o"),
    "soft_merged": ((3.0, 1.2), "s"),
}
LAYER_STYLE: tuple[tuple[float, ...], str] = ((5.0, 1.0), "d")  # of a layer without experts
NEXT_MARKERS = "<>P*phH8"
OTHER_STYLES: tuple[tuple[tuple[float, ...], str], ...] = (
    ((1.0, 1.0), "^"),
    ((1.0, 1.0), "D"),
    ((4.0, 1.0, 1.0, 1.0), "v"),
    ((4.0, 1.0, 1.0, 1.0), "X"),
)
FLOOR = 0.05  # height of a cross, as a share of the panel's
CROSS = "x"  # the marker of a missing mean


@dataclass(frozen=True)
class LineStyle:
    """A line: colour as `#rrggbb`, dashes in points on and off (empty: solid), and a marker."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """The keywords of a matplotlib line."""
        linestyle = (0, self.dashes) if self.dashes else "-"
        return {"color": self.colour, "linestyle": linestyle, "marker": self.marker}


def line_styles(variants: Sequence[str]) -> dict[str, LineStyle]:
    """Return the line style of each variant, no two of them the same.

    Of the presets the gate gives the colour, in their order, and the experts give dashes and
    marker: variants that differ in one of the two share the other. The forms of a tree gate that
    compute the same weights are one gate, a layer without experts counts as a gate, and sizes
    don't count. Any other variant gets dashes and markers that no preset has, by a
    hash of its name; only where two names of a figure meet on one style does the later name move
    on to the next.
    """
    colours = palette()
    known = _preset_styles(colours)
    others = [
        LineStyle(colour, dashes, marker)
        for (dashes, marker), colour in product(OTHER_STYLES, colours)
        if LineStyle(colour, dashes, marker) not in known.values()
    ]
    found = {name: known[name] for name in variants if name in known}
    for name in sorted(set(variants) - set(known)):
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(others)
        candidates = [*others[first:], *others[:first]]
        taken = set(found.values())
        found[name] = next((style for style in candidates if style not in taken), others[first])
    return {name: found[name] for name in variants}


def palette() -> list[str]:
    """Return the colours of lines, as `#rrggbb`."""
    colours = sns.color_palette("colorblind").as_hex()
    return [str(colours[place]) for place in ORDER]


def core(variant: Variant) -> Spec:
    """Return what a variant's colour stands for: its gate, or its layer where it has none."""
    part = _part(variant)
    if not isinstance(part, RoutedSpec):
        sizes = {"hidden_features": None, "depth": None, "n_trees": 1}
        fields = type(part).model_fields
        return part.model_copy(update={key: x for key, x in sizes.items() if key in fields})
    return part.gate.drawn_as()


def _part(variant: Variant) -> PartSpec:
    model = variant.model
    return model.routed if isinstance(model, BottleneckSpec | VisionTransformerSpec) else model


def _preset_styles(colours: list[str]) -> dict[str, LineStyle]:
    """Return the line styles of the presets; one that is taken changes its marker."""
    cores = {name: core(variant) for name, variant in PRESETS.items()}
    places: dict[Spec, int] = {}
    # layers start half-way through the palette: they are mostly drawn beside the first gates
    for start, routed in ((0, True), (len(colours) // 2, False)):
        found = [
            cores[name] for name, v in PRESETS.items() if (_part(v).kind == "routed") == routed
        ]
        places |= {spec: start + place for place, spec in enumerate(dict.fromkeys(found))}
    given: dict[str, LineStyle] = {}
    for name, variant in PRESETS.items():
        part = _part(variant)
        colour = colours[places[cores[name]] % len(colours)]
        dashes, marker = LAYER_STYLE
        if isinstance(part, RoutedSpec):
            dashes, marker = EXPERTS_STYLE.get(part.experts.kind, OTHER_STYLES[0])
        taken = {style.marker for style in given.values() if style.colour == colour}
        free = [mark for mark in (marker, *NEXT_MARKERS) if mark not in taken]
        given[name] = LineStyle(colour, dashes, free[0] if free else marker)
    return given


def draw_lines(
    axes: Axes,
    summary: pd.DataFrame,
    x: str,
    metric: str,
    styles: Mapping[str, LineStyle],
    *,
    spread: float = 0.36,
    log: bool = False,
) -> None:
    """Draw a line per variant: means, and 95 % intervals as bars.

    The lines are drawn from the summary that the tables print, so a figure can't say anything
    else. Variants are set side by side, or equal ones would hide each other.

    Args:
        axes: where to draw.
        summary: what `summarise` returned, of one row per variant and `x`.
        x: the column to draw over.
        metric: the name before `_mean` and `_ci`.
        styles: the line style of each variant, in the order of the legend.
        spread: the width that the variants of one x share, in units of x (of log2 x with `log`).
        log: set them apart by a factor instead of a sum.

    """
    scale = PRINTED[metric].scale
    offsets = np.linspace(-0.5, 0.5, len(styles)) * spread if len(styles) > 1 else [0.0]
    for (variant, style), offset in zip(styles.items(), offsets, strict=True):
        rows = summary[summary["variant"] == variant].sort_values(x)
        places = rows[x] * 2.0**offset if log else rows[x] + offset
        _draw_failed(axes, places[_has_failed(rows)], style)
        axes.errorbar(
            places,
            scale * rows[f"{metric}_mean"],
            yerr=scale * rows[f"{metric}_ci"],
            elinewidth=0.7,
            **style.line,
        )


def draw_band(axes: Axes, lines: pd.DataFrame, x: str, metric: str, style: LineStyle) -> None:
    """Draw one line of means and its 95 % intervals as a band; `lines` is sorted by `x`."""
    scale = PRINTED[metric].scale
    mean, width = scale * lines[f"{metric}_mean"], scale * lines[f"{metric}_ci"]
    axes.plot(lines[x], mean, markevery=max(1, len(lines) // 6), **style.line)
    low, high = mean - width, mean + width
    axes.fill_between(lines[x], low, high, color=style.colour, alpha=0.15, linewidth=0)
    gone = _has_failed(lines)
    _draw_failed(axes, lines.loc[gone & ~gone.shift(fill_value=False), x], style)


def _has_failed(summary: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows have no mean because a run has failed."""
    if "n_failed" in summary:
        return summary["n_failed"] > 0
    return pd.Series(False, index=summary.index)


def _draw_failed(axes: Axes, places: pd.Series[float], style: LineStyle) -> None:
    """Put a cross at the bottom where a mean is missing because a run has failed."""
    heights = [FLOOR] * len(places)
    if heights:
        keywords: dict[str, Any] = {
            "color": style.colour,
            "marker": CROSS,
            "markeredgewidth": 0.8,
            "linestyle": "",
        }
        axes.plot(places, heights, transform=axes.get_xaxis_transform(), **keywords)


def add_legend(
    figure: Figure,
    styles: Mapping[str, LineStyle],
    labels: Mapping[str, str],
    note: str = "",
    *,
    interval: str = "bars",
) -> Legend:
    """Put the variants' legend below the panels.

    `interval` says how the intervals are drawn, and `note` what else is.
    """
    if any(line.get_marker() == CROSS for axes in figure.axes for line in axes.lines):
        note += "; cross: a run failed"
    names = [labels[variant] for variant in styles]
    handles = [Line2D([], [], label=labels[v], **style.line) for v, style in styles.items()]
    return figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=fitting_columns(figure, names),
        title=wrap(f"mean over seeds; {interval}: 95 % t-interval{note}", figure.get_figwidth()),
    )


def fitting_columns(figure: Figure, names: Sequence[str]) -> int:
    """Return the columns of a legend with these entries that fit the figure's width."""
    entry = 0.55 + CHARACTER * max(len(name) for name in names)
    most = max(1, int(figure.get_figwidth() / entry))
    # columns of equal length read as groups; at most four rows, or the panels get too little room
    even = [n for n in range(most, 0, -1) if len(names) % n == 0 and len(names) / n <= 4]
    return even[0] if even else -(-len(names) // -(-len(names) // most))


def heading(runs: pd.DataFrame, title: str) -> str:
    """Return a figure's title: what is shown, on which data, over how many seeds.

    And how many runs have failed, where any has.
    """
    counts = runs.groupby(["variant", *SHAPE])["seed"].nunique()
    least, most = counts.min(), counts.max()
    n_seeds = str(most) if least == most else f"{least}–{most}"
    datasets = ", ".join(dict.fromkeys(runs["dataset"]))
    seeds = f"{n_seeds} {'seed' if most == 1 else 'seeds'}"
    return " · ".join(filter(None, (title, datasets, seeds, say_failed(runs))))
