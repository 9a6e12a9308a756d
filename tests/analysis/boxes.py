"""Where the texts, legends and panels of a figure are, in pixels."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

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
