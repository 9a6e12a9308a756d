"""A comparison of two result trees in words, and as a table of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from fastff.verify.compare import TableComparison, TreeComparison, describe

SHOWN = 20  # lines per table and kind; `--cells` writes all


def report(comparison: TreeComparison, *, common: bool = False, shown: int = SHOWN) -> str:
    """Return a line per table, below it what differs, and a line of counts.

    Args:
        comparison: of two trees.
        common: tables that only one tree has are listed, but are no difference.
        shown: at most so many rows and cells of a table.

    """
    lines = [*comparison.notes]
    for table in comparison.tables:
        lines.append(f"{table.verdict:<9} {table.name}{_summary(table)}")
        lines += [f"    {note}" for note in table.notes]
        lines += _cut([f"    {fault}" for fault in table.faults], shown)
        lines += _cut([f"    {cell}" for cell in _cells(table)], shown)
    for side, names in (("left", comparison.only_left), ("right", comparison.only_right)):
        lines += [
            f"{'-' if common else 'different':<9} {name}: only on the {side}" for name in names
        ]
    verdicts = Counter(table.verdict for table in comparison.tables)
    alone = len(comparison.only_left) + len(comparison.only_right)
    counts = ", ".join(f"{verdicts[v]} {v}" for v in ("identical", "within", "different"))
    lines.append(f"{len(comparison.tables)} tables in both: {counts}; {alone} only on one side")
    return "\n".join(lines)


def cell_table(comparison: TreeComparison) -> pd.DataFrame:
    """Return every compared cell of the tables that aren't identical, a row each.

    Columns: `table`, `cell` (its key and column in words), `left`, `right`, `difference` (right
    less left), `low` and `high` of the interval that the difference must be in, `verdict`.
    """
    columns = ("table", "cell", "left", "right", "difference", "low", "high", "verdict")
    rows = [
        (str(table.name), describe(key, table.cells), *cell)
        for table in comparison.tables
        for key, *cell in table.cells.assign(
            low=-table.cells["half_width"], high=table.cells["half_width"]
        )[list(columns[2:])].itertuples()
    ]
    return pd.DataFrame(rows, columns=list(columns))


def _summary(table: TableComparison) -> str:
    if table.identical:
        return ""
    n_cells, n_outside = len(table.cells), len(table.outside)
    if n_outside:
        return f": {n_outside} of {n_cells} means outside their interval"
    largest = (table.cells["difference"].abs() / table.cells["half_width"]).max()
    used = "" if pd.isna(largest) else f", the largest difference {largest:.0%} of its half width"
    return f": {n_cells} means in their interval{used}"


def _cells(table: TableComparison) -> Iterator[str]:
    for key, row in table.outside.iterrows():
        interval = (
            "no interval" if pd.isna(row["half_width"]) else f"allowed ±{row['half_width']:.3g}"
        )
        yield (
            f"{describe(key, table.cells)}: {row['left']:.6g} against {row['right']:.6g}, "
            f"difference {row['difference']:+.3g}, {interval}"
        )


def _cut(lines: Sequence[str], shown: int) -> Iterable[str]:
    more = [f"    … and {len(lines) - shown} more"] if len(lines) > shown else []
    return [*lines[:shown], *more]
