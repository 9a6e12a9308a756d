"""The tables of a result tree, and which of them two trees have in common."""

from __future__ import annotations

import csv
import lzma
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".csv", ".csv.xz")


class VerifyError(ValueError):
    """Result trees that can't be compared; the message names the folder and what it lacks."""


@dataclass(frozen=True, order=True)
class TableName:
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


def tables_of(folder: Path) -> dict[TableName, Path]:
    """Return the tables of a result tree, such as `results/quick` or `results/reference/h100`.

    What is timed (`benchmarks/`) is left out, and so are tables without rows.

    Raises:
        VerifyError: for a folder that isn't there or holds no such table.

    """
    if not folder.is_dir():
        raise VerifyError(f"{folder}: no such folder")
    found: dict[TableName, Path] = {}
    for path in _files(folder):
        part, *rest = path.relative_to(folder).parts
        stem = "/".join(rest).removesuffix(".xz").removesuffix(".csv")
        first = _first_row(path)
        if first is None:
            continue
        experiment, dataset = first
        short = experiment.removesuffix(f"_{dataset}")
        found[TableName(part, stem.replace(experiment, short, 1), dataset)] = path
    if not found:
        raise VerifyError(
            f"{folder} is no result tree: it holds no table with rows in tidy/ or tables/"
        )
    return found


def read_text(path: Path) -> str:
    """Return the text of a table, unpacked. Raises VerifyError for one that can't be read."""
    try:
        content = path.read_bytes()
        return (lzma.decompress(content) if path.suffix == ".xz" else content).decode()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise VerifyError(f"{path} is not a CSV table: {error}") from None


def _files(folder: Path) -> list[Path]:
    """Return the paths of a tree's tables; where one is there twice, the one that isn't packed."""
    paths = [
        path
        for pattern in ("tidy/*/*", "tables/*")
        for path in sorted(folder.glob(pattern))
        if path.name.endswith(ENDINGS)
    ]
    return [path for path in paths if path.suffix != ".xz" or path.with_suffix("") not in paths]


def _first_row(path: Path) -> tuple[str, str] | None:
    """Return experiment and dataset of a table's first row; None where it has no rows."""
    rows = csv.DictReader(read_text(path).splitlines()[:2])
    for column in ("experiment", "dataset"):
        if column not in (rows.fieldnames or ()):
            raise VerifyError(f"{path}: missing column {column}; is it a table of this artifact?")
    first = next(rows, None)
    return None if first is None else (first["experiment"], first["dataset"])
