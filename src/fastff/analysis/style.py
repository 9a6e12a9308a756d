"""One theme for every figure, made for print, and the same bytes on every machine."""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterMathtext, LogLocator, NullFormatter
from numpy.typing import NDArray

from fastff.files import atomic_path

ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0  # widths in inches, of a two-column page
FONT_SIZE = 7.0  # points; a figure is printed at its own size
SIZED = (
    *("font.size", "axes.titlesize", "axes.labelsize", "figure.labelsize"),
    *("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"),
)
CHARACTER = 0.056  # mean width of a character of that size, in inches
BOLD = 1.25  # times as wide is a character of a figure's title
JOIN, NO_BREAK = " · ", "\N{NO-BREAK SPACE}"  # between the parts of a title, and in each

# The keywords of a note in the middle of a panel that has nothing to show.
CENTRE: dict[str, Any] = {
    "xy": (0.5, 0.5),
    "xycoords": "axes fraction",
    "ha": "center",
    "va": "center",
    "color": "0.45",
}
# The keywords of a line that says the most, or the even share, that there can be.
LIMIT: dict[str, Any] = {"color": "0.25", "linewidth": 0.7, "linestyle": (0, (4, 2))}
# The keywords of a line at no difference.
ZERO: dict[str, Any] = {"color": "0.25", "linewidth": 0.7, "zorder": 0}
# Nothing of the time or the library's version; `None` leaves the entry out.
METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
DOTS_PER_INCH = 300


@contextmanager
def theme(**more: Any) -> Iterator[None]:
    """Draw or save in the project's theme; `more` adds settings of matplotlib.

    It starts from matplotlib's own defaults and takes the font that comes with it: settings and
    fonts of a machine would make its figures differ from another's.
    """
    settings: Any = {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        **dict.fromkeys(SIZED, FONT_SIZE),
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "figure.titlesize": FONT_SIZE + 1,
        "figure.titleweight": "bold",
        "axes.linewidth": 0.6,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.linewidth": 0.4,
        "grid.color": "0.88",
        "lines.linewidth": 1.0,
        "lines.markersize": 3.5,
        "lines.markeredgewidth": 0.0,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "legend.frameon": False,
        "legend.handlelength": 3.0,
        "legend.borderpad": 0.1,
        "legend.labelspacing": 0.3,
        "pdf.fonttype": 42,  # text stays text, with its font embedded
        "svg.fonttype": "path",  # the reader needs no font
        **more,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def log_ticks(axis: Axis) -> None:
    """Give a logarithmic axis ticks that people read, and minor ones between them.

    Call it when the limits are set: the fewer decades they span, the more ticks have numbers.
    """
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    numbered = (
        (1.0,)
        if decades > 2.5
        else (1.0, 2.0, 5.0)
        if decades > 0.6
        else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    )
    axis.set_major_locator(LogLocator(subs=numbered, numticks=7))
    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    axis.set_major_formatter(LogFormatterMathtext() if decades > 4 else plain)
    axis.set_minor_locator(LogLocator(subs=range(1, 10), numticks=99))
    axis.set_minor_formatter(NullFormatter())


def class_colours(n_classes: int) -> list[str]:
    """Return a colour per class, as `#rrggbb`: colour-blind safe up to ten classes."""
    name = "colorblind" if n_classes <= 10 else "husl"
    return [str(colour) for colour in sns.color_palette(name, n_classes).as_hex()]


def leaf_colours(n_leaves: int) -> list[str]:
    """Return a colour per leaf or expert, as `#rrggbb`: other colours than those of the classes.

    Leaves left of the root are cool, those right of it warm, so that the root's decision shows.
    Within a side they differ in lightness, for everybody and in grey, and siblings most of all.
    """
    found: list[str] = []
    for cmap, n in (("crest", (n_leaves + 1) // 2), ("flare", n_leaves // 2)):
        bits = max(1, math.ceil(math.log2(max(n, 1))))
        order = sorted(range(n), key=lambda leaf: int(f"{leaf:0{bits}b}"[::-1], 2))
        shades = sns.color_palette(cmap, n).as_hex()
        found += [str(shades[order.index(leaf)]) for leaf in range(n)]
    return found


def evenly(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Return at most so many of the values, evenly chosen: the first and the last among them."""
    places = np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int)
    chosen: NDArray[Any] = values[places]
    return chosen


def width_of(n_columns: int) -> float:
    """Return the width in inches of a figure with that many columns of panels."""
    return ONE_COLUMN if n_columns == 1 else TWO_COLUMNS


def wrap(text: str, width: float, *, heading: bool = False) -> str:
    """Return a text, broken into as few lines as fit `width` inches, of about equal length.

    A heading is larger and bold, and its parts, between middle dots, are broken only where one of
    them is longer than a line.
    """
    most = int(width / (CHARACTER * (BOLD if heading else 1.0)))
    if heading:
        parts = text.split(JOIN)
        text = JOIN.join(p.replace(" ", NO_BREAK) if len(p) < most else p for p in parts)
    lines = textwrap.wrap(text, width=most)
    for narrower in range(most - 1, 0, -1):
        tried = textwrap.wrap(text, width=narrower, break_long_words=False)
        if len(tried) > len(lines) or max(map(len, tried), default=0) > narrower:
            break
        lines = tried
    broken = "\n".join(lines).replace(NO_BREAK, " ")
    return re.sub(r" ·\n|\n· ", "\n", broken)


@dataclass(frozen=True)
class SavedFigure:
    """The files of one figure."""

    pdf: Path
    png: Path
    svg: Path


def save_figure(figure: Figure, folder: str | os.PathLike[str], name: str) -> SavedFigure:
    """Write `<folder>/<name>.pdf`, `.png` (300 dpi) and `.svg`, each whole or not at all.

    The layout is settled once, so that all three have the same; the figure keeps it.
    """
    paths = {kind: Path(folder) / f"{name}.{kind}" for kind in METADATA}
    # without a salt, the ids in an SVG are random
    with theme(**{"svg.hashsalt": "fastff"}):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for kind, path in paths.items():
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=DOTS_PER_INCH, metadata=METADATA[kind])
    return SavedFigure(**paths)
