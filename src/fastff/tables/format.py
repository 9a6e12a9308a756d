"""How tables are printed and written: units, digits, and a dash where there is no number."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fastff.files import atomic_path

DASH = "–"


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Attributes:
        heading: what stands above it, with the unit.
        digits: after the decimal point.
        scale: what the values are multiplied with.
        signed: whether a plus sign is printed.

    """

    heading: str
    digits: int = 2
    scale: float = 1.0
    signed: bool = False

    def show(self, value: float) -> str:
        """Return the value as text; NaN is a dash."""
        if math.isnan(value):
            return DASH
        sign = "+" if self.signed else ""
        return f"{value * self.scale:{sign}.{self.digits}f}"

    def show_interval(self, mean: float, half_width: float) -> str:
        """Return `mean ± half width`, a dash for either that is NaN."""
        if math.isnan(mean):
            return DASH
        width = DASH if math.isnan(half_width) else f"{half_width * self.scale:.{self.digits}f}"
        return f"{self.show(mean)} ± {width}"


def show_p(value: float) -> str:
    """Return a p-value with two significant digits, and never as 0."""
    if math.isnan(value):
        return DASH
    return "<0.0001" if value < 1e-4 else f"{value:#.2g}" if value < 0.1 else f"{value:.2f}"


def show_digits(value: float) -> str:
    """Return a number with three significant digits, and NaN as a dash."""
    return DASH if math.isnan(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def show_rate(value: float) -> str:
    """Return a number as short as it is exact, and NaN as a dash."""
    return DASH if math.isnan(value) else f"{value:g}"


COLUMNS: Mapping[str, Column] = {
    "train_loss": Column("train loss (nats)", digits=3),
    "validation_loss": Column("validation loss (nats)", digits=3),
    "validation_loss_hard": Column("hard validation loss (nats)", digits=3),
    "accuracy_hard": Column("hard accuracy (%)", scale=100),
    "accuracy_soft": Column("soft accuracy (%)", scale=100),
    "validation_accuracy_hard": Column("hard validation accuracy (%)", scale=100),
    "validation_accuracy_soft": Column("soft validation accuracy (%)", scale=100),
    "train_accuracy_hard": Column("hard train accuracy (%)", scale=100),
    "train_accuracy_soft": Column("soft train accuracy (%)", scale=100),
    "equal_parameters": Column("MLP, equal parameters (%)", scale=100),
    "equal_training_width": Column("MLP, equal training width (%)", scale=100),
    "equal_inference_width": Column("MLP, equal inference width (%)", scale=100),
    "equal_parameters_difference": Column(
        "difference, equal parameters (points)", scale=100, signed=True
    ),
    "equal_training_width_difference": Column(
        "difference, equal training width (points)", scale=100, signed=True
    ),
    "equal_inference_width_difference": Column(
        "difference, equal inference width (points)", scale=100, signed=True
    ),
    "change": Column("change (%)", scale=100, signed=True),
    "entropy": Column("entropy (bits)"),
    "effective_experts": Column("effective experts"),
    "used_experts": Column("used experts"),
    "mean_rank": Column("mean rank"),
    "t": Column("t"),
    "rho": Column("Spearman's rho"),
}
OTHER: Mapping[str, Callable[[float], str]] = {
    "p": show_p,
    **dict.fromkeys(("plain_s", "engine_s", "ratio", "ratio_low", "ratio_high"), show_digits),
    **dict.fromkeys(("plain_peak_mib", "engine_peak_mib"), show_digits),
    **dict.fromkeys(("treatment_us", "baseline_us", "over_roofline"), show_digits),
}
HEADINGS: Mapping[str, str] = {
    "label": "variant",
    "treatment_label": "treatment",
    "baseline_label": "baseline",
    "hidden_features": "hidden units",
    "region_leak": "region leak",
    "training_width": "training width",
    "inference_width": "inference width",
    "equal_parameters_units": "MLP's units, equal parameters",
    "equal_training_width_units": "MLP's units, equal training width",
    "equal_inference_width_units": "MLP's units, equal inference width",
    "n_experts": "experts",
    "n_parameters": "parameters",
    "n_seeds": "seeds",
    "n_failed": "failed",
    "n_left_out": "points left out",
    "n_better": "better points",
    "n_points": "points",
    "n_runs": "runs",
    "plain_s": "plain loop (s)",
    "engine_s": "engine (s)",
    "treatment_us": "treatment (µs)",
    "baseline_us": "baseline (µs)",
    "over_roofline": "treatment over its roofline",
    "width": "training width",
    "ratio": "times less",
    "ratio_low": "least",
    "ratio_high": "most",
    "plain_peak_mib": "plain loop, peak (MiB)",
    "engine_peak_mib": "engine, peak (MiB)",
}
# A printed table shows labels, and the reader knows which experiment it is of.
HIDDEN: Mapping[str, str] = {
    "experiment": "",
    "variant": "label",
    "treatment": "treatment_label",
    "baseline": "baseline_label",
}
METRICS: Mapping[str, str] = {
    "accuracy_hard": "hard accuracy",
    "accuracy_soft": "soft accuracy",
}


STYLE = """body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 0.2em 0.8em; text-align: left; vertical-align: top; }}
th {{ border-top: 2px solid; border-bottom: 1px solid; }}
tbody tr:last-child td {{ border-bottom: 2px solid; }}
tbody tr:hover {{ background: #eee; }}
{numbers} {{ text-align: right; white-space: nowrap; }}"""


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
