"""Times of single operations: reading a benchmark's tables, and ratios between its variants."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from fastff.tables.read import read_table
from fastff.tables.schema import TIMINGS

DEVICES = {"cpu": "CPU", "cuda": "CUDA device"}


@dataclass(frozen=True)
class Timings:
    """What a benchmark measured on one kind of device.

    Attributes:
        rows: of its table, with `width`: the hidden units of all experts together.
        device: "cpu" or "cuda".
        is_reference: whether the rows were measured on another machine, not by this run.

    """

    rows: pd.DataFrame
    device: str
    is_reference: bool = False

    def of(self, *cases: str, **values: object) -> pd.DataFrame:
        """Return the rows of some cases, and with these values in these columns."""
        rows = self.rows[self.rows["case"].isin(cases)] if cases else self.rows
        for column, value in values.items():
            rows = rows[rows[column] == value]
        return rows

    def heading(self, title: str) -> str:
        """Return a figure's title: what is shown, and on which machine it was measured."""
        if self.rows.empty:
            return f"{title} · {DEVICES[self.device]}"
        machine = self.rows["device_name"].iloc[0]
        threads = self.rows["threads"].iloc[0]
        if self.device == "cpu":
            machine += f", {threads} {'thread' if threads == 1 else 'threads'} used"
        return f"{title} · {machine}{' · reference result' if self.is_reference else ''}"


def load_timings(
    measured: Sequence[str | os.PathLike[str]],
    references: Sequence[str | os.PathLike[str]],
    device: str,
) -> Timings:
    """Return a benchmark's rows of a device: measured ones, where there are none those referred to.

    Args:
        measured: tables that this run wrote.
        references: committed tables of named machines, of which the first with rows is taken.
        device: "cpu" or "cuda".

    Raises:
        TidyError: for a file that can't be read, lacks a column or has text for a number.

    """
    for paths, is_reference in ((measured, False), (references, True)):
        for path in paths:
            table = read_times(path)
            rows = table[table["device"] == device].reset_index(drop=True)
            if not rows.empty:
                return Timings(rows, device, is_reference)
    return Timings(_with_width(pd.DataFrame(columns=list(TIMINGS.header))), device)


def read_times(file: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a benchmark's table, with `width`: the hidden units of all experts together.

    Raises:
        TidyError: for a file that can't be read, lacks a column or has text for a number.

    """
    return _with_width(read_table(file, TIMINGS))


def _with_width(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(width=table["n_experts"] * table["hidden_features"])


def fastest_modes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return of every variant and point the mode with the least median."""
    point = ["case", "variant", "dtype", "batch", "depth", "hidden_features", "top_k"]
    return rows.loc[rows.groupby(point, sort=False)["median_us"].idxmin()]


def compare_times(
    timings: Iterable[Timings],
    treatment: str,
    on: Sequence[str],
    *,
    baselines: Sequence[str] | None = None,
    cases: Sequence[str] = (),
) -> pd.DataFrame:
    """Return how many times less a variant takes than others at the same point, a row for each.

    Of several modes the fastest counts. `ratio` is the baseline's median over the treatment's,
    `ratio_low` and `ratio_high` are of the nearest and the farthest quartiles, `over_roofline` is
    the treatment's time over its roofline.

    Args:
        timings: of one benchmark, by device.
        treatment: a variant.
        on: the columns that make a point.
        baselines: other variants, or None for the fastest of the others at each point.
        cases: which are compared; by default all.

    """
    return pd.concat(
        [_compare(fastest_modes(one.of(*cases)), treatment, on, baselines) for one in timings],
        ignore_index=True,
    )


def _compare(
    rows: pd.DataFrame, treatment: str, on: Sequence[str], baselines: Sequence[str] | None
) -> pd.DataFrame:
    ours = rows[rows["variant"] == treatment]
    others = rows[rows["variant"] != treatment]
    if baselines is None:
        others = others.loc[others.groupby(list(on), sort=False)["median_us"].idxmin()]
    else:
        others = others[others["variant"].isin(baselines)]
    both = ours.merge(others, on=list(on), suffixes=("", "_baseline"))
    return pd.DataFrame(
        {
            "device": both["device"],
            **{column: both[column] for column in on},
            "treatment": both["variant"],
            "treatment_label": both["label"],
            "treatment_us": both["median_us"],
            "over_roofline": both["median_us"] / both["roofline_us"],
            "baseline": both["variant_baseline"],
            "baseline_label": both["label_baseline"],
            "baseline_us": both["median_us_baseline"],
            "ratio": both["median_us_baseline"] / both["median_us"],
            "ratio_low": both["q25_us_baseline"] / both["q75_us"],
            "ratio_high": both["q75_us_baseline"] / both["q25_us"],
        }
    )


def describe_times(comparison: pd.DataFrame, on: Sequence[str]) -> str:
    """Return a line per device, dtype and baseline: the least and the largest ratio, and where."""
    keys = [key for key in ("device", "dtype", "baseline_label") if key in comparison]
    lines = []
    for values, rows in comparison.groupby(keys, sort=False):
        least, most = rows.loc[rows["ratio"].idxmin()], rows.loc[rows["ratio"].idxmax()]
        where = ", ".join(str(value) for value in values[:-1])
        places = [
            f"{row['ratio']:.3g} times less "
            f"({', '.join(f'{key} {row[key]}' for key in on if key != 'dtype')})"
            for row in (least, most)
        ]
        name = rows["treatment_label"].iloc[0]
        lines.append(f"- {where}: {name} against {values[-1]} takes {places[0]} to {places[1]}.")
    return "\n".join(lines) or "Nothing was measured."
