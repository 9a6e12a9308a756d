"""The ledger of claims: as a table to read, and as sentences."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pandas as pd

from fastff.tables.format import DASH, SavedTable, show_digits, show_p, write_table
from fastff.tables.read import TidyError, read_table
from fastff.tables.schema import LEDGER

VERDICTS = ("reproduces", "reproduces in part", "does not reproduce", "not testable on this data")
WIDTHS = {"claim": 5.5, "source": 2.6, "published": 3.0, "verdict": 1.9}  # cm, in LaTeX


def load_ledger(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a ledger that `fastff claims` wrote.

    Raises:
        TidyError: for a file that can't be read, that lacks a column, or has another verdict than
            those of VERDICTS.

    """
    table = read_table(path, LEDGER)
    for verdict in table["verdict"]:
        if verdict not in VERDICTS:
            raise TidyError(
                f"{os.fspath(path)}: column verdict has {verdict!r}; allowed are "
                f"{', '.join(VERDICTS)}"
            )
    return table


def shown_ledger(table: pd.DataFrame) -> pd.DataFrame:
    """Return the ledger as a reader wants it: claim, source, published, here, p, verdict."""
    rows = table.to_dict("records")
    return pd.DataFrame(
        {
            "claim": table["statement"],
            "source": table["source"],
            "published": table["published"],
            "here": [show_effect(row) for row in rows],
            "p (Holm)": [show_p(row["p_holm"]) for row in rows],
            "verdict": table["verdict"],
        }
    )


def show_effect(row: dict[str, object]) -> str:
    """Return a claim's effect with its interval and unit, as text."""
    effect, low, high = (float(str(row[key])) for key in ("effect", "low", "high"))
    if pd.isna(effect):
        return DASH
    unit, sign = str(row["unit"]), ""
    if unit == "depth":
        return f"depth {effect:g} [{show_digits(low)}, {show_digits(high)}]"
    if unit != "×":
        unit, sign = f" {unit}", "+"
    number, start, end = (f"{value:{sign}.3g}" for value in (effect, low, high))
    return f"{number}{unit} [{start}, {end}]"


def write_ledger(table: pd.DataFrame, stem: str | os.PathLike[str]) -> SavedTable:
    """Write `<stem>.csv`, every column and digit, and `.md` and `.tex`, what a reader wants."""
    return write_table(table, stem, shown=shown_ledger(table), widths=WIDTHS)


def describe_ledger(table: pd.DataFrame, rules: Mapping[str, str]) -> str:
    """Return a line per claim: the verdict, the numbers on both sides, why, and the rule.

    Args:
        table: what `load_ledger` returned.
        rules: the rule of a claim in words, by the claim's name.

    """
    lines = []
    for row in table.to_dict("records"):
        where = "" if row["device"] == "any" else f", {row['device']}"
        tested = f"`{row['experiment']}`{where}"
        if not pd.isna(row["effect"]):
            tested += f", {row['statistic']} {show_effect(row)}"
        rule = f" Rule: {rules[row['claim']]}" if row["claim"] in rules else ""
        lines.append(
            f"- **{row['verdict']}**: {row['statement']} *{row['source']}: {row['published']}.* "
            f"Here, {tested}: {row['reason']}.{rule}"
        )
    return "\n".join(lines)


def count_verdicts(table: pd.DataFrame) -> str:
    """Return how many claims have which verdict, as a sentence."""
    counts = table["verdict"].value_counts()
    said = [f"{verdict} {counts[verdict]}" for verdict in VERDICTS if verdict in counts]
    return f"{len(table)} claims: {', '.join(said)}."
