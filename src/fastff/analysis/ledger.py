"""The ledger of claims: as a table to read, and as sentences."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping

import pandas as pd

from fastff.config.display import displayed
from fastff.tables.format import DASH, SavedTable, show_digits, show_p, write_table
from fastff.tables.read import TidyError, read_table
from fastff.tables.schema import LEDGER

VERDICTS = ("replicates", "same direction", "inconclusive", "contradicted", "not tested")
KINDS = {"replication": "replications", "generalisation": "generalisations", "ours": "ours"}
WIDTHS = {  # cm, in LaTeX
    **{"claim": 4.6, "model": 3.2, "source": 2.2},
    **{"published": 2.6, "data": 1.8, "exception": 2.4},
}
SHORT = ("kind", "claim", "source", "published", "data", "form", "here", "shapes", "verdict")
Row = Mapping[Hashable, object]


def load_ledger(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a ledger that `fastff claims` wrote.

    Raises:
        TidyError: for a file that can't be read, that lacks a column, or has another verdict than
            those of VERDICTS.

    """
    table = read_table(path, LEDGER)
    for column, allowed in (("verdict", VERDICTS), ("kind", KINDS)):
        for value in table[column]:
            if value not in allowed:
                raise TidyError(
                    f"{os.fspath(path)}: column {column} has {value!r}; allowed are "
                    f"{', '.join(allowed)}"
                )
    return table


def shown_ledger(table: pd.DataFrame) -> pd.DataFrame:
    """Return the ledger as a reader wants it: who said what, on which data, and the verdict.

    The columns SHORT are the essence of it.
    """
    rows = table.to_dict("records")
    return pd.DataFrame(
        {
            "kind": table["kind"],
            "claim": table["statement"],
            "model": table["model"],
            "source": table["source"],
            "published": [row["published"] or DASH for row in rows],
            "mark": [row["mark"] or DASH for row in rows],
            "data": [_data(row) for row in rows],
            "form": [row["form"] or DASH for row in rows],
            "here": [show_effect(row) for row in rows],
            "one more run": [_prediction(row) for row in rows],
            "shapes": [_shapes(row) for row in rows],
            "exception": [row["exception"] or DASH for row in rows],
            "p (Holm)": [show_p(row["p_holm"]) for row in rows],
            "rules, runs": [_commits(row) for row in rows],
            "verdict": table["verdict"],
        }
    )


def _prediction(row: Row) -> str:
    """Return the interval for one more run, or the best of several, and whether it holds 0."""
    low, high = (float(str(row[f"prediction_{end}"])) for end in ("low", "high"))
    if pd.isna(low):
        return DASH
    best = "" if pd.isna(row["best_effect"]) else "best run: "
    return f"{best}[{low:+.3g}, {high:+.3g}]{', holds 0' if low <= 0 <= high else ''}"


def _commits(row: Row) -> str:
    """Return the commit of a claim's rule, or when it was decided, and those of its runs."""
    if not row["statistic"]:
        return DASH
    runs = [commit[:7] for commit in str(row["runs_commit"]).split(", ")]
    return f"{str(row['rules_commit'])[:7] or row['decided']}, {' and '.join(runs) or DASH}"


def _data(row: Row) -> str:
    """Return what a claim's numbers are of: a dataset, or a machine, dtype and batch."""
    what = [displayed(str(row[key])) for key in ("dataset", "dtype") if row[key]]
    what += [f"batch {row['batch']}"] if row["batch"] else []
    return ", ".join(what) or DASH


def _shapes(row: Row) -> str:
    """Return how many of the shapes agree with the claim."""
    return f"{row['n_agree']} of {row['n_shapes']}" if row["n_shapes"] else DASH


def show_effect(row: Row) -> str:
    """Return a claim's effect with its interval and unit, and that of the best runs, as text."""
    effect, low, high = (float(str(row[key])) for key in ("effect", "low", "high"))
    if pd.isna(effect):
        return DASH
    unit, sign = str(row["unit"]), ""
    if row["device"] and unit != "×":
        return f"{unit} {effect:g} [{show_digits(low)}, {show_digits(high)}]"
    if unit != "×":
        unit, sign = f" {unit}", "+"
    number, start, end = (f"{value:{sign}.3g}" for value in (effect, low, high))
    best = "" if pd.isna(row["best_effect"]) else f"; best of {row['n']}: {row['best_effect']:+.3g}"
    return f"{number}{unit} [{start}, {end}]{best}"


def write_ledger(table: pd.DataFrame, stem: str | os.PathLike[str]) -> SavedTable:
    """Write `<stem>.csv`, every column and digit, and `.md` and `.tex`, what a reader wants."""
    return write_table(table, stem, shown=shown_ledger(table), widths=WIDTHS)


def describe_ledger(table: pd.DataFrame) -> str:
    """Return a line per claim: the verdict, the numbers on both sides, and why.

    Args:
        table: what `load_ledger` returned.

    """
    lines = []
    for row in table.to_dict("records"):
        said = f": {row['published']}" if row["published"] else ""
        line = (
            f"- **{row['verdict']}** ({row['kind']}): {row['statement']} *{row['source']}{said}.*"
        )
        if not pd.isna(row["effect"]):
            where = ", ".join(
                filter(None, (displayed(str(row["dataset"])), row["model"], row["form"]))
            )
            line += f" Here, {where}: {row['statistic']} {show_effect(row)}"
            if not pd.isna(row["p_holm"]):
                line += f", p (Holm) {show_p(row['p_holm'])}"
            if row["n_shapes"] > 1:
                line += f", {_shapes(row)} shapes as the claim says"
                line += f" (but {row['exception']})" if row["exception"] else ""
            if not pd.isna(row["study_t"]):
                line += f"; over shapes, of one run, t = {row['study_t']:.3g}"
                line += f", p = {show_p(row['study_p'])}"
            line += "."
        line += f" {row['reason'][:1].upper()}{row['reason'][1:]}."
        line += " The rule was chosen with results at hand." if row["decided"] == "after" else ""
        lines.append(line)
    return "\n".join(lines)


def count_verdicts(table: pd.DataFrame) -> str:
    """Return how many claims of which kind have which verdict, as a sentence each."""
    sentences = []
    for kind, name in KINDS.items():
        verdicts = table.loc[table["kind"] == kind, "verdict"]
        if len(verdicts):
            counts = verdicts.value_counts()
            said = [f"{counts[v]} {_plural(v, counts[v])}" for v in VERDICTS if v in counts]
            sentences.append(f"{len(verdicts)} {name}: {', '.join(said)}.")
    return " ".join([*sentences, *_reservations(table)])


def _plural(verdict: str, count: int) -> str:
    return "replicate" if verdict == VERDICTS[0] and count > 1 else verdict


def _reservations(table: pd.DataFrame) -> list[str]:
    """Return what takes from the replications that replicate, if anything does."""
    found = table[(table["kind"] == "replication") & (table["verdict"] == VERDICTS[0])]
    wide = int((found["prediction_low"] * found["prediction_high"] <= 0).sum())
    after = int((found["decided"] == "after").sum())
    if not wide and not after:
        return []
    return [
        f"Of the replications that replicate, {wide} have an interval for one more run that holds "
        f"0 and so hardly test the value; the rules of {after} were chosen with results at hand."
    ]
