"""Shares over epochs, parallel trees, gradients by level and accuracy over the leak."""

import numpy as np
import pandas as pd
import pytest
from boxes import faults
from synthetic import LABELS

from fastff.analysis import (
    describe_gradients,
    describe_leak,
    describe_runs,
    describe_scores,
    describe_shares,
    describe_trees,
    draw_gradients,
    draw_leak,
    draw_shares,
    draw_trees,
    load_table,
    load_tidy,
    runs_with_distribution,
)
from fastff.analysis.shares import entropy_over_epochs


def entropy(counts: pd.Series) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def test_shares_over_the_epochs(default_folders):
    counts = load_tidy(default_folders["gradients"], LABELS).expert_counts
    figure = draw_shares(counts, "Title")
    assert faults(figure) == []
    above, below = figure.axes[:4], figure.axes[4:]
    assert [axes.get_title() for axes in above] == list(counts["label"].unique())
    for axes in above:
        heights = [[bar.get_height() for bar in group] for group in axes.containers]
        assert np.shape(heights) == (8, 5)
        np.testing.assert_allclose(np.sum(heights, axis=0), 100)
        tops = [bar.get_y() + bar.get_height() for bar in axes.containers[-1]]
        np.testing.assert_allclose(tops, 100)
    moe = counts[(counts["variant"] == "moe_mixture") & (counts["seed"] == 0)]
    last = moe[moe["epoch"] == 4].groupby("expert")["count"].sum()
    shown = [group[-1].get_height() for group in above[3].containers]
    np.testing.assert_allclose(shown, 100 * last / last.sum())
    by_seed = [
        entropy(rows.groupby("expert")["count"].sum())
        for _, rows in counts[
            (counts["variant"] == "moe_mixture") & (counts["epoch"] == 0)
        ].groupby("seed")
    ]
    mean = below[3].lines[-1].get_ydata()[0]
    assert mean == pytest.approx(np.mean(by_seed))
    assert f"**MoE**: entropy of the samples over the experts {mean:.2f} bits in epoch 0" in (
        describe_shares(counts)
    )


def test_only_what_routes_has_a_column(default_folders):
    counts = load_tidy(default_folders["gradients"], LABELS).expert_counts
    plain = counts[counts["variant"] == "moe_mixture"].assign(
        variant="mlp_relu", label="feed-forward", n_experts=1, expert=0
    )
    assert len(draw_shares(pd.concat([plain, counts]), "Title").axes) == 8
    with pytest.raises(ValueError, match="no variant with more than one expert"):
        draw_shares(plain, "Title")


@pytest.fixture
def trees(default_folders):
    return load_tidy(default_folders["parallel_trees"], LABELS)


def test_maps_of_parallel_trees(trees):
    counts = trees.expert_counts
    figure = draw_trees(counts, "Title")
    assert faults(figure) == []
    assert figure._suptitle.get_text() == "Title, maps of seed 0 · MNIST-5k · 5 seeds"
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in maps] == [f"epoch {epoch}" for epoch in range(5)]
    tables = [np.asarray(axes.images[0].get_array()) for axes in maps]
    for table in tables:
        assert table.shape == (32, 4)
        np.testing.assert_allclose(table.sum(axis=1), 100)
    # rows are in the order of the last epoch's entropies, in all maps
    first = counts[counts["seed"] == 0]
    samples = first.groupby(["epoch", "tree", "expert"])["count"].sum().unstack("expert")
    entropies = samples.loc[4].apply(entropy, axis=1)
    order = entropies.sort_values(kind="stable").index
    for epoch, table in enumerate(tables):
        expected = samples.loc[epoch].loc[order]
        np.testing.assert_allclose(table, 100 * expected.div(expected.sum(axis=1), axis=0))


def test_entropy_over_epochs_is_the_mean_over_trees_and_seeds(trees):
    counts = trees.expert_counts
    per_tree = counts.groupby(["epoch", "seed", "tree", "expert"])["count"].sum()
    expected = per_tree.groupby(["epoch", "seed", "tree"]).apply(entropy).groupby("epoch").mean()
    found = entropy_over_epochs(counts).set_index("epoch")
    np.testing.assert_allclose(found["entropy_mean"], expected)
    assert found["n_seeds"].to_list() == [5] * 5
    text = describe_trees(counts)
    assert f"**Epoch 4**: a tree's leaves have {expected[4]:.2f} bits of at most 2" in text
    assert "over 160 trees" in text


def test_one_leaf_with_nearly_all_samples_is_counted(trees):
    counts = trees.expert_counts[trees.expert_counts["epoch"] == 4].copy()
    counts.loc[(counts["tree"] < 8) & (counts["expert"] > 0), "count"] = 0
    assert "in 25 % of the trees one leaf gets at least 90 %" in describe_trees(counts)


def test_at_most_eight_epochs_have_a_map(trees):
    last = trees.expert_counts[trees.expert_counts["epoch"] == 4]
    counts = pd.concat([last.assign(epoch=epoch) for epoch in range(16)])
    figure = draw_trees(counts, "Title")
    assert faults(figure) == []
    assert sum(len(axes.images) for axes in figure.axes) == 8


def test_several_variants_of_trees_are_refused(trees):
    counts = trees.expert_counts
    two = pd.concat([counts, counts.assign(variant="other")])
    with pytest.raises(ValueError, match="variant has"):
        draw_trees(two, "Title")


def test_gradients_of_nodes_are_taken_together_by_level(default_folders):
    gradients = load_table(default_folders["parallel_trees"], "gradients", LABELS)
    figure = draw_gradients(gradients, "Title")
    assert faults(figure) == []
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    lines = figure.axes[0].lines
    assert len(lines) == 3  # levels
    rows = gradients[(gradients["part"] == "node_in") & gradients["unit"].isin([1, 2])]
    median = rows.groupby("step")["magnitude"].median()
    np.testing.assert_allclose(lines[1].get_ydata(), median)


def test_what_is_said_of_gradients(default_folders):
    gradients = load_table(default_folders["gradients"], "gradients", LABELS)
    first, second, *rest = describe_gradients(gradients).splitlines()
    assert len(rest) == 3
    assert first == (
        "- **feed-forward, ReLU**, mean absolute gradient, median over units and runs, first → "
        "last tenth of the steps: first layer 0.01 → 0.01; second layer 0.01 → 0.01."
    )
    # the synthetic units fall by powers: in each of 5 runs one gets 0, and one less than 1e-6
    last = gradients[gradients["step"] == gradients["step"].max()]
    rows = last[(last["variant"] == "fff_mixture_product") & (last["part"] == "expert_in")]
    idle = (rows["magnitude"] < 1e-6).sum()
    assert idle >= 5
    assert f"(below 1e-06 at the end: {idle} of 40 experts)" in second


def test_accuracy_over_the_leak(default_folders):
    tidy = load_tidy(default_folders["region_leak"], LABELS)
    figure = draw_leak(tidy, "Title")
    assert faults(figure) == []
    test, train, leaves = figure.axes
    leaks = np.arange(11) / 20
    for axes, columns in (
        (test, ("accuracy_hard", "accuracy_soft")),
        (train, ("train_accuracy_hard", "train_accuracy_soft")),
    ):
        for line, column in zip(axes.lines, columns, strict=True):
            means = tidy.runs.groupby("region_leak")[column].mean()
            np.testing.assert_allclose(line.get_xdata(), leaks)
            np.testing.assert_allclose(line.get_ydata(), 100 * means)
        assert len(axes.collections) == 2  # their intervals
    entropies = runs_with_distribution(tidy).groupby("region_leak")["entropy"].mean()
    np.testing.assert_allclose(leaves.lines[0].get_ydata(), entropies)
    assert leaves.lines[1].get_ydata()[0] == 4


def test_what_is_said_of_the_leak(default_folders):
    runs = load_tidy(default_folders["region_leak"], LABELS).runs
    means = 100 * runs.groupby("region_leak")["accuracy_hard"].mean()
    hard, soft = describe_leak(runs).splitlines()
    assert hard.startswith(f"- **FFF**, hard accuracy: {means.iloc[0]:.1f} ±")
    assert f"the best is {means.max():.1f} ±" in hard
    assert "at leak 0. Rank correlation with the leak: rho = -0." in hard
    assert "soft accuracy" in soft
    diverged = describe_leak(runs.assign(accuracy_hard=np.nan))
    assert "hard accuracy: – % at leak 0, – % at leak 0.5" in diverged


def test_what_is_said_of_runs(default_folders):
    runs = load_tidy(default_folders["region_leak"], LABELS).runs
    said = describe_runs(runs)
    assert said.startswith("55 runs on MNIST-5k: 1 variant; depth 4; 16 hidden units; ")
    assert "region leak 0 to 0.5 (11 values); 5 seeds. Each run: 4 epochs" in said
    assert "Early stopping" not in said
    mixed = load_tidy(default_folders["gradients"], LABELS).runs
    assert "5 variants; depth 3; 32 and 256 hidden units; region leak 0 and 0.3" in describe_runs(
        mixed
    )
    stopped = runs.assign(best_epoch=runs["seed"].clip(1, 4))
    assert "Early stopping: the parameters are those of epochs 1 to 4." in describe_runs(stopped)


def test_what_is_said_of_scores(default_folders):
    runs = load_tidy(default_folders["node_tree"], LABELS).runs
    first = describe_scores(runs).splitlines()[0]
    mean = 100 * runs[runs["variant"] == "fff_mixture_log"]["accuracy_hard"].mean()
    assert first.startswith("- **FFF, log-sigmoid** (")
    assert f"hard accuracy {mean:.1f} ±" in first
    cnn = describe_scores(load_tidy(default_folders["projection"], LABELS).runs).splitlines()[-1]
    assert cnn.startswith("- **CNN** (794 parameters): hard accuracy")
    leaking = describe_scores(load_tidy(default_folders["region_leak"], LABELS).runs).splitlines()
    assert len(leaking) == 11
    assert "depth 4, 16 hidden units, region leak 0.05 (" in leaking[1]
