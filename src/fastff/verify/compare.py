"""Two result trees, table by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

import pandas as pd

from fastff.tables.read import TidyError, load_table
from fastff.verify.estimates import Estimates, as_stated, over_seeds, steps_of
from fastff.verify.intervals import LEVEL, compare_exactly, compare_means
from fastff.verify.samples import Samples, over_shapes, samples_of
from fastff.verify.trees import TableName, VerifyError, read_text, tables_of

Verdict = Literal["identical", "within", "different"]


@dataclass(frozen=True)
class TableComparison:
    """What two trees say in one table.

    Attributes:
        name: the table.
        cells: the means that were compared, as `compare_means` returns them; empty where the
            tables are identical.
        faults: what else differs, a line each.
        notes: what a reader must know to judge the intervals, a line each.

    """

    name: TableName
    cells: pd.DataFrame
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    identical: bool = False

    @property
    def outside(self) -> pd.DataFrame:
        """The cells outside their interval."""
        return self.cells[self.cells["verdict"] == "outside"]

    @property
    def verdict(self) -> Verdict:
        """Whether all values are the same, or all means inside their intervals."""
        if self.identical:
            return "identical"
        return "different" if self.faults or len(self.outside) else "within"


@dataclass(frozen=True)
class TreeComparison:
    """What two result trees say.

    Attributes:
        tables: those that both have.
        only_left: tables of the first alone.
        only_right: tables of the second alone.
        notes: parts that only one of them has at all.

    """

    tables: tuple[TableComparison, ...]
    only_left: tuple[TableName, ...]
    only_right: tuple[TableName, ...]
    notes: tuple[str, ...]

    def agrees(self, *, common: bool) -> bool:
        """Return whether no table differs and, unless `common`, none is in one tree only."""
        alone = () if common else (*self.only_left, *self.only_right)
        return not alone and all(table.verdict != "different" for table in self.tables)


def compare_trees(left: Path, right: Path) -> TreeComparison:
    """Compare the tables of two result trees, such as `results/paper` and a reference.

    A part that only one of them has (a reference as it was trained has no drawn tables) is noted
    and left out. What is timed is never compared.

    Raises:
        VerifyError: for a folder that is no result tree, a damaged table, or two trees without a
            table in common.

    """
    sides = [tables_of(folder) for folder in (left, right)]
    parts = [{name.part for name in side} for side in sides]
    both = parts[0] & parts[1]
    notes = [
        f"{folder} has no tables in {part}/: not compared"
        for part in sorted(parts[0] ^ parts[1])
        for folder, has in zip((left, right), parts, strict=True)
        if part not in has
    ]
    names = [{name for name in side if name.part in both} for side in sides]
    shared = sorted(names[0] & names[1])
    if not shared:
        said = " and ".join(
            f"{folder} has {_listed(side)}"
            for folder, side in zip((left, right), sides, strict=True)
        )
        raise VerifyError(f"no table in common: {said}")
    return TreeComparison(
        tables=tuple(_compare(name, sides[0][name], sides[1][name]) for name in shared),
        only_left=tuple(sorted(names[0] - names[1])),
        only_right=tuple(sorted(names[1] - names[0])),
        notes=tuple(notes),
    )


def _listed(tables: dict[TableName, Path]) -> str:
    """Return experiments or drawn tables with their datasets, the first few of them."""
    found = sorted({f"{name.name.split('/')[0]} ({name.dataset})" for name in tables})
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return ", ".join(found[:4]) + more


def _compare(name: TableName, left: Path, right: Path) -> TableComparison:
    texts = [read_text(path) for path in (left, right)]
    if texts[0] == texts[1]:
        empty = pd.DataFrame(columns=["left", "right", "difference", "half_width", "verdict"])
        return TableComparison(name, empty, identical=True)
    if name.part == "tidy":
        a, b, cells = _tidy(name, left, right)
    else:
        a, b = (
            as_stated(pd.read_csv(StringIO(text)), str(path))
            for text, path in zip(texts, (left, right), strict=True)
        )
        cells = compare_means(a.means, b.means)
    faults = [*_columns_alone(a, b), *_rows_alone(a, b)]
    for key, row in compare_exactly(a.exact, b.exact).iterrows():
        faults.append(f"{describe(key, a.exact)}: {row['left']} against {row['right']}")
    return TableComparison(name, cells, tuple(faults), tuple(_notes(a, b)))


def _tidy(name: TableName, left: Path, right: Path) -> tuple[Estimates, Estimates, pd.DataFrame]:
    """Return both sides' means of a tidy table, and their cells.

    Of runs, half of the chance of a false alarm goes to single shapes, and half to means over them.
    """
    table = name.name.split("/")[1]
    try:
        tables = [load_table(path.parent, table) for path in (left, right)]
    except TidyError as error:
        raise VerifyError(str(error)) from None
    samples = [samples_of(table, rows) for rows in tables]
    a, b = _estimates(samples, tables)
    if table != "runs":
        return a, b, compare_means(a.means, b.means)
    level = (1 + LEVEL) / 2
    c, d = _estimates([over_shapes(side) for side in samples], tables)
    cells = [compare_means(x.means, y.means, level) for x, y in ((a, b), (c, d))]
    return a, b, pd.concat([part for part in cells if len(part)])


def _estimates(samples: Sequence[Samples], tables: Sequence[pd.DataFrame]) -> list[Estimates]:
    steps = steps_of(*samples)
    return [
        over_seeds(side, frozenset(rows.columns), steps)
        for side, rows in zip(samples, tables, strict=True)
    ]


def describe(key: object, indexed: pd.DataFrame) -> str:
    """Return a cell's key in words; what is 0 as the model doesn't have it is left out."""
    names = [name for name in indexed.index.names if name != "column"]
    values = key if isinstance(key, tuple) else (key,)
    words = [
        f"{name} {value}"
        for name, value in zip(names, values, strict=False)  # a column may follow the key
        if (name, value) != ("region_leak", 0)
    ]
    return ", ".join([*words, *values[len(names) :]])


def _columns_alone(a: Estimates, b: Estimates) -> list[str]:
    faults = [f"column {column} is only on the left" for column in sorted(a.columns - b.columns)]
    return faults + [
        f"column {column} is only on the right" for column in sorted(b.columns - a.columns)
    ]


def _rows_alone(a: Estimates, b: Estimates) -> list[str]:
    faults = []
    for side, one, other in (("left", a, b), ("right", b, a)):
        for key in one.exact.index.difference(other.exact.index, sort=False):
            faults.append(f"{describe(key, one.exact)}: only on the {side}")
    return faults


def _notes(a: Estimates, b: Estimates) -> list[str]:
    notes = []
    if a.seeds != b.seeds:
        notes.append(f"seeds {sorted(a.seeds)} against {sorted(b.seeds)}")
    for side, estimates in (("left", a), ("right", b)):
        if (estimates.means["n"] == 1).any():
            notes.append(f"one seed on the {side}: no interval, so only equal values agree")
    return notes
