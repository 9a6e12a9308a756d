"""How tables are printed and written: units, digits, and a dash where there is no number."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from fastff.config.display import displayed
from fastff.files import atomic_path
from fastff.tables.schema import HEAD, MATCHES, PRINTED, Column

DASH = "–"
MOST_DIGITS = 5  # after the point
# A printed table shows labels, and the reader knows which experiment it is of.
HIDDEN: Mapping[str, str] = {
    "experiment": "",
    "variant": "label",
    "treatment": "treatment_label",
    "baseline": "baseline_label",
}
NAMED = ("dataset", "dtype")  # columns of names that people write in another way
MOST_COLUMNS = 9  # of a printed table
# What a printed table does without, first to last, until it has so few columns: sizes that follow
# from others, the best run's other numbers, and what the accuracies say better.
LEFT_OUT: tuple[tuple[str, ...], ...] = (
    *(("n_experts",), ("inference_width",), ("training_width",), ("n_parameters",)),
    ("effective_experts",),
    *(tuple(f"{match}_{of}" for match in MATCHES) for of in ("units", "mean")),
    *(("train_loss_best",), ("train_accuracy_soft_best",), ("train_accuracy_hard_best",)),
    *(("entropy_best",), ("used_experts_best",), ("best_epoch_best",), ("accuracy_soft_best",)),
    *(("train_accuracy_soft_mean",), ("validation_loss_mean",), ("train_loss_mean",)),
    *(("over_roofline",), ("baseline_us",), ("plain_peak_mib",), ("train_accuracy_hard_mean",)),
)
BOLD = ("\u2045", "\u2046")  # stand around the best value of a column until it is written
STYLE = """body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; }}
table {{ border-collapse: collapse; }}
caption {{ caption-side: bottom; text-align: left; padding: 0.5em 0; }}
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
    """Return `mean ± half width` of a column with fixed digits, a dash for either that is NaN.

    The half width has two significant digits, and the mean as many after the point.
    """
    if isinstance(column, str):
        column = PRINTED[column]
    if math.isnan(mean):
        return DASH
    if math.isnan(half_width) or half_width == 0:
        return f"{show(column, mean)} ± {DASH if math.isnan(half_width) else 0}"
    scaled = half_width * column.scale
    digits = min(max(1 - math.floor(math.log10(scaled)), 0), MOST_DIGITS)
    return f"{show(replace(column, digits=digits), mean)} ± {scaled:.{digits}f}"


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


@dataclass(frozen=True)
class Printed:
    """A table as text, for people.

    Attributes:
        table: the columns that are printed, by their headings.
        numbers: headings of the columns with numbers.
        caption: what is the same in all rows.

    """

    table: pd.DataFrame
    numbers: list[str]
    caption: str


def printed(frame: pd.DataFrame) -> Printed:
    """Return a table as text, for people.

    `<name>_mean` and `<name>_ci` become one column `mean ± half width`, and `<name>_best` is of
    the best run. Accuracies and changes are in percent, NaN is a dash, and a name hides behind
    its label. What is the same in all rows is in the caption, and of more than MOST_COLUMNS some
    of LEFT_OUT are not printed. Of accuracies and losses the best value is bold.
    """
    shown: dict[str, list[str]] = {}
    same: dict[str, str] = {}
    for name in map(str, frame.columns):
        if name.endswith("_ci") or (name in HIDDEN and HIDDEN[name] in ("", *frame)):
            continue
        texts = _texts(frame, name)
        if (len(frame) > 1 or name in (*HEAD, "label", "n_seeds")) and len(set(texts)) == 1:
            if texts[0] != DASH and not (name == "region_leak" and texts[0] == "0"):
                same[_heading(name)] = texts[0]
        else:
            shown[name] = texts
    for names in LEFT_OUT:
        if len(shown) > MOST_COLUMNS:
            shown = {name: texts for name, texts in shown.items() if name not in names}
    numbers = [_heading(name) for name in shown if pd.api.types.is_numeric_dtype(frame[name])]
    table = pd.DataFrame({_heading(name): texts for name, texts in shown.items()}, dtype=object)
    return Printed(table, numbers, "; ".join(f"{name} {text}" for name, text in same.items()))


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    """Return the cells of a column, the best in bold where there is a best."""
    column, of = _described(name)
    values = frame[name].tolist()
    if of == "mean" and f"{column.name}_ci" in frame:
        half_widths = frame[f"{column.name}_ci"].tolist()
        pairs = zip(values, half_widths, strict=True)
        texts = [show_interval(column, *pair) for pair in pairs]
    elif name in ("metric", "measure"):
        texts = [PRINTED[value].words if value in PRINTED else value for value in values]
    elif name in NAMED:
        texts = [displayed(value) for value in values]
    else:
        texts = [show(column, value) for value in values]
    kind = column.name.removesuffix("_soft").removesuffix("_hard").rpartition("_")[2]
    if of == "mean" and kind in ("accuracy", "loss") and frame[name].nunique() > 1:
        best = frame[name].max() if kind == "accuracy" else frame[name].min()
        texts = [text.join(BOLD) if value == best else text
                 for text, value in zip(texts, values, strict=True)]  # fmt: skip
    return texts


def to_markdown(frame: pd.DataFrame) -> str:
    """Return the printed table as Markdown, numbers to the right, and its caption below."""
    shown = printed(frame)
    table = shown.table.map(lambda text: text.replace("|", "\\|"))  # it must not end its cell
    align = ["right" if heading in shown.numbers else "left" for heading in table.columns]
    if table.empty:
        return "| " + " | ".join(table.columns) + " |\n|" + "---|" * len(align)
    text = str(table.to_markdown(index=False, disable_numparse=True, colalign=align))
    text = _bold(text, "**", "**")
    return f"{text}\n\nIn all rows: {shown.caption}." if shown.caption else text


def _bold(text: str, start: str, end: str) -> str:
    return text.replace(BOLD[0], start).replace(BOLD[1], end)


def to_latex(frame: pd.DataFrame, widths: Mapping[str, float] | None = None) -> str:
    """Return the printed table as a LaTeX `tabular`; it needs the package booktabs.

    Its caption is a comment below. `widths` are of columns whose text is broken into lines, in cm,
    by their heading.
    """
    shown = printed(frame)
    special = dict.fromkeys(shown.numbers, "r")
    special |= {heading: f"p{{{width:g}cm}}" for heading, width in (widths or {}).items()}
    align = "".join(special.get(heading, "l") for heading in shown.table.columns)
    text = str(shown.table.to_latex(index=False, escape=True, column_format=align))
    text += f"% In all rows: {shown.caption}.\n" if shown.caption else ""
    text = text.replace("±", r"$\pm$").replace("–", "--").replace("<0", "$<$0")
    return _bold(text, r"\textbf{", "}")


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
        "html": to_html(printed(for_people)),
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


def to_html(shown: Printed) -> str:
    """Return a whole page with one printed table."""
    places = [k for k, heading in enumerate(shown.table.columns, 1) if heading in shown.numbers]
    right = [f"{cell}:nth-child({place})" for place in places for cell in ("th", "td")]
    style = STYLE.format(numbers=", ".join(right) or "none")
    table = _bold(shown.table.to_html(index=False, border=0), "<b>", "</b>")
    if shown.caption:
        caption = f"<caption>In all rows: {escape(shown.caption)}.</caption>"
        table = table.replace("<thead>", f"{caption}<thead>", 1)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Table</title>\n'
        f"<style>\n{style}\n</style></head><body>\n{table}\n</body></html>\n"
    )
