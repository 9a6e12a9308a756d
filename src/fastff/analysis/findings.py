"""What the tables say, as sentences: numbers in a notebook's text are computed, never typed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from fastff.analysis.failed import describe_failed
from fastff.analysis.summary import summarise
from fastff.tables.format import COLUMNS, METRICS, show_p
from fastff.tables.read import failed

LEVEL = 0.05
MOST_LISTED = 6
SCORES = {
    "accuracy_hard": "hard accuracy",
    "accuracy_soft": "soft",
    "train_accuracy_hard": "on the training samples hard",
    "train_accuracy_soft": "soft",
}


def describe_runs(runs: pd.DataFrame) -> str:
    """Return a sentence on what was trained, and how."""

    def listed(column: str) -> str:
        return _listed(runs[column])

    done = runs[~failed(runs)]
    parts = [_counted(runs["variant"].nunique(), "variant")]
    # what a model doesn't have is 0
    if (runs["depth"] > 0).any():
        parts.append(f"depth {_listed(runs.loc[runs['depth'] > 0, 'depth'])}")
    if (runs["hidden_features"] > 0).any():
        widths = runs.loc[runs["hidden_features"] > 0, "hidden_features"]
        parts.append(f"{_listed(widths)} hidden {'unit' if (widths == 1).all() else 'units'}")
    if (runs["region_leak"] > 0).any():
        parts.append(f"region leak {listed('region_leak')}")
    parts.append(_counted(runs["seed"].nunique(), "seed"))
    stopped = ""
    if (done["best_epoch"] != done["epochs"]).any():
        first, last = done["best_epoch"].min(), done["best_epoch"].max()
        stopped = f" Early stopping: the parameters are those of epochs {first:g} to {last:g}."
    return (
        f"{len(runs)} runs on `{runs['dataset'].iloc[0]}`: {'; '.join(parts)}. Each run: "
        f"{listed('epochs')} epochs, batch size {listed('batch_size')}, peak learning rate "
        f"{listed('learning_rate')}.{stopped}{describe_failed(runs)}"
    )


def describe_scores(runs: pd.DataFrame) -> str:
    """Return a line per variant and shape: its size, and its accuracies."""
    summary = summarise(runs, list(SCORES))
    several = set(summary.loc[summary["variant"].duplicated(), "variant"])
    lines = []
    for row in summary.to_dict("records"):
        where = f"- **{row['label']}**"
        if row["variant"] in several:
            where += f", depth {row['depth']}, {row['hidden_features']} hidden units"
            where += f", region leak {row['region_leak']:g}" if row["region_leak"] else ""
        said = [f"{name} {_percent(row, metric)}" for metric, name in SCORES.items()]
        size = f"{row['n_parameters']:,} parameters"
        if row["training_width"]:
            size += f", {row['training_width']} hidden units in training"
            size += f" and {row['inference_width']} at inference"
        lines.append(f"{where} ({size}): {'; '.join(said)}.")
    return "\n".join(lines)


def _percent(row: dict[Hashable, Any], metric: str) -> str:
    shown = COLUMNS[metric].show_interval(row[f"{metric}_mean"], row[f"{metric}_ci"])
    return f"{shown} %"


def _counted(n: int, name: str) -> str:
    return f"{n} {name}" if n == 1 else f"{n} {name}s"


def _listed(values: pd.Series[float]) -> str:
    """Return the values that occur: one by one, or of many the first and the last."""
    found = [f"{value:g}" for value in sorted(values.unique())]
    if len(found) > MOST_LISTED:
        return f"{found[0]} to {found[-1]} ({len(found)} values)"
    return f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else found[0]


def describe_comparisons(comparisons: pd.DataFrame) -> str:
    """Return a line per comparison and metric: the change, and whether the test is significant."""
    if comparisons.empty:
        return "The config names no comparisons for this experiment."
    lines = []
    for row in comparisons.to_dict("records"):
        change = COLUMNS["change"].show_interval(row["change_mean"], row["change_ci"])
        n_points = row["n_points"]
        left_out = ""
        if n_left := row.get("n_left_out", 0):
            left_out = f" ({_counted(n_left, 'other')} left out, where a run failed)"
        lines.append(
            f"- **{row['treatment_label']}** against **{row['baseline_label']}**, "
            f"{METRICS.get(row['metric'], row['metric'])}: {change} % relative, better at "
            f"{row['n_better']} of {n_points} grid points{left_out}; "
            f"{_verdict(row['t'], row['p'])}."
        )
    return "\n".join(lines)


def describe_ranking(ranking: pd.DataFrame, metric: str = "accuracy_hard") -> str:
    """Return a sentence with the variants, best first."""
    column = COLUMNS[metric]
    order = " > ".join(
        f"{row['label']} ({column.show(row[f'{metric}_mean'])} %)"
        for row in ranking.to_dict("records")
    )
    n_points = ranking["n_points"].iloc[0]
    points = f"over {n_points} grid points" if n_points > 1 else "over seeds"
    return f"By mean {METRICS[metric]} {points}: {order}."


def describe_trend(trend: pd.DataFrame) -> str:
    """Return a line per variant and depth: whether entropy falls as experts get wider."""
    lines = []
    for row in trend.to_dict("records"):
        where = f"- **{row['label']}**, depth {row['depth']} ({row['n_experts']} experts)"
        if pd.isna(row["rho"]):
            lines.append(f"{where}: no trend can be computed from these runs.")
            continue
        if row["p"] >= LEVEL:
            verdict = "no clear trend"
        elif row["rho"] < 0:
            verdict = "entropy falls as experts get wider: the data moves to fewer of them"
        else:
            verdict = "entropy rises as experts get wider: the data spreads"
        lines.append(
            f"{where}: rho = {row['rho']:+.2f}, {say_p(row['p'])}, {row['n_runs']} runs: {verdict}."
        )
    return "\n".join(lines)


def _verdict(t: float, p: float) -> str:
    if pd.isna(p):
        return "no test is possible"
    significant = "significant" if p < LEVEL else "not significant"
    return f"paired t = {t:.2f}, {say_p(p)}: {significant} at {100 * LEVEL:g} %"


def say_p(value: float) -> str:
    """Return `p = ...`, or `p < ...` for the smallest."""
    shown = show_p(value)
    return f"p < {shown[1:]}" if shown.startswith("<") else f"p = {shown}"
