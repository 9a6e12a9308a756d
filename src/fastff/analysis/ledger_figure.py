"""The ledger as a figure: each effect as a share of the published one, turned to support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from fastff.analysis.ledger import VERDICTS
from fastff.analysis.style import CENTRE, LIMIT, TWO_COLUMNS, ZERO, log_ticks, theme, wrap
from fastff.tables.format import show_digits

ROW_HEIGHT, PANEL_HEIGHT = 0.106, 0.42  # inches of a claim, and of a panel's own axis and title
ABOVE, BELOW = 0.72, 0.36  # inches for title and legend, and for the last axis and the note
# Inches from the left: where panels begin and end, and where the columns of text begin.
START, END, HERE, PUBLISHED = 2.62, 4.25, 4.33, 6.4
SHOWN = VERDICTS[:4]
MARKERS = dict(zip(SHOWN, "oDvs", strict=True))
# colour-blind safe; grey decides nothing
COLOURS = dict(zip(SHOWN, ("#0173b2", "#56b4e9", "#949494", "#d55e00"), strict=True))
LINEAR = 2.0  # shares up to here are drawn linearly, larger ones logarithmically
SHARES = (-5, -2, -1, 0, 1, 2, 5, 20)
SCALED = "Share of the published effect (1: as published; right supports the claim)"
TIMED = "Speed-up over the published one (bar: where neither is faster)"
CROSSED = "Depth from which on one gate is faster than another"


def draw_ledger(table: pd.DataFrame, title: str) -> Figure:
    """Return the figure of the replications: a row per claim, with its effect as text.

    Each has the share of the published effect that was measured, turned so that right supports the
    claim. Of a claim that two sides are equal it is the share of the margin that is left, 1 where
    there is no difference. Where no replication has an effect, the other claims that have a
    published value are drawn; those about time are in `draw_ledger_times`.

    Args:
        table: what `load_ledger` returned.
        title: what the figure shows.

    """
    effects = table[table["effect"].notna() & (table["device"] == "")]
    effects = effects[shares(effects).notna().all(axis=1)]
    replications = table[table["kind"] == "replication"]
    drawn = effects[effects["kind"] == "replication"]
    if drawn.empty:
        counted = f"{len(effects)} claims with a published value, no replication among them"
        return _draw([effects], title, counted, "interval for the mean over seeds")
    counted = f"{len(replications)} replications, {len(replications) - len(drawn)} not tested"
    return _draw([drawn], title, counted, "interval for the mean over seeds")


def draw_ledger_times(table: pd.DataFrame, title: str) -> Figure:
    """Return the figure of claims about time: a row per speed, and per depth of a crossing.

    Of speeds it has those of which one was published, over that one.

    Args:
        table: what `load_ledger` returned.
        title: what the figure shows.

    """
    speeds = table[(table["unit"] == "×") & table["published_value"].notna()]
    crossings = table[(table["unit"] == "depth") & (table["verdict"] != VERDICTS[4])]
    counted = f"speed-ups: {len(speeds)}; crossings: {len(crossings)}"
    return _draw([speeds, crossings], title, counted, "interval over processes")


def _draw(groups: Sequence[pd.DataFrame], title: str, counted: str, bars: str) -> Figure:
    """Return a figure with a panel per group that has rows, and the verdicts counted above."""
    shown = [group for group in groups if len(group)]
    heights = [len(group) * ROW_HEIGHT for group in shown] or [1.0]
    height = ABOVE + BELOW + sum(heights) + PANEL_HEIGHT * (len(heights) - 1)
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, height))
        panels, top = [], height - ABOVE
        for rows in heights:  # rows of text have one height, so no layout is left to an engine
            bottom = top - rows
            box = (START / TWO_COLUMNS, bottom / height, (END - START) / TWO_COLUMNS, rows / height)
            panels.append(figure.add_axes(box))
            top = bottom - PANEL_HEIGHT
        for axes, group in zip(panels, shown, strict=False):
            _write(axes, group)
            if (group["unit"] == "depth").all():
                axes.xaxis.set_visible(False)
                axes.spines[:].set_visible(False)
                _name(axes, CROSSED)
            elif (group["unit"] == "×").all():
                _draw_speeds(axes, group)
            else:
                _draw_shares(axes, group)
        if not shown:
            panels[0].annotate("no claim is tested by these results", **CENTRE)
            panels[0].set_axis_off()
        verdicts = pd.concat(groups)["verdict"].value_counts()
        figure.suptitle(wrap(title, TWO_COLUMNS, heading=True), y=1 - 0.04 / height, va="top")
        figure.legend(
            handles=[
                Line2D([], [], marker=MARKERS[verdict], color=COLOURS[verdict],
                       label=f"{verdicts.get(verdict, 0)} {verdict}")
                for verdict in SHOWN
            ],
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - 0.18 / height),
            ncols=len(SHOWN),
            title=counted,
        )  # fmt: skip
        figure.supxlabel(f"bars: {bars}", y=0.03 / height, va="bottom")
    return figure


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `effect`, `low` and `high` as shares of the published effect, right supporting.

    Of an equivalence, as the share of its margin that is left. NaN without a published value.
    """
    values = rows[["effect", "low", "high"]]
    signs = rows["expects"].map({"higher": 1.0, "lower": -1.0})
    scaled = values.mul(signs / rows["published_value"].abs(), axis=0)
    inside = values["low"] * values["high"] <= 0
    sizes = values.abs()
    least = sizes[["low", "high"]].min(axis=1).mask(inside, 0.0)
    nearest = pd.DataFrame({"effect": sizes["effect"], "low": least, "high": sizes.max(axis=1)})
    left = 1 - nearest.div(rows["margin"], axis=0)
    return scaled.where(rows["expects"] != "equal", left)


def _draw_shares(axes: Axes, rows: pd.DataFrame) -> None:
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=1.5)
    _draw_rows(axes, rows, shares(rows))
    axes.axvline(0, **ZERO)
    axes.axvline(1, **LIMIT)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(FixedLocator([x for x in SHARES if low <= x <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _name(axes, SCALED)


def _draw_speeds(axes: Axes, rows: pd.DataFrame) -> None:
    axes.set_xscale("log")
    _draw_rows(axes, rows, rows[["effect", "low", "high"]].div(rows["published_value"], axis=0))
    places = range(len(rows))
    axes.plot(1 / rows["published_value"], places, "|", color="0.25", markersize=7, mew=1.0)
    axes.axvline(1, **LIMIT)
    log_ticks(axes.xaxis)
    _name(axes, TIMED)


def _draw_rows(axes: Axes, rows: pd.DataFrame, values: pd.DataFrame) -> None:
    drawn = zip(rows["verdict"], values.itertuples(index=False), strict=True)
    for place, (verdict, (effect, low, high)) in enumerate(drawn):
        colour = COLOURS[verdict]
        axes.plot([low, high], [place, place], color=colour)
        axes.plot(effect, place, color=colour, marker=MARKERS[verdict])
    axes.grid(visible=True, axis="x")


def _write(axes: Axes, rows: pd.DataFrame) -> None:
    """Write each claim at the left of its row, and at the right what was found and published."""
    axes.set_yticks(range(len(rows)), [text[:1].upper() + text[1:] for text in rows["short"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for place, row in enumerate(rows.to_dict("records")):
        _write_beside(axes, place, _here(row), _published(row))
        if row["unit"] == "depth":
            colour, marker = COLOURS[row["verdict"]], MARKERS[row["verdict"]]
            transform = axes.get_yaxis_transform()
            axes.plot(0.5, place, color=colour, marker=marker, transform=transform)


def _write_beside(axes: Axes, place: float, *texts: str, **keywords: Any) -> None:
    """Write into the columns of text at the right of a panel."""
    for start, text in zip((HERE, PUBLISHED), texts, strict=True):
        x = (start - START) / (END - START)
        axes.text(x, place, text, transform=axes.get_yaxis_transform(), va="center", **keywords)


def _name(axes: Axes, name: str) -> None:
    """Write above a panel what it shows, and what the columns of text are."""
    x = -(START - 0.05) / (END - START)
    axes.text(x, -1.2, name, transform=axes.get_yaxis_transform(), va="center", style="italic")
    _write_beside(axes, -1.2, "here", "published", style="italic")


def _here(row: dict[Any, Any]) -> str:
    if row["unit"] == "depth":
        return "never" if np.isnan(row["effect"]) else f"from depth {row['effect']:g}"
    if row["unit"] == "×":
        return f"{row['effect']:.3g}× [{show_digits(row['low'])}, {show_digits(row['high'])}]"
    unit = str(row["unit"]).replace(" per 1", " per step").replace(" per ", "/")
    return f"{row['effect']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}] {unit}"


def _published(row: dict[Any, Any]) -> str:
    if row["unit"] == "depth":
        text = str(row["published"]).split(";")[0].split(",")[0]
        return text.split(" up to ")[0].removeprefix("from ")
    return (
        f"{row['published_value']:.3g}×" if row["unit"] == "×" else f"{row['published_value']:+.3g}"
    )
