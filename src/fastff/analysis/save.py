"""Writing figures so that the same figure is the same bytes, whoever draws it and when."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from fastff.analysis.style import theme
from fastff.files import atomic_path

# Nothing of the time or the library's version; `None` leaves the entry out.
METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
DOTS_PER_INCH = 300


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
