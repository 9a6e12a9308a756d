"""Runs whose loss became NaN or infinite: counted, named and shown, never averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fastff.analysis.style import CENTRE, TWO_COLUMNS, theme, wrap
from fastff.tables.read import N_FAILED, Tidy, failed

NOTHING = "Every run failed: the loss became NaN or infinite."
MOST_NAMED = 5


def count_failed(table: pd.DataFrame) -> int:
    """Return how many runs have failed of those that a table is of."""
    rows = table[failed(table)]
    if rows.empty:
        return int(table.attrs.get(N_FAILED, 0))
    keys = [key for key in ("variant", "depth", "hidden_features", "region_leak") if key in rows]
    return len(rows[[*keys, "seed"]].drop_duplicates())


def say_failed(table: pd.DataFrame) -> str:
    """Return `1 run failed` or `3 runs failed`, and nothing where none has."""
    n_failed = count_failed(table)
    return f"{n_failed} {'run' if n_failed == 1 else 'runs'} failed" if n_failed else ""


def describe_failed(runs: pd.DataFrame) -> str:
    """Return a sentence that names the runs that have failed, nothing where none has."""
    rows = runs[failed(runs)]
    if rows.empty:
        return ""
    named = [_name(row) for row in rows.head(MOST_NAMED).to_dict("records")]
    more = f"; and {len(rows) - MOST_NAMED} others" if len(rows) > MOST_NAMED else ""
    return (
        f" {say_failed(runs)}, the loss being NaN or infinite, and have no scores: "
        f"{'; '.join(named)}{more}. A mean over seeds is left out where one of them is missing."
    )


def _name(row: dict[Any, Any]) -> str:
    where = row["label"]
    where += f", depth {row['depth']}" if row["depth"] else ""
    where += f", {row['hidden_features']} hidden units" if row["hidden_features"] else ""
    where += f", region leak {row['region_leak']:g}" if row["region_leak"] else ""
    last = row.get("last_loss")
    loss = "" if last is None or pd.isna(last) else f", last finite loss {last:.3g}"
    return f"{where}, seed {row['seed']} (epoch {row['failed_epoch']:g}{loss})"


def first_seed(runs: pd.DataFrame) -> int:
    """Return the first seed of which no run has failed, or else the first of all."""
    broken = set(runs.loc[failed(runs), "seed"])
    whole = [seed for seed in runs["seed"].unique() if seed not in broken]
    return int(min(whole or runs["seed"]))


def unless_all_failed(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Make a function draw a note in place of its figure where every run has failed."""

    @wraps(draw)
    def drawn(*arguments: Any, **options: Any) -> Figure:
        if not _nothing_is_left(arguments):
            return draw(*arguments, **options)
        return draw_note(NOTHING, str(options.get("title", arguments[-1])))

    return drawn


def draw_note(note: str, title: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    with theme():
        figure = Figure(figsize=(TWO_COLUMNS, 1.5), layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        axes.annotate(note, **CENTRE)
        figure.suptitle(wrap(title, TWO_COLUMNS, heading=True))
    return figure


def said_unless_all_failed(describe: Callable[..., str]) -> Callable[..., str]:
    """Make a function say so where every run has failed."""

    @wraps(describe)
    def said(*arguments: Any, **options: Any) -> str:
        return NOTHING if _nothing_is_left(arguments) else describe(*arguments, **options)

    return said


def _nothing_is_left(arguments: Iterable[Any]) -> bool:
    tables = [x.runs if isinstance(x, Tidy) else x for x in arguments]
    tables = [table for table in tables if isinstance(table, pd.DataFrame)]
    return any(failed(t).all() and (len(t) > 0 or count_failed(t) > 0) for t in tables)
