"""Times of single operations: reading a benchmark's tables, and ratios between its variants."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from fastff.config.timed_forms import TIMED_FORMS
from fastff.tables.read import read_table
from fastff.tables.schema import PROCESS, TIMINGS

DEVICES = {"cpu": "CPU", "cuda": "CUDA device"}
POINT = ["case", "variant", "dtype", "batch", "depth", "hidden_features", "top_k"]
OF_PROCESS = "median_us_"  # and its number: the column of its medians beside those over processes


@dataclass(frozen=True)
class Timings:
    """What a benchmark measured on one kind of device.

    Attributes:
        rows: a row per point and mode, with `width`: the hidden units of all experts together, and
            `over_roofline`. Where there are several processes, a time is the median over them of
            their medians, `q25_us` the least and `q75_us` the most, and `median_us_<process>` that
            of each.
        device: "cpu" or "cuda".
        is_reference: whether the rows were measured on another machine, not by this run.
        n_processes: that measured them.

    """

    rows: pd.DataFrame
    device: str
    is_reference: bool = False
    n_processes: int = 1

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
                n_processes = rows[PROCESS].nunique()
                return Timings(_over_processes(rows), device, is_reference, n_processes)
    return Timings(_completed(pd.DataFrame(columns=list(TIMINGS.header))), device)


def read_times(file: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a benchmark's table, a row per point, mode and process, with two more columns.

    `width` are the hidden units of all experts together, `over_roofline` is the time over its
    roofline. Forms have today's labels, and a table of an earlier version is of process 0.

    Raises:
        TidyError: for a file that can't be read, lacks a column or has text for a number.

    """
    table = read_table(file, TIMINGS)
    return _completed(table if PROCESS in table else table.assign(**{PROCESS: 0}))


def _completed(table: pd.DataFrame) -> pd.DataFrame:
    forms = {form: label for op in TIMED_FORMS.values() for form, label in op.items()}
    return table.assign(
        label=table["variant"].map(forms).fillna(table["label"]),
        width=table["n_experts"] * table["hidden_features"],
        over_roofline=table["median_us"] / table["roofline_us"],
    )


def _over_processes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that `Timings` has: of one process as they are."""
    if rows[PROCESS].nunique() == 1:
        return rows
    points = [*POINT, "mode"]
    measured = [*points, PROCESS]  # several times where points share a variant's shape
    rows = rows.loc[rows.groupby(measured, sort=False)["median_us"].idxmin()]
    times = rows.pivot(index=points, columns=PROCESS, values="median_us")
    groups = rows.drop(columns=PROCESS).groupby(points, sort=False)
    found = groups.first()
    found["q25_us"], found["q75_us"] = groups["median_us"].min(), groups["median_us"].max()
    for column in ("median_us", "roofline_us", "over_roofline", "peak_bytes"):
        found[column] = groups[column].median()
    return found.join(times.add_prefix(OF_PROCESS)).reset_index()


def fastest_modes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return of every variant and point the mode with the least median."""
    return rows.loc[rows.groupby(POINT, sort=False)["median_us"].idxmin()]


def compare_times(
    timings: Iterable[Timings],
    treatment: str,
    on: Sequence[str],
    *,
    baselines: Sequence[str] | None = None,
    cases: Sequence[str] = (),
) -> pd.DataFrame:
    """Return how many times faster a variant is than others at the same point, a row for each.

    Of several modes the fastest counts. `ratio` is the baseline's median over the treatment's,
    `ratio_low` and `ratio_high` are of the nearest and the farthest quartiles. Where there are
    several processes, `ratio` is the median of the ratios within a process, and the others are the
    least and the most of these. `over_roofline` is the treatment's time over its roofline.

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
    compared = pd.DataFrame(
        {
            "device": both["device"],
            **{column: both[column] for column in on},
            "treatment": both["variant"],
            "treatment_label": both["label"],
            "treatment_us": both["median_us"],
            "over_roofline": both["over_roofline"],
            "baseline": both["variant_baseline"],
            "baseline_label": both["label_baseline"],
            "baseline_us": both["median_us_baseline"],
            "ratio": both["median_us_baseline"] / both["median_us"],
            "ratio_low": both["q25_us_baseline"] / both["q75_us"],
            "ratio_high": both["q75_us_baseline"] / both["q25_us"],
        }
    )
    times = [column for column in rows if column.startswith(OF_PROCESS)]
    if times:
        ratios = pd.DataFrame({time: both[f"{time}_baseline"] / both[time] for time in times})
        compared["ratio"] = ratios.median(axis="columns")
        compared["ratio_low"] = ratios.min(axis="columns")
        compared["ratio_high"] = ratios.max(axis="columns")
    return compared.dropna(subset="ratio")  # where no process has both


def describe_times(comparison: pd.DataFrame, on: Sequence[str]) -> str:
    """Return a line per device, dtype and baseline: the least and the largest ratio, and where."""
    keys = [key for key in ("device", "dtype", "baseline_label") if key in comparison]
    lines = []
    for values, rows in comparison.groupby(keys, sort=False):
        least, most = rows.loc[rows["ratio"].idxmin()], rows.loc[rows["ratio"].idxmax()]
        where = ", ".join(str(value) for value in values[:-1])
        places = [
            f"{row['ratio']:.3g} times faster "
            f"({', '.join(f'{key} {row[key]}' for key in on if key != 'dtype')})"
            for row in (least, most)
        ]
        name = rows["treatment_label"].iloc[0]
        lines.append(f"- {where}: {name} against {values[-1]} is {places[0]} to {places[1]}.")
    return "\n".join(lines) or "Nothing was measured."
