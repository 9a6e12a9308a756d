"""Where the parts of a figure are, in pixels, and the rules that every figure keeps to."""

import re
from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from fastff.analysis.style import TWO_COLUMNS
from fastff.config.display import DISPLAYED

IDENTIFIER = re.compile(rf"\b(?:{'|'.join(DISPLAYED)}|[a-z0-9]+_[a-z0-9_]+)\b")
SMALLEST = 6.5  # points of a letter, printed
MOST_LEGEND = 0.15  # of a figure's height
TOUCH = 1.0  # pixels that two boxes may share


def measure(figure: Figure) -> tuple[list[tuple[str, Bbox]], list[Bbox], list[Bbox]]:
    """Return (text, box) of everything written, the boxes of legends, and those of panels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    outside = [figure._suptitle, figure._supylabel, figure._supxlabel]
    texts = [text for text in outside if text is not None]
    for legend in figure.legends:
        texts += [legend.get_title(), *legend.get_texts()]
    for axes in figure.axes:
        if not axes.axison:
            continue
        # ticks beyond the limits have labels too, which are not drawn
        ticks = [
            tick.label1
            for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
            for tick in axis.get_major_ticks()
            if limits[0] <= tick.get_loc() <= limits[1] and tick.label1.get_visible()
        ]
        titles = [axes.title, axes._left_title, axes._right_title]
        texts += [*ticks, *titles, *axes.texts, axes.xaxis.label, axes.yaxis.label]
    written = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in texts
        if text.get_visible() and text.get_text()
    ]
    legends = [legend.get_window_extent(renderer) for legend in figure.legends]
    return written, legends, [axes.get_window_extent(renderer) for axes in figure.axes]


def overlap(first: Bbox, second: Bbox) -> bool:
    shared = Bbox.intersection(first, second)
    return shared is not None and shared.width > TOUCH and shared.height > TOUCH


def faults(figure: Figure) -> list[str]:
    """Return what a reader would stumble over: texts on each other, outside, legends on data."""
    written, legends, panels = measure(figure)
    found = [f"{a!r} on {b!r}" for (a, x), (b, y) in combinations(written, 2) if overlap(x, y)]
    page = figure.bbox
    for text, box in written:
        if box.x0 < -TOUCH or box.y0 < -TOUCH or box.x1 > page.x1 + TOUCH or box.y1 > page.y1:
            found.append(f"{text!r} leaves the page")
    found += ["a legend on a panel" for box in legends if any(overlap(box, p) for p in panels)]
    return found


def breaches(figure: Figure, seen: dict[str, str]) -> list[str]:
    """Return where a figure breaks the rules for all figures.

    Args:
        figure: that is saved, its layout settled.
        seen: the colour of each legend entry in earlier figures; those of this one are added.

    """
    printed = min(1.0, TWO_COLUMNS / figure.get_figwidth())
    found = []
    for text in figure.findobj(Text):
        words = text.get_text()
        if not words.strip() or not text.get_visible():
            continue
        if names := IDENTIFIER.findall(words):
            found.append(f"{words!r} has the identifier {names[0]}")
        if text.get_fontsize() * printed < SMALLEST:
            found.append(f"{words!r} is printed at {text.get_fontsize() * printed:.1f} points")
    _, legends, _ = measure(figure)
    for legend, box in zip(figure.legends, legends, strict=True):
        beside = box.height > box.width  # a column of its own takes no height of the panels
        if box.height > MOST_LEGEND * figure.bbox.height and not beside:
            found.append(f"a legend takes {box.height / figure.bbox.height:.0%} of the height")
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            if hasattr(handle, "get_color") and not text.get_text().isdigit():
                colour = to_hex(handle.get_color())
                if seen.setdefault(text.get_text(), colour) != colour:
                    found.append(
                        f"{text.get_text()!r} is {colour}, elsewhere {seen[text.get_text()]}"
                    )
    return found
