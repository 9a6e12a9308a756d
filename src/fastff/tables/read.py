"""Reading tables of the schema: of each file, that it is what analysis relies on."""

from __future__ import annotations

import lzma
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastff.files import ChecksumError, check_sum
from fastff.tables.schema import RUN, TIDY, Table

N_FAILED = "n_failed"  # in the attributes of every tidy table: how many runs have failed
LABEL = "label"  # of a variant, joined to the tidy tables when they are read to be drawn
MISSING = ("", "nan", "NaN")  # a number that a row lacks
MOST = 2**53  # of whole numbers: beyond, a float is one of several
NOT_A_TABLE = (
    *(pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError),
    *(lzma.LZMAError, EOFError),
)


class TidyError(Exception):
    """A table that can't be analysed; the message names the file and the fault."""


@dataclass(frozen=True)
class Tidy:
    """The tables of one experiment that every model has.

    Attributes:
        runs: one row per run, with losses in nats and accuracies as fractions.
        epochs: one row per run and epoch.
            A run that has failed has no scores.
        expert_counts: one row per run that has not failed, counted epoch, tree, expert and class:
            validation samples of that class which the hard form sends to that expert. Without
            rows where no model routes.

    """

    runs: pd.DataFrame
    epochs: pd.DataFrame
    expert_counts: pd.DataFrame


def read_table(file: str | os.PathLike[str], schema: Table) -> pd.DataFrame:
    """Read a CSV table, which may have no rows; columns that the schema lacks stay as they are.

    Raises:
        TidyError: for a file that is missing, empty or not a CSV table, that lacks a column, has
            text in a column of numbers, no whole number where there should be one, or nothing where
            each row must have one, or that is another than the checksum beside it says.

    """
    path = Path(file)
    try:
        check_sum(path)
        # a variant may be called "NA", and a version look like a number
        header = pd.read_csv(path, nrows=0).columns
        options: dict[str, Any] = {
            "dtype": {column: str for column in header if column in schema.texts},
            "na_values": {column: list(MISSING) for column in header if column not in schema.texts},
        }
        table = pd.read_csv(path, keep_default_na=False, **options)
    except OSError as error:
        raise TidyError(f"{path}: {error.strerror}") from None
    except ChecksumError as error:
        raise TidyError(str(error)) from None
    except NOT_A_TABLE as error:
        raise TidyError(f"{path} is not a CSV table: {' '.join(str(error).split())}") from None
    if missing := [column for column in schema.required if column not in table]:
        raise TidyError(
            f"{path}: missing columns: {', '.join(missing)}; found: {', '.join(table.columns)}"
        )
    found = Table(tuple(column for column in schema.columns if column.name in table))
    if table.empty:
        return table.astype(dict.fromkeys(found.numbers, float))
    for column in found.numbers:
        if not pd.api.types.is_numeric_dtype(table[column]):
            odd = table.loc[pd.to_numeric(table[column], errors="coerce").isna(), column].iloc[0]
            raise TidyError(f"{path}: column {column} has {odd!r}; allowed are numbers")
    for column in [one.name for one in found.columns if one.dtype == "integer"]:
        values = table[column].dropna().to_numpy(float)
        odd = values[~((np.abs(values) <= MOST) & (np.floor(values) == values))]
        if odd.size:
            raise TidyError(f"{path}: column {column} has {odd[0]:g}; allowed are whole numbers")
    for column in found.filled:
        if table[column].isna().any():
            row = int(table[column].isna().to_numpy().argmax()) + 1
            raise TidyError(f"{path}: column {column} is empty in row {row}; allowed are numbers")
    return table


def load_tidy(folder: str | os.PathLike[str], labels: Mapping[str, str] | None = None) -> Tidy:
    """Read `runs.csv`, `epochs.csv` and `expert_counts.csv`, or each `.csv.xz`, from a folder.

    Args:
        folder: of an experiment.
        labels: as `load_table` takes them.

    Raises:
        TidyError: for a file that is missing, empty or not a CSV table, that lacks a column, has
            text or nothing in a column of numbers, has a row twice, or speaks of other runs than
            `runs.csv`. Runs of models that don't route need no expert counts.

    """
    runs = load_table(folder, "runs", labels)
    epochs = load_table(folder, "epochs", labels)
    counts = _read(folder, "expert_counts", labels)
    all_runs = _runs(runs)
    routing = _runs(runs[(runs["n_experts"] > 1) & ~failed(runs)])
    counted = _runs(counts)
    for name, odd in (
        ("epochs", all_runs ^ _runs(epochs)),
        ("expert_counts", (counted - all_runs) | (routing - counted)),
    ):
        if odd:
            run = ", ".join(f"{key} {value}" for key, value in zip(RUN, min(odd), strict=True))
            raise TidyError(
                f"{_path(folder, name)} and runs.csv must be about the same runs, "
                f"but only one of them has {run} (and {len(odd) - 1} others)"
            )
    for table in (runs, epochs, counts):
        table.attrs[N_FAILED] = int(failed(runs).sum())
    return Tidy(runs, epochs, counts)


def load_table(
    folder: str | os.PathLike[str],
    name: str,
    labels: Mapping[str, str] | None = None,
    tables: Mapping[str, Table] = TIDY,
    *,
    may_be_empty: bool = False,
) -> pd.DataFrame:
    """Read one of the tables of TIDY or LANGUAGE, `<name>.csv` or else `<name>.csv.xz`.

    It must have rows, since the config says what is recorded, but where every run has failed.

    Args:
        folder: of an experiment.
        name: of the table.
        labels: what to call the variants, in the column `label` that is joined; one that has no
            label is called by its name.
        tables: the schemas, by name.
        may_be_empty: whether it may lack rows.

    Raises:
        TidyError: as `load_tidy` does for one file.

    """
    table = _read(folder, name, labels, tables)
    runs = table
    if name != "runs" and _path(folder, "runs").exists():
        runs = _read(folder, "runs", tables=tables)
    gone = failed(runs)
    if table.empty and not may_be_empty and not (len(gone) and gone.all()):
        raise TidyError(f"{_path(folder, name)} has no rows; at least one run is needed")
    table.attrs[N_FAILED] = int(gone.sum())
    return table


def _path(folder: str | os.PathLike[str], name: str) -> Path:
    """Return a table's file: committed tables are compressed."""
    plain, packed = (Path(folder) / f"{name}{ending}" for ending in (".csv", ".csv.xz"))
    return packed if packed.exists() and not plain.exists() else plain


def _read(
    folder: str | os.PathLike[str],
    name: str,
    labels: Mapping[str, str] | None = None,
    tables: Mapping[str, Table] = TIDY,
) -> pd.DataFrame:
    """Return a tidy table, which may have no rows, with the labels. Raises TidyError."""
    path, keys = _path(folder, name), list(tables[name].keys)
    table = read_table(path, tables[name]).drop(columns=LABEL, errors="ignore")  # of older files
    repeated = table.duplicated(keys)
    if repeated.any():
        row = table.loc[repeated, keys].iloc[0]
        where = ", ".join(f"{key} {value}" for key, value in row.items())
        raise TidyError(f"{path}: two rows for {where}; allowed is one")
    place = tables[name].header.index("variant") + 1
    shown = [(labels or {}).get(variant, variant) for variant in table["variant"]]
    table.insert(place, LABEL, shown)
    return table


def _runs(table: pd.DataFrame) -> set[tuple[Any, ...]]:
    keys = table[list(RUN)].drop_duplicates()
    return set(keys.itertuples(index=False, name=None))


def failed(table: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows of a table are of runs that have failed, by then: a mask."""
    for column in ("failed_epoch", "failed_step"):
        if column in table:
            return table[column].notna()
    if "train_loss" in table:  # the table of epochs
        return table["train_loss"].isna()
    return pd.Series(False, index=table.index)
