"""Reading the tidy tables of one experiment, with the checks that analysis relies on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

SHAPE = ("depth", "hidden_features")
TEXT = ("experiment", "dataset", "variant", "label")
NAMES = (*TEXT, "part")
RUN = ("variant", *SHAPE, "seed")
SCORES = (
    "train_loss",
    "validation_loss",
    "validation_loss_hard",
    "accuracy_soft",
    "accuracy_hard",
)
RECIPE = ("epochs", "batch_size", "learning_rate")

# The columns that must be there, and those that tell a row from the others; more may be there.
COLUMNS = {
    "runs": (*TEXT, *SHAPE, "seed", "n_experts", "n_parameters", *RECIPE, *SCORES),
    "epochs": (*TEXT[:3], *SHAPE, "seed", "epoch", *SCORES),
    "expert_counts": (*TEXT[:3], *SHAPE, "seed", "epoch", "expert", "class", "count"),
    "gradients": (*TEXT, *SHAPE, "seed", "step", "part", "unit", "magnitude"),
}
KEYS = {
    "runs": RUN,
    "epochs": (*RUN, "epoch"),
    "expert_counts": (*RUN, "epoch", "expert", "class"),
    "gradients": (*RUN, "step", "part", "unit"),
}


class TidyError(Exception):
    """Tidy tables that can't be analysed; the message names the file and the fault."""


@dataclass(frozen=True)
class Tidy:
    """The tables of one experiment.

    Attributes:
        runs: one row per run, with losses in nats and accuracies as fractions.
        epochs: one row per run and epoch.
        expert_counts: one row per run, expert and class: validation samples of that class which
            the hard form of the gate sends to that expert.

    """

    runs: pd.DataFrame
    epochs: pd.DataFrame
    expert_counts: pd.DataFrame


def load_tidy(folder: str | os.PathLike[str]) -> Tidy:
    """Read `runs.csv`, `epochs.csv` and `expert_counts.csv` from a folder.

    Raises:
        TidyError: for a file that is missing, empty or not a CSV table, that lacks a column, has
            text in a column of numbers, has a row twice, or speaks of other runs than `runs.csv`.

    """
    names = ("runs", "epochs", "expert_counts")
    tables = {name: load_table(folder, name) for name in names}
    runs = _runs(tables["runs"])
    for name in ("epochs", "expert_counts"):
        if odd := sorted(runs ^ _runs(tables[name])):
            run = ", ".join(f"{key} {value}" for key, value in zip(RUN, odd[0], strict=True))
            raise TidyError(
                f"{Path(folder) / name}.csv and runs.csv must be about the same runs, "
                f"but only one of them has {run} (and {len(odd) - 1} others)"
            )
    return Tidy(**tables)


def load_table(folder: str | os.PathLike[str], name: str) -> pd.DataFrame:
    """Read one of the tables of COLUMNS; "gradients" has rows where the config records them.

    Raises:
        TidyError: as `load_tidy` does for one file.

    """
    path = Path(folder) / f"{name}.csv"
    try:
        table = pd.read_csv(path)
    except OSError as error:
        raise TidyError(f"{path}: {error.strerror}") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TidyError(f"{path} is not a CSV table: {' '.join(str(error).split())}") from None
    if missing := [column for column in COLUMNS[name] if column not in table]:
        raise TidyError(
            f"{path}: missing columns: {', '.join(missing)}; found: {', '.join(table.columns)}"
        )
    if table.empty:
        raise TidyError(f"{path} has no rows; at least one run is needed")
    for column in COLUMNS[name]:
        if column not in NAMES and not pd.api.types.is_numeric_dtype(table[column]):
            odd = table.loc[pd.to_numeric(table[column], errors="coerce").isna(), column].iloc[0]
            raise TidyError(f"{path}: column {column} has {odd!r}; allowed are numbers")
    repeated = table.duplicated(list(KEYS[name]))
    if repeated.any():
        row = table.loc[repeated, list(KEYS[name])].iloc[0]
        where = ", ".join(f"{key} {value}" for key, value in row.items())
        raise TidyError(f"{path}: two rows for {where}; allowed is one")
    return table


def _runs(table: pd.DataFrame) -> set[tuple[object, ...]]:
    keys = table[list(RUN)].drop_duplicates()
    return set(keys.itertuples(index=False, name=None))
