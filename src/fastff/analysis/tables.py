"""Writing a table: tidy numbers, Markdown for people, LaTeX for papers, a page for the report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fastff.analysis.pages import to_html
from fastff.files import atomic_path
from fastff.tables.format import COLUMNS, HEADINGS, HIDDEN, METRICS, OTHER, show_rate

BEST = "_best"


@dataclass(frozen=True)
class SavedTable:
    """The files of one table."""

    csv: Path
    md: Path
    tex: Path
    html: Path


def printed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as text, for people.

    `<name>_mean` and `<name>_ci` become one column `mean ± half width`, and `<name>_best` is of
    the best run. Accuracies and changes are in percent, NaN is a dash, and a name hides behind
    its label. A region leak that is 0 in all rows is not shown.
    """
    shown: dict[str, list[str]] = {}
    for column in frame.columns:
        name = column.removesuffix("_mean")
        if column == "region_leak" and (frame[column] == 0).all():
            continue
        if column.endswith("_ci") or (column in HIDDEN and HIDDEN[column] in ("", *frame)):
            continue
        values = frame[column].tolist()
        if name in COLUMNS and f"{name}_ci" in frame and column != name:
            pairs = zip(values, frame[f"{name}_ci"].tolist(), strict=True)
            texts = [COLUMNS[name].show_interval(*pair) for pair in pairs]
        elif column.endswith(BEST) and column.removesuffix(BEST) in COLUMNS:
            texts = [COLUMNS[column.removesuffix(BEST)].show(value) for value in values]
        elif name in COLUMNS:
            texts = [COLUMNS[name].show(value) for value in values]
        elif column in OTHER:
            texts = [OTHER[column](value) for value in values]
        elif pd.api.types.is_float_dtype(frame[column]):
            texts = [show_rate(value) for value in values]
        else:
            texts = [METRICS.get(str(value), str(value)) for value in values]
        shown[_heading(column)] = texts
    return pd.DataFrame(shown, dtype=object)


def to_markdown(frame: pd.DataFrame) -> str:
    """Return the printed table as Markdown, numbers to the right."""
    table = printed(frame)
    table = table.map(lambda text: text.replace("|", "\\|"))  # a label must not end its cell
    numbers = [*_numbers(frame)]
    align = ["right" if heading in numbers else "left" for heading in table.columns]
    if table.empty:
        return "| " + " | ".join(table.columns) + " |\n|" + "---|" * len(align)
    return str(table.to_markdown(index=False, disable_numparse=True, colalign=align))


def to_latex(frame: pd.DataFrame, widths: Mapping[str, float] | None = None) -> str:
    """Return the printed table as a LaTeX `tabular`; it needs the package booktabs.

    `widths` are of columns whose text is broken into lines, in cm, by their heading.
    """
    table = printed(frame)
    special = dict.fromkeys(_numbers(frame), "r")
    special |= {heading: f"p{{{width:g}cm}}" for heading, width in (widths or {}).items()}
    align = "".join(special.get(heading, "l") for heading in table.columns)
    text = str(table.to_latex(index=False, escape=True, column_format=align))
    return text.replace("±", r"$\pm$").replace("–", "--").replace("<0", "$<$0")


def write_table(
    frame: pd.DataFrame,
    stem: str | os.PathLike[str],
    *,
    shown: pd.DataFrame | None = None,
    widths: Mapping[str, float] | None = None,
) -> SavedTable:
    """Write `<stem>.csv` (tidy, every digit), `.md`, `.tex` and `.html`, each whole or not at all.

    Args:
        frame: a table; a mean is `<name>_mean`, with its half width `<name>_ci`.
        stem: the path without its ending.
        shown: the table for people, if it is another.
        widths: of columns, as `to_latex` takes them.

    """
    for_people = frame if shown is None else shown
    texts = {
        "csv": frame.to_csv(index=False, lineterminator="\n"),
        "md": to_markdown(for_people) + "\n",
        "tex": to_latex(for_people, widths),
        "html": to_html(printed(for_people), _numbers(for_people)),
    }
    paths = {kind: Path(f"{os.fspath(stem)}.{kind}") for kind in texts}
    for kind, path in paths.items():
        with atomic_path(path) as temporary:
            temporary.write_text(texts[kind], encoding="utf-8")
    return SavedTable(**paths)


def _heading(column: str) -> str:
    name = column.removesuffix("_mean")
    if name in COLUMNS:
        return COLUMNS[name].heading
    if column.endswith(BEST) and column.removesuffix(BEST) in COLUMNS:
        return f"best run's {COLUMNS[column.removesuffix(BEST)].heading}"
    return HEADINGS.get(column, column.replace("_", " "))


def _numbers(frame: pd.DataFrame) -> list[str]:
    """Return the headings of the columns with numbers."""
    numeric = [column for column in frame if pd.api.types.is_numeric_dtype(frame[column])]
    return [_heading(str(column)) for column in numeric]
