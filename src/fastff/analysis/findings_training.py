"""What training did, as sentences: gradients, shares of experts, trees and their regions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastff.analysis.curves import parts_of
from fastff.analysis.distribution import distribution_per_tree, samples_per_expert
from fastff.analysis.failed import said_unless_all_failed
from fastff.analysis.shares import entropy_over_epochs
from fastff.analysis.summary import labels_of
from fastff.tables.read import RUN

FULL = 0.9  # share of a tree's samples from which on one leaf has nearly all


@said_unless_all_failed
def describe_gradients(gradients: pd.DataFrame) -> str:
    """Return a line per variant: how each part's gradient changes, and how units differ.

    Of means over seeds: the mean over units in the first and in the last tenth of the steps, and
    the unit with most gradient over the whole run against that with least.
    """
    lines = []
    for variant, label in labels_of(gradients).items():
        said = []
        for part, name in parts_of(gradients).items():
            rows = gradients[(gradients["variant"] == variant) & (gradients["part"] == part)]
            if rows.empty:
                continue
            steps, units = (rows.groupby(key)["magnitude"].mean() for key in ("step", "unit"))
            tenth = max(1, len(steps) // 10)
            first, last = steps.iloc[:tenth].mean(), steps.iloc[-tenth:].mean()
            text = f"{name} {first:.2g} → {last:.2g}"
            least, most = units.min(), units.max()
            if len(units) > 1 and least > 0:
                text += f" (the unit with most gets {most / least:.3g} times that with least)"
            elif (units == 0).any():
                text += f" (without any: {(units == 0).sum()} of {len(units)} units)"
            said.append(text)
        lines.append(
            f"- **{label}**, mean absolute gradient, first → last tenth: {'; '.join(said)}."
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
