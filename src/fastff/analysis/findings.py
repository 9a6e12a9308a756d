"""What the tables say, as sentences: numbers in a notebook's text are computed, never typed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fastff.analysis.curves import ACTIVE, FIRST_LAYER, parts_of
from fastff.analysis.distribution import distribution_per_tree, samples_per_expert
from fastff.analysis.failed import describe_failed, said_unless_all_failed
from fastff.analysis.shares import entropy_over_epochs
from fastff.analysis.summary import ACCURACIES, labels_of, summarise
from fastff.config.display import displayed
from fastff.tables.format import show, show_interval, show_p
from fastff.tables.read import failed
from fastff.tables.schema import MATCHES, PRINTED, RUN

LEVEL = 0.05
MOST_LISTED = 6
SCORES = {
    "accuracy_hard": "hard accuracy",
    "accuracy_soft": "soft",
    "train_accuracy_hard": "on the training samples hard",
    "train_accuracy_soft": "soft",
}
FULL = 0.9  # share of a tree's samples from which on one leaf has nearly all


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
        f"{len(runs)} runs on {displayed(runs['dataset'].iloc[0])}: {'; '.join(parts)}. Each run: "
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
    shown = show_interval(metric, row[f"{metric}_mean"], row[f"{metric}_ci"])
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
        change = show_interval("change", row["change_mean"], row["change_ci"])
        n_points = row["n_points"]
        left_out = ""
        if n_left := row.get("n_left_out", 0):
            left_out = f" ({_counted(n_left, 'other')} left out, where a run failed)"
        lines.append(
            f"- **{row['treatment_label']}** against **{row['baseline_label']}**, "
            f"{PRINTED[row['metric']].words}: {change} % relative, better at "
            f"{row['n_better']} of {n_points} grid points{left_out}; "
            f"{_verdict(row['t'], row['p'])}."
        )
    return "\n".join(lines)


def describe_ranking(ranking: pd.DataFrame, metric: str = "accuracy_hard") -> str:
    """Return a sentence with the variants, best first."""
    order = " > ".join(
        f"{row['label']} ({show(metric, row[f'{metric}_mean'])} %)"
        for row in ranking.to_dict("records")
    )
    n_points = ranking["n_points"].iloc[0]
    points = f"over {n_points} grid points" if n_points > 1 else "over seeds"
    return f"By mean {PRINTED[metric].words} {points}: {order}."


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


def describe_sizes(matched: pd.DataFrame) -> str:
    """Return a line per routed variant and notion of size: against feed-forward layers of it.

    Args:
        matched: what `match_sizes` returned.

    """
    lines = []
    for variant, label in labels_of(matched).items():
        for match in MATCHES:
            column = f"{match}_difference"
            rows = matched[matched["variant"] == variant].dropna(subset=f"{match}_difference_mean")
            where = f"- **{label}** against a feed-forward layer of {match.replace('_', ' ')}"
            if rows.empty:
                lines.append(f"{where}: none was trained.")
                continue
            mean, width = rows[f"{match}_difference_mean"], rows[f"{match}_difference_ci"]
            lines.append(
                f"{where}: {show(column, mean.mean())} points of hard accuracy on average over "
                f"{len(rows)} shapes, from {show(column, mean.min())} to "
                f"{show(column, mean.max())}; "
                f"better at {(mean > 0).sum()}, clearly (95 % interval) better at "
                f"{(mean - width > 0).sum()} and worse at {(mean + width < 0).sum()}."
            )
    return "\n".join(lines)


@said_unless_all_failed
def describe_leak(runs: pd.DataFrame) -> str:
    """Return a line per variant and form: accuracy without leak, at the best leak and the largest.

    With Spearman's rank correlation of leak and accuracy over runs, two-sided p (t approximation).
    """
    summary = summarise(runs, ACCURACIES)
    lines = []
    for variant, label in labels_of(runs).items():
        own, rows = (table[table["variant"] == variant] for table in (runs, summary))
        rows = rows.sort_values("region_leak")
        for metric in ACCURACIES:
            ends = [
                rows.iloc[0],
                rows.loc[rows[f"{metric}_mean"].fillna(-1.0).idxmax()],
                rows.iloc[-1],
            ]
            least, best, most = (
                f"{show_interval(metric, row[f'{metric}_mean'], row[f'{metric}_ci'])} % at leak "
                f"{row['region_leak']:g}"
                for row in ends
            )
            text = f"- **{label}**, {PRINTED[metric].words}: {least}, {most}; the best is {best}"
            if rows["region_leak"].nunique() > 1 < own[metric].nunique():
                rho, p = (float(x) for x in stats.spearmanr(own["region_leak"], own[metric]))
                text += f". Rank correlation with the leak: rho = {rho:+.2f}, {say_p(p)}"
            lines.append(f"{text}.")
    return "\n".join(lines)


@said_unless_all_failed
def describe_gradients(gradients: pd.DataFrame) -> str:
    """Return a line per variant: how each part's gradient changes, and how many experts learn.

    Medians over units and runs in the first and in the last tenth of the steps, and the experts of
    all runs whose first layer has a mean below ACTIVE in the last tenth.
    """
    steps = gradients["step"].unique()
    tenth = max(1, len(steps) // 10)
    first, last = (gradients[gradients["step"].isin(s)] for s in (steps[:tenth], steps[-tenth:]))
    lines = []
    for variant, label in labels_of(gradients).items():
        said = []
        for part, name in parts_of(gradients).items():
            begin, end = (
                rows[(rows["variant"] == variant) & (rows["part"] == part)]
                .groupby(["seed", "unit"])["magnitude"]
                .mean()
                for rows in (first, last)
            )
            if begin.empty:
                continue
            said.append(f"{name} {begin.median():.2g} → {end.median():.2g}")
            if part == FIRST_LAYER and end.index.unique("unit").size > 1:
                idle = int((end < ACTIVE).sum())
                said[-1] += f" (below {ACTIVE:g} at the end: {idle} of {len(end)} experts)"
        lines.append(
            f"- **{label}**, mean absolute gradient, median over units and runs, first → last "
            f"tenth of the steps: {'; '.join(said)}."
        )
    return "\n".join(lines)


@said_unless_all_failed
def describe_shares(expert_counts: pd.DataFrame) -> str:
    """Return a line per variant that routes: the entropy of its shares, first and last epoch."""
    routed = expert_counts[expert_counts["n_experts"] > 1]
    entropies = entropy_over_epochs(routed)
    lines = []
    for variant, label in labels_of(routed).items():
        rows = entropies[entropies["variant"] == variant].sort_values("epoch")
        first, last = rows.iloc[0], rows.iloc[-1]
        lines.append(
            f"- **{label}**: entropy of the samples over the experts {first['entropy_mean']:.2f} "
            f"bits in epoch {first['epoch']:g}, {last['entropy_mean']:.2f} in epoch "
            f"{last['epoch']:g}, of at most {np.log2(last['n_experts']):g}."
        )
    return "\n".join(lines)


@said_unless_all_failed
def describe_trees(expert_counts: pd.DataFrame) -> str:
    """Return how evenly parallel trees spread samples over leaves, in the first and last epoch.

    A line per epoch, over all trees of all seeds.
    """
    entropies = distribution_per_tree(expert_counts)
    samples = samples_per_expert(expert_counts)
    fullest = samples.groupby([*RUN, "epoch", "tree"], as_index=False)["share"].max()
    most = float(np.log2(expert_counts["n_experts"].iloc[0]))
    lines = []
    for epoch in sorted({expert_counts["epoch"].min(), expert_counts["epoch"].max()}):
        entropy = entropies.loc[entropies["epoch"] == epoch, "entropy"]
        full = (fullest.loc[fullest["epoch"] == epoch, "share"] >= FULL).mean()
        lines.append(
            f"- **Epoch {epoch:g}**: a tree's leaves have {entropy.mean():.2f} bits of at most "
            f"{most:g} (from {entropy.min():.2f} to {entropy.max():.2f} over {len(entropy)} "
            f"trees); in {100 * full:.0f} % of the trees one leaf gets at least {100 * FULL:g} % "
            f"of the samples."
        )
    return "\n".join(lines)


@said_unless_all_failed
def describe_regions(nodes: pd.DataFrame, projections: pd.DataFrame) -> str:
    """Return a line per variant with a tree: its used leaves and node entropy, first and last.

    Means over seeds; a leaf is used where it gets at least one of the recorded samples.
    """
    entropies = nodes.groupby(["variant", "epoch"])["entropy"].mean()
    used = projections.groupby([*RUN, "epoch"], as_index=False)["expert"].nunique()
    lines = []
    for variant, label in labels_of(nodes).items():
        entropy = entropies[variant].sort_index()
        leaves = used[used["variant"] == variant].groupby("epoch")["expert"].mean()
        n_leaves = nodes.loc[nodes["variant"] == variant, "n_experts"].iloc[0]
        lines.append(
            f"- **{label}**: {leaves.iloc[0]:.1f} of {n_leaves} leaves are used in epoch "
            f"{leaves.index[0]:g}, {leaves.iloc[-1]:.1f} in epoch {leaves.index[-1]:g}; the mean "
            f"node entropy goes from {entropy.iloc[0]:.3f} to {entropy.iloc[-1]:.3f} nats (a coin "
            f"has {np.log(2):.3f})."
        )
    return "\n".join(lines)
