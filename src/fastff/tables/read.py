"""Reading the tidy tables of one experiment, with the checks that analysis relies on."""

from __future__ import annotations

import lzma
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fastff.tables.schema import OTHER_SCORES, SCORES, SHAPE, SIZES

TEXT = ("experiment", "dataset", "variant", "label")
NAMES = (*TEXT, "part")
RUN = ("variant", *SHAPE, "seed")
HEAD = (*TEXT, *SHAPE, "n_experts", "seed")
RECIPE = ("epochs", "best_epoch", "batch_size", "learning_rate")

# The columns that must be there, and those that tell a row from the others; more may be there.
COLUMNS = {
    "runs": (*HEAD, *SIZES, *RECIPE, *SCORES, *OTHER_SCORES),
    "epochs": (*HEAD, "epoch", *SCORES),
    "expert_counts": (*HEAD, "epoch", "tree", "expert", "class", "count"),
    "gradients": (*HEAD, "step", "part", "unit", "magnitude"),
    "projections": (*HEAD, "epoch", "sample", "class", "expert", "x", "y"),
    "nodes": (
        *(*HEAD, "epoch", "tree", "node", "visits", "entropy"),
        *("weight_x", "weight_y", "bias"),
    ),
}
KEYS = {
    "runs": RUN,
    "epochs": (*RUN, "epoch"),
    "expert_counts": (*RUN, "epoch", "tree", "expert", "class"),
    "gradients": (*RUN, "step", "part", "unit"),
    "projections": (*RUN, "epoch", "sample"),
    "nodes": (*RUN, "epoch", "tree", "node"),
}
# The runs table may also have `failed_epoch` and `last_loss`: numbers of the runs whose loss became
# NaN or infinite, which have no scores.
N_FAILED = "n_failed"  # in the attributes of every table: how many runs have failed
# Not in every model: a node-only tree has no node entropy, a tree over images no plane.
MISSING = ("", "nan", "NaN")
NOT_A_TABLE = (
    *(pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError),
    *(lzma.LZMAError, EOFError),
)


class TidyError(Exception):
    """Tidy tables that can't be analysed; the message names the file and the fault."""


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


def load_tidy(folder: str | os.PathLike[str]) -> Tidy:
    """Read `runs.csv`, `epochs.csv` and `expert_counts.csv`, or each `.csv.xz`, from a folder.

    Raises:
        TidyError: for a file that is missing, empty or not a CSV table, that lacks a column, has
            text or nothing in a column of numbers, has a row twice, or speaks of other runs than
            `runs.csv`. Runs of models that don't route need no expert counts.

    """
    runs = load_table(folder, "runs")
    epochs = load_table(folder, "epochs")
    counts = _read(_path(folder, "expert_counts"), "expert_counts")
    all_runs = _runs(runs)
    routing = _runs(runs[(runs["n_experts"] > 1) & ~_failed(runs)])
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
        table.attrs[N_FAILED] = int(_failed(runs).sum())
    return Tidy(runs, epochs, counts)


def load_table(folder: str | os.PathLike[str], name: str) -> pd.DataFrame:
    """Read one of the tables of COLUMNS, `<name>.csv` or else `<name>.csv.xz`.

    It must have rows, since the config says what is recorded, but where every run has failed.

    Raises:
        TidyError: as `load_tidy` does for one file.

    """
    path = _path(folder, name)
    table = _read(path, name)
    runs, others = table, _path(folder, "runs")
    if name != "runs" and others.exists():
        runs = _read(others, "runs")
    gone = _failed(runs)
    if table.empty and not (len(gone) and gone.all()):
        raise TidyError(f"{path} has no rows; at least one run is needed")
    table.attrs[N_FAILED] = int(gone.sum())
    return table


def _failed(runs: pd.DataFrame) -> pd.Series[bool]:
    if "failed_epoch" in runs:
        return runs["failed_epoch"].notna()
    return pd.Series(False, index=runs.index)


def _path(folder: str | os.PathLike[str], name: str) -> Path:
    """Return a table's file: committed tables are compressed."""
    plain, packed = (Path(folder) / f"{name}{ending}" for ending in (".csv", ".csv.xz"))
    return packed if packed.exists() and not plain.exists() else plain


def _read(path: Path, name: str) -> pd.DataFrame:
    """Return a checked table, which may have no rows. Raises TidyError."""
    try:
        # a variant may be called "NA" and its label be "32": names are read as they are
        header = pd.read_csv(path, nrows=0).columns
        options: dict[str, Any] = {
            "dtype": {column: str for column in header if column in NAMES},
            "na_values": {column: list(MISSING) for column in header if column not in NAMES},
        }
        table = pd.read_csv(path, keep_default_na=False, **options)
    except OSError as error:
        raise TidyError(f"{path}: {error.strerror}") from None
    except NOT_A_TABLE as error:
        raise TidyError(f"{path} is not a CSV table: {' '.join(str(error).split())}") from None
    if missing := [column for column in COLUMNS[name] if column not in table]:
        raise TidyError(
            f"{path}: missing columns: {', '.join(missing)}; found: {', '.join(table.columns)}"
        )
    numbers = [column for column in COLUMNS[name] if column not in NAMES]
    if table.empty:
        return table.astype(dict.fromkeys(numbers, float))
    for column in numbers:
        if not pd.api.types.is_numeric_dtype(table[column]):
            odd = table.loc[pd.to_numeric(table[column], errors="coerce").isna(), column].iloc[0]
            raise TidyError(f"{path}: column {column} has {odd!r}; allowed are numbers")
    for column in {*HEAD, *KEYS[name]} - {*NAMES}:
        if table[column].isna().any():
            row = int(table[column].isna().to_numpy().argmax()) + 1
            raise TidyError(f"{path}: column {column} is empty in row {row}; allowed are numbers")
    repeated = table.duplicated(list(KEYS[name]))
    if repeated.any():
        row = table.loc[repeated, list(KEYS[name])].iloc[0]
        where = ", ".join(f"{key} {value}" for key, value in row.items())
        raise TidyError(f"{path}: two rows for {where}; allowed is one")
    return table


def _runs(table: pd.DataFrame) -> set[tuple[Any, ...]]:
    keys = table[list(RUN)].drop_duplicates()
    return set(keys.itertuples(index=False, name=None))


def failed(table: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows of a table are of runs that have failed, by then: a mask."""
    if "failed_epoch" in table:
        return table["failed_epoch"].notna()
    if "train_loss" in table:  # the table of epochs
        return table["train_loss"].isna()
    return pd.Series(False, index=table.index)
