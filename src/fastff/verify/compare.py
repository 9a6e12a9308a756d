"""Two result trees compared table by table, and the comparison in words."""

from __future__ import annotations

import csv
import lzma
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from fastff.tables.read import TidyError, load_table
from fastff.tables.schema import RUN, TIDY
from fastff.verify.means import (
    LEVEL,
    Estimates,
    VerifyError,
    as_stated,
    compare_exactly,
    compare_means,
    compare_runs,
    over_seeds,
    over_shapes,
    rank_test,
    samples_of,
)

SHOWN = 20  # lines per table and kind; `--cells` writes all
CELL = ["left", "right", "difference", "half_width", "verdict"]


class TableName(NamedTuple):
    """What tells a table from the others of its tree.

    Attributes:
        part: `tidy` for tables of runs, `tables` for drawn ones.
        name: `soft_merging/runs` or `soft_merging_comparisons`.
        dataset: what the runs are of. A config that has an experiment on several datasets adds
            this to the experiment's name; here it stands apart, so that the two are the same table.

    """

    part: str
    name: str
    dataset: str

    def __str__(self) -> str:
        return f"{self.part}/{self.name} ({self.dataset})"


@dataclass(frozen=True)
class TableComparison:
    """How one table differs between two trees.

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
    def verdict(self) -> Literal["identical", "within", "different"]:
        """Whether all values are the same, or all means inside their intervals."""
        if self.identical:
            return "identical"
        return "different" if self.faults or len(self.outside) else "within"


@dataclass(frozen=True)
class TreeComparison:
    """How two result trees differ.

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


def tables_of(folder: Path) -> dict[TableName, Path]:
    """Return the tables of a result tree, such as `results/quick` or `results/reference/h100`.

    What is timed (`benchmarks/`) is left out, and so are tables without rows. Where a table is
    there twice, the one that isn't packed counts.

    Raises:
        VerifyError: for a folder that isn't there or holds no such table, and where two experiments
            of one dataset would be taken for the same.

    """
    if not folder.is_dir():
        raise VerifyError(f"{folder}: no such folder")
    found: dict[TableName, Path] = {}
    for path in sorted([*folder.glob("tidy/*/*"), *folder.glob("tables/*")]):
        packed = path.name.endswith(".csv.xz")
        if not (path.name.endswith(".csv") or (packed and not path.with_suffix("").exists())):
            continue
        if (first := _first_row(path)) is not None:
            experiment, dataset = first
            part, *rest = path.relative_to(folder).parts
            stem = "/".join(rest).removesuffix(".xz").removesuffix(".csv")
            short = stem.replace(experiment, experiment.removesuffix(f"_{dataset}"), 1)
            name = TableName(part, short, dataset)
            if name in found:
                raise VerifyError(
                    f"{found[name]} and {path} are of two experiments that differ by the name of "
                    f"their dataset, {dataset}, alone; allowed is one of them"
                )
            found[name] = path
    if not found:
        raise VerifyError(
            f"{folder} is no result tree: it holds no table with rows in tidy/ or tables/"
        )
    return found


def _first_row(path: Path) -> tuple[str, str] | None:
    """Return experiment and dataset of a table's first row; None where it has no rows."""
    rows = csv.DictReader(_read_text(path).splitlines()[:2])
    for column in ("experiment", "dataset"):
        if column not in (rows.fieldnames or ()):
            raise VerifyError(f"{path}: missing column {column}; is it a table of this artifact?")
    first = next(rows, None)
    return None if first is None else (first["experiment"], first["dataset"])


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (lzma.decompress(content) if path.suffix == ".xz" else content).decode()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise VerifyError(f"{path} is not a CSV table: {error}") from None


def compare_trees(left: Path, right: Path) -> TreeComparison:
    """Compare the tables of two result trees, such as `results/paper` and a reference.

    A part that only one of them has (a reference as it was trained has no drawn tables) is noted
    and left out. What is timed is never compared.

    Raises:
        VerifyError: for a folder that is no result tree, a damaged table, or two trees without a
            table in common.

    """
    sides = {folder: tables_of(folder) for folder in (left, right)}
    a, b = sides[left], sides[right]
    parts = {folder: {name.part for name in side} for folder, side in sides.items()}
    both = parts[left] & parts[right]
    shared = sorted(a.keys() & b.keys())
    if not shared:
        said = " and ".join(f"{folder} has {_listed(side)}" for folder, side in sides.items())
        raise VerifyError(f"no table in common: {said}")
    return TreeComparison(
        tables=tuple(_compare(name, a[name], b[name]) for name in shared),
        only_left=tuple(sorted(name for name in a.keys() - b.keys() if name.part in both)),
        only_right=tuple(sorted(name for name in b.keys() - a.keys() if name.part in both)),
        notes=tuple(
            f"{folder} has no tables in {part}/: not compared"
            for part in sorted(parts[left] ^ parts[right])
            for folder in sides
            if part not in parts[folder]
        ),
    )


def _listed(tables: dict[TableName, Path]) -> str:
    """Return the first few experiments or drawn tables, with their datasets."""
    found = sorted({f"{name.name.split('/')[0]} ({name.dataset})" for name in tables})
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return ", ".join(found[:4]) + more


def _compare(name: TableName, left: Path, right: Path) -> TableComparison:
    texts = [_read_text(path) for path in (left, right)]
    notes: list[str] = []
    if texts[0] == texts[1]:
        return TableComparison(name, pd.DataFrame(columns=CELL), identical=True)
    kind = name.name.split("/")[1] if name.part == "tidy" else None
    try:
        tables = (
            [load_table(path.parent, kind) for path in (left, right)]
            if kind
            else [pd.read_csv(StringIO(text)) for text in texts]
        )
    except TidyError as error:
        raise VerifyError(str(error)) from None
    for path, table in zip((left, right), tables, strict=True):
        _require_one_origin(path, table)
    if kind:
        tables, notes = _in_both(kind, tables)
        a, b, cells, faults = compare_tidy(kind, tables)
        faults += _missing_runs(tables) if kind == "runs" else ()
    else:
        a, b = (as_stated(*side) for side in zip(tables, (str(left), str(right)), strict=True))
        cells, faults = compare_means(a.means, b.means), []
    faults += _only_on_one_side(tables, a, b)
    for key, row in compare_exactly(a.exact, b.exact).iterrows():
        faults.append(f"{_describe(key, a.exact)}: {row['left']} against {row['right']}")
    return TableComparison(name, cells, tuple(faults), (*notes, *_notes(tables, a, b)))


def _require_one_origin(path: Path, table: pd.DataFrame) -> None:
    """Raise VerifyError for a table whose rows are of several experiments or datasets."""
    for column in ("experiment", "dataset"):
        found = table[column].unique()
        if len(found) > 1:
            raise VerifyError(
                f"{path}: column {column} has {found[0]!r} and {found[1]!r}; allowed is one of them"
            )


def _in_both(kind: str, tables: list[pd.DataFrame]) -> tuple[list[pd.DataFrame], list[str]]:
    """Return both sides without the recent columns that one of them lacks, and a note of each."""
    left, right = tables
    alone = [column for column in TIDY[kind].recent if (column in left) != (column in right)]
    sides = {column: "left" if column in left else "right" for column in alone}
    notes = [
        f"column {column} is only on the {side}: not compared" for column, side in sides.items()
    ]
    return [table.drop(columns=alone, errors="ignore") for table in tables], notes


class TidyComparison(NamedTuple):
    """How a tidy table differs: both sides' means, the cells, and what ranks say, a line each."""

    a: Estimates
    b: Estimates
    cells: pd.DataFrame
    faults: list[str]

    @property
    def outside(self) -> pd.DataFrame:
        """The cells outside their interval."""
        return self.cells[self.cells["verdict"] == "outside"]


def compare_tidy(kind: str, tables: list[pd.DataFrame]) -> TidyComparison:
    """Compare a tidy table of two trees.

    The chance of a false alarm is shared out evenly among the checks: means of shapes; single runs,
    where values are of a run as a whole and not of its nodes and units, which take each other's
    parts; and for the table of runs, of which the others are parts, also means over shapes, and
    ranks of the seeds by values and by spreads.
    """
    samples = [samples_of(kind, table) for table in tables]
    a, b = over_seeds(samples)
    if kind == "epochs":
        level = (1 + LEVEL) / 2
        checks = [compare_means(a.means, b.means, level), compare_runs(a.means, b.means, level)]
        return TidyComparison(a, b, _joined(checks), [])
    if kind != "runs":
        return TidyComparison(a, b, compare_means(a.means, b.means), [])
    level = 1 - (1 - LEVEL) / 5
    over_all = over_seeds([over_shapes(side) for side in samples])
    checks = [
        compare_means(a.means, b.means, level),
        compare_means(over_all[0].means, over_all[1].means, level),
        compare_runs(a.means, b.means, level),
    ]
    faults = []
    for spreads, what in ((False, "values"), (True, "spreads")):
        test = rank_test(samples, spreads=spreads)
        if test is not None and test.p < 1 - level:
            where = ", ".join(f"{key} {value}" for key, value in test.cell.items())
            faults.append(
                f"{what} of the seeds rank higher on the {test.higher}, most in {where}: "
                f"p = {test.p:.2g}, allowed from {1 - level:.2g}"
            )
    return TidyComparison(a, b, _joined(checks), faults)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([part for part in parts if len(part)] or parts[:1])


def _only_on_one_side(tables: list[pd.DataFrame], a: Estimates, b: Estimates) -> Iterator[str]:
    left, right = (set(table.columns) for table in tables)
    for side, columns in (("left", left - right), ("right", right - left)):
        yield from (f"column {column} is only on the {side}" for column in sorted(columns))
    for side, one, other in (("left", a, b), ("right", b, a)):
        for key in one.exact.index.difference(other.exact.index, sort=False):
            yield f"{_describe(key, one.exact)}: only on the {side}"


def _missing_runs(tables: list[pd.DataFrame]) -> Iterator[str]:
    """Yield the shapes that lack other runs of their side's seeds than on the other side."""
    *shape, seed = RUN
    lacking = [table[seed].nunique() - table.groupby(shape)[seed].nunique() for table in tables]
    for key, row in pd.concat(lacking, axis=1, join="inner", keys=["left", "right"]).iterrows():
        if row["left"] != row["right"]:
            where = ", ".join(f"{name} {value}" for name, value in zip(shape, key, strict=True))
            missing = f"{row['left']} of the seeds on the left, {row['right']} on the right"
            yield f"{where}: lacks {missing}"


def _notes(tables: list[pd.DataFrame], a: Estimates, b: Estimates) -> Iterator[str]:
    left, right = (sorted({int(seed) for seed in table.get("seed", ())}) for table in tables)
    if left != right:
        yield f"seeds {left} against {right}"
    for side, estimates in (("left", a), ("right", b)):
        if (estimates.means["n"] == 1).any():
            yield f"one seed on the {side}: no interval, so only equal values agree"


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
        for found in (table.faults, [*_outside(table)]):
            lines += [f"    {line}" for line in found[:shown]]
            if len(found) > shown:
                lines.append(f"    … and {len(found) - shown} more")
    word = "-" if common else "different"
    lines += [f"{word:<9} {name}: only on the left" for name in comparison.only_left]
    lines += [f"{word:<9} {name}: only on the right" for name in comparison.only_right]
    verdicts = Counter(table.verdict for table in comparison.tables)
    counts = ", ".join(f"{verdicts[v]} {v}" for v in ("identical", "within", "different"))
    alone = len(comparison.only_left) + len(comparison.only_right)
    lines.append(f"{len(comparison.tables)} tables in both: {counts}; {alone} only on one side")
    return "\n".join(lines)


def cell_table(comparison: TreeComparison) -> pd.DataFrame:
    """Return every compared cell of the tables that aren't identical, a row each.

    Columns: `table`, `cell` (its key and column in words), `left`, `right`, `difference` (right
    less left), `low` and `high` of the interval that the difference must be in, `verdict`.
    """
    columns = ["table", "cell", "left", "right", "difference", "low", "high", "verdict"]
    rows = [
        (str(table.name), _describe(key, table.cells), left, right, difference, -half, half, said)
        for table in comparison.tables
        for key, left, right, difference, half, said in table.cells.itertuples()
    ]
    return pd.DataFrame(rows, columns=columns)


def _describe(key: object, indexed: pd.DataFrame) -> str:
    """Return a cell's key in words; what is 0 as the model doesn't have it is left out."""
    names = [name for name in indexed.index.names if name != "column"]
    values = key if isinstance(key, tuple) else (key,)
    words = [
        f"{name} {value}"
        for name, value in zip(names, values, strict=False)  # a column may follow the key
        if (name, value) != ("region_leak", 0)
    ]
    return ", ".join([*words, *values[len(names) :]])


def _summary(table: TableComparison) -> str:
    if table.identical:
        return ""
    n_cells, n_outside = len(table.cells), len(table.outside)
    if n_outside:
        return f": {n_outside} of {n_cells} means and runs outside their interval"
    largest = (table.cells["difference"].abs() / table.cells["half_width"]).max()
    used = "" if pd.isna(largest) else f", the largest difference {largest:.0%} of its half width"
    return f": {n_cells} means and runs in their interval{used}"


def _outside(table: TableComparison) -> Iterator[str]:
    """Yield a line for each mean outside its interval."""
    for key, row in table.outside.iterrows():
        half = row["half_width"]
        interval = "no interval" if pd.isna(half) else f"allowed ±{half:.3g}"
        yield (
            f"{_describe(key, table.cells)}: {row['left']:.6g} against {row['right']:.6g}, "
            f"difference {row['difference']:+.3g}, {interval}"
        )
