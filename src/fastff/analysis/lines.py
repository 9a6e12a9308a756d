"""How variants are drawn: their line styles, lines of means with intervals, legend and heading."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from fastff.analysis.failed import say_failed
from fastff.analysis.style import CHARACTER, wrap
from fastff.config.base import Spec
from fastff.config.display import displayed
from fastff.config.model import (
    BottleneckSpec,
    PartSpec,
    RoutedSpec,
    Variant,
    VisionTransformerSpec,
)
from fastff.config.presets import PRESETS
from fastff.config.timed_forms import TIMED_FORMS
from fastff.tables.schema import PRINTED, SHAPE

# A family of models has one colour and one marker in every figure; its members are told apart by
# shade, the base first, and by dashes. Colour-blind safe, and in grey of different lightness.
SHADES: Mapping[str, tuple[str, ...]] = {
    "FFF": ("#0173b2", "#012f4a", "#56b4e9", "#4b57b5", "#9db4dc"),
    "MoE": ("#de8f05", "#8a4b00", "#f2c063", "#a87b2d", "#c9a27a"),
    "feed-forward": ("#4a4a4a", "#000000", "#8a8a8a", "#b0b0b0", "#6e6e8a"),
    "node tree": ("#029e73", "#01513b", "#5ccfae", "#7fa88b", "#3d6b57"),
    "hypercube": ("#cc78bc", "#7a3a6d", "#e6b3dc", "#a05c94", "#b58fd0"),
    "CNN": ("#ca9161", "#7d4f25", "#e3bd9c", "#a8764a", "#5d3a1a"),
    "experts": ("#d55e00", "#4f1a0b", "#f9b08a", "#9e3d22", "#e08a5b"),  # of either gate
    "other": ("#a0522d", "#d37295", "#b6992d", "#79706e", "#c44e52"),
}
MARKERS: Mapping[str, str] = dict(zip(SHADES, "osD^vXP<", strict=True))
# Patterns of names, of variants and of what benchmarks time; the first that fits counts.
FAMILIES: Mapping[str, str] = {
    "node tree": r".*node_tree.*",
    "hypercube": r".*hypercube.*",
    "MoE": r".*moe.*|linear|smear|hash",
    "feed-forward": r".*mlp.*|dense.*|.*feed_?forward.*",
    "CNN": r".*cnn.*",
    "experts": r"experts_.*",
    "FFF": r".*fff.*|hardening_.*|product|log|.*transition|descent.*",
    "other": r".*",
}
SOLID: tuple[float, ...] = ()
MIXED_DASHES = (SOLID, (1.0, 1.0), (4.0, 1.0, 1.0, 1.0), (6.0, 1.0), (2.0, 2.0))
MERGED_DASHES = ((3.0, 1.2), (3.0, 1.2, 1.0, 1.2), (3.0, 1.2, 1.0, 1.2, 1.0, 1.2))
FLOOR = 0.05  # height of a cross, as a share of the panel's
CROSS = "x"  # the marker of a missing mean


@dataclass(frozen=True)
class LineStyle:
    """A line: colour as `#rrggbb`, dashes in points on and off (empty: solid), and a marker."""

    colour: str
    dashes: tuple[float, ...]
    marker: str
    filled: bool = True

    @property
    def line(self) -> dict[str, Any]:
        """The keywords of a matplotlib line."""
        linestyle = (0, self.dashes) if self.dashes else "-"
        line = {"color": self.colour, "linestyle": linestyle, "marker": self.marker}
        hollow = {"markerfacecolor": "white", "markeredgewidth": 0.8}
        return line if self.filled else line | hollow


def family_of(name: str) -> str:
    """Return the family of a variant, or of a timed form, by its name: a key of SHADES."""
    return next(family for family, names in FAMILIES.items() if re.fullmatch(names, name))


def family_style(family: str) -> LineStyle:
    """Return the line style that stands for a family as a whole: a key of SHADES."""
    return LineStyle(SHADES[family][0], SOLID, MARKERS[family])


def line_styles(variants: Sequence[str]) -> dict[str, LineStyle]:
    """Return the line style of each variant, the same in every figure, no two of them the same.

    Colour and marker are those of the family. Of presets the gate gives the shade, and merged
    experts are dashed; of a layer without experts the layer does. The forms of a tree gate that
    compute the same weights share a shade, and sizes don't count. Other names get what is left of
    their family by a hash of the name; only where two names of a figure meet on one style does the
    later name move on to the next.
    """
    known = _known_styles()
    found = {name: known[name] for name in variants if name in known}
    for name in sorted(set(variants) - set(known)):
        family = family_of(name)
        every = product((*MIXED_DASHES, *MERGED_DASHES), SHADES[family])
        looks = [LineStyle(shade, dashes, MARKERS[family]) for dashes, shade in every]
        candidates = [look for look in looks if look not in known.values()]
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(candidates)
        ordered = [*candidates[first:], *candidates[:first]]
        taken = set(found.values())
        found[name] = next((style for style in ordered if style not in taken), ordered[0])
    return {name: found[name] for name in variants}


def core(variant: Variant) -> Spec:
    """Return what a variant's shade stands for: its gate, or its layer where it has none."""
    part = _part(variant)
    if not isinstance(part, RoutedSpec):
        sizes = {"hidden_features": None, "depth": None, "n_trees": 1}
        fields = type(part).model_fields
        return part.model_copy(update={key: x for key, x in sizes.items() if key in fields})
    return part.gate.drawn_as()


def _part(variant: Variant) -> PartSpec:
    model = variant.model
    return model.routed if isinstance(model, BottleneckSpec | VisionTransformerSpec) else model


@cache
def _known_styles() -> dict[str, LineStyle]:
    """Return the line styles of the presets, and of what benchmarks time.

    Of timed forms the kernels have filled markers, and those that PyTorch computes hollow ones.
    """
    given: dict[str, LineStyle] = {}
    cores: dict[str, list[Spec]] = {family: [] for family in SHADES}
    for name, variant in PRESETS.items():
        family, own, part = family_of(name), core(variant), _part(variant)
        if own not in cores[family]:
            cores[family].append(own)
        base, *others = SHADES[family]
        place = cores[family].index(own)
        shade = others[(place - 1) % len(others)] if place else base
        merged = isinstance(part, RoutedSpec) and part.experts.kind == "soft_merged"
        dashes = MERGED_DASHES if merged else MIXED_DASHES
        styles = (LineStyle(shade, dash, MARKERS[family]) for dash in dashes)
        given[name] = next(style for style in styles if style not in given.values())
    for forms in TIMED_FORMS.values():
        timed: Counter[str] = Counter()
        for form, label in sorted(forms.items(), key=lambda item: "kernel" not in item[1]):
            family = family_of(form)
            shade = SHADES[family][timed[family] % len(SHADES[family])]
            look = LineStyle(shade, SOLID, MARKERS[family], "kernel" in label)
            given.setdefault(form, look)
            timed[family] += 1
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
    datasets = ", ".join(map(displayed, runs["dataset"].unique()))
    seeds = f"{n_seeds} {'seed' if most == 1 else 'seeds'}"
    return " · ".join(filter(None, (title, datasets, seeds, say_failed(runs))))
