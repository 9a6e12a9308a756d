"""One theme for every figure: made for print, and the same on every machine."""

from __future__ import annotations

import textwrap
from typing import Any

import seaborn as sns

ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0  # widths in inches, of a two-column page
FONT_SIZE = 7.0  # points; a figure is printed at its own size
CHARACTER = 0.056  # mean width of a character of that size, in inches


def theme() -> dict[str, Any]:
    """Return the theme as matplotlib settings, for `matplotlib.rc_context`.

    DejaVu Sans comes with matplotlib: with a font of the system, figures of two machines would
    differ.
    """
    sizes = {
        key: FONT_SIZE
        for key in (
            *("font.size", "axes.titlesize", "axes.labelsize"),
            *("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"),
        )
    }
    return {
        **sns.axes_style("ticks"),
        **sns.plotting_context("paper"),
        **sizes,
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
        "xtick.minor.size": 0.0,
        "legend.frameon": False,
        "legend.handlelength": 3.0,
        "pdf.fonttype": 42,  # text stays text, with its font embedded
        "svg.fonttype": "path",  # the reader needs no font
    }


def class_colours(n_classes: int) -> list[str]:
    """Return a colour per class, as `#rrggbb`: colour-blind safe up to ten classes."""
    name = "colorblind" if n_classes <= 10 else "husl"
    return [str(colour) for colour in sns.color_palette(name, n_classes).as_hex()]


def width_of(n_columns: int) -> float:
    """Return the width in inches of a figure with that many columns of panels."""
    return ONE_COLUMN if n_columns == 1 else max(TWO_COLUMNS, 1.7 * n_columns)


def wrap(text: str, width: float) -> str:
    """Return a title, broken into lines that fit `width` inches."""
    return textwrap.fill(text, width=int(width / (1.35 * CHARACTER)))
