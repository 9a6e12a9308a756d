"""How tables are printed and written: units, digits, and a dash where there is no number."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fastff.files import atomic_path
from fastff.tables.schema import PRINTED, Column

DASH = "–"
# A printed table shows labels, and the reader knows which experiment it is of.
HIDDEN: Mapping[str, str] = {
    "experiment": "",
    "variant": "label",
    "treatment": "treatment_label",
    "baseline": "baseline_label",
}
STYLE = """body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 0.2em 0.8em; text-align: left; vertical-align: top; }}
th {{ border-top: 2px solid; border-bottom: 1px solid; }}
tbody tr:last-child td {{ border-bottom: 2px solid; }}
tbody tr:hover {{ background: #eee; }}
{numbers} {{ text-align: right; white-space: nowrap; }}"""


def show(column: Column | str, value: Any) -> str:
    """Return a value as a column of the schema, or that of a name, prints it; NaN is a dash."""
    if isinstance(column, str):
        column = PRINTED.get(column, Column(column))
    if isinstance(value, float) and math.isnan(value):
        return DASH
    if column.style == "p":
        return show_p(value)
    if column.style == "significant":
        return show_digits(value)
    if column.style == "fixed":
        sign = "+" if column.signed else ""
        return f"{value * column.scale:{sign}.{column.digits}f}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def show_interval(column: Column | str, mean: float, half_width: float) -> str:
    """Return `mean ± half width` of a column with fixed digits, a dash for either that is NaN."""
    if isinstance(column, str):
        column = PRINTED[column]
    if math.isnan(mean):
        return DASH
    width = DASH
    if not math.isnan(half_width):
        width = f"{half_width * column.scale:.{column.digits}f}"
    return f"{show(column, mean)} ± {width}"


def show_p(value: float) -> str:
    """Return a p-value with two significant digits, and never as 0; NaN is a dash."""
    if math.isnan(value):
        return DASH
    return "<0.0001" if value < 1e-4 else f"{value:#.2g}" if value < 0.1 else f"{value:.2f}"


def show_digits(value: float) -> str:
    """Return a number with three significant digits, and NaN as a dash."""
    return DASH if math.isnan(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


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
    for name in map(str, frame.columns):
        if name == "region_leak" and (frame[name] == 0).all():
            continue
        if name.endswith("_ci") or (name in HIDDEN and HIDDEN[name] in ("", *frame)):
            continue
        column, of = _described(name)
        values = frame[name].tolist()
        if of == "mean" and f"{column.name}_ci" in frame:
            half_widths = frame[f"{column.name}_ci"].tolist()
            pairs = zip(values, half_widths, strict=True)
            texts = [show_interval(column, *pair) for pair in pairs]
        elif name in ("metric", "measure"):
            texts = [PRINTED[value].words if value in PRINTED else value for value in values]
        else:
            texts = [show(column, value) for value in values]
        shown[_heading(name)] = texts
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


def _described(name: str) -> tuple[Column, str]:
    """Return the column of the schema, and whether `name` is its "mean", its "best" or itself."""
    for of in ("mean", "best"):
        base = name.removesuffix(f"_{of}")
        if base != name and base in PRINTED:
            return PRINTED[base], of
    return PRINTED.get(name, Column(name)), ""


def _heading(name: str) -> str:
    column, of = _described(name)
    return f"best run's {column.heading}" if of == "best" else column.heading


def _numbers(frame: pd.DataFrame) -> list[str]:
    """Return the headings of the columns with numbers."""
    numeric = [column for column in frame if pd.api.types.is_numeric_dtype(frame[column])]
    return [_heading(str(column)) for column in numeric]


def to_html(printed: pd.DataFrame, numbers: Iterable[str]) -> str:
    """Return a whole page with one table.

    Args:
        printed: the table as text, as `fastff.tables.format.printed` returns it.
        numbers: headings of the columns whose text goes to the right.

    """
    chosen = set(numbers)
    places = [place for place, heading in enumerate(printed.columns, 1) if heading in chosen]
    right = [f"{cell}:nth-child({place})" for place in places for cell in ("th", "td")]
    style = STYLE.format(numbers=", ".join(right) or "none")
    table = printed.to_html(index=False, border=0)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Table</title>\n'
        f"<style>\n{style}\n</style></head><body>\n{table}\n</body></html>\n"
    )
