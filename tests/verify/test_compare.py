"""Two result trees, table by table, on real runs."""

import lzma
import shutil

import numpy as np
import pandas as pd
import pytest
from halves import EXPERIMENTS, REFERENCE, edited

from fastff.cli import main
from fastff.verify.compare import TableName, cell_table, compare_trees, report, tables_of


def verdicts(comparison) -> dict[str, str]:
    return {table.name.name: table.verdict for table in comparison.tables}


def rows_of(table: pd.DataFrame, **values) -> pd.Series:
    return np.logical_and.reduce([table[key] == value for key, value in values.items()])


def test_other_seeds_of_the_same_code_are_within(halves):
    comparison = compare_trees(halves["left"], halves["right"])
    found = verdicts(comparison)
    assert {name.split("/")[0] for name in found} == set(EXPERIMENTS)
    kinds = {name.split("/")[1] for name in found}
    assert kinds == {"runs", "epochs", "expert_counts", "gradients", "nodes", "projections"}
    assert set(found.values()) == {"within"}
    assert comparison.agrees(common=False)
    assert "seeds [0, 1, 2, 3, 4] against [5, 6, 7, 8, 9]" in report(comparison)


def test_packed_and_plain_tables_are_identical(tmp_path):
    packed, plain = tmp_path / "packed", tmp_path / "plain"
    for part in ("tidy/node_tree_fashion_mnist", "tables"):
        shutil.copytree(REFERENCE / part, packed / part)
    shutil.copytree(packed, plain)
    for path in plain.glob("tidy/*/*.xz"):
        path.with_suffix("").write_bytes(lzma.decompress(path.read_bytes()))
        path.unlink()
    comparison = compare_trees(packed, plain)
    assert set(verdicts(comparison).values()) == {"identical"}
    assert "node_tree/runs" in verdicts(comparison)
    assert "soft_merging_comparisons" in verdicts(comparison)


def test_a_point_of_accuracy_lost_by_a_variant_is_found(halves, tmp_path):
    """Too little for a single shape's interval, but not for the mean over its shapes."""

    def worse(runs):
        return runs.assign(
            accuracy_hard=runs["accuracy_hard"] - 0.01 * (runs["variant"] == "moe_mixture")
        )

    other = edited(halves["right"], tmp_path / "other", "tidy/width_depth/runs", worse)
    comparison = compare_trees(halves["left"], other)
    assert verdicts(comparison) == {"width_depth/runs": "different"}
    assert not comparison.agrees(common=True)
    outside = comparison.tables[0].outside
    assert ("moe_mixture", "all", "all", 0.0, "accuracy_hard") in outside.index
    assert set(outside.reset_index()["variant"]) == {"moe_mixture"}
    text = report(comparison)
    assert "different tidy/width_depth/runs (fashion_mnist): " in text
    assert "variant moe_mixture, depth all, hidden_features all, accuracy_hard: 0.8" in text


@pytest.mark.parametrize(
    ("table", "edit", "line"),
    [
        (
            "learned_transition/runs",
            lambda runs: runs.assign(learning_rate=0.1),
            "variant fff_mixture_top2, depth 3, hidden_features 3, learning_rate: 0.007 ag",
        ),
        (
            "learned_transition/runs",
            lambda runs: runs[runs["variant"] != "fff_mixture_top2"],
            "variant fff_mixture_top2, depth 3, hidden_features 3: only on the left",
        ),
        (
            "width_depth/runs",
            lambda runs: pd.concat([runs, runs[runs["depth"] == 1].assign(depth=9)]),
            "variant moe_mixture, depth 9, hidden_features 8: only on the right",
        ),
        (
            "width_depth/runs",
            lambda runs: runs.drop(runs.index[0]),
            "region_leak 0.0: lacks 0 of the seeds on the left, 1 on the right",
        ),
        (
            "learned_transition/epochs",
            lambda epochs: epochs.assign(more=1),
            "column more is only on the right",
        ),
        (
            "tree_regions/projections",
            lambda rows: rows.assign(x=rows["x"] * 3, y=rows["y"] * 3),
            "means and runs outside their interval",
        ),
        (
            "tree_regions/nodes",
            lambda nodes: nodes.assign(entropy=nodes["entropy"] / 9),
            "hidden_features 32, region_leak 0.3, epoch 0, tree 0, node 0, entropy: 0.67",
        ),
        (
            "learned_transition/expert_counts",
            lambda counts: counts.assign(count=counts["count"] * 2),
            "epoch 5, samples: 10000 against 20000",
        ),
        (
            "learned_transition/gradients",
            lambda rows: rows.assign(magnitude=rows["magnitude"] * 100),
            "means and runs outside their interval",
        ),
    ],
)
def test_what_differs_is_named(halves, tmp_path, table, edit, line):
    other = edited(halves["right"], tmp_path / "other", f"tidy/{table}", edit)
    comparison = compare_trees(halves["left"], other)
    assert verdicts(comparison)[table] == "different"
    assert line in report(comparison, shown=1000)
    assert not comparison.agrees(common=True)


def test_experts_and_directions_may_trade_places(halves, tmp_path):
    """Another machine's expert 0 may be this one's expert 3, and its plane may be turned."""

    def swapped(counts):
        return counts.assign(expert=counts["n_experts"] - 1 - counts["expert"])

    other = edited(halves["left"], tmp_path / "a", "tidy/width_depth/expert_counts", swapped)
    other = edited(halves["left"], tmp_path / "a", "tidy/tree_regions/projections",
                   lambda rows: rows.assign(x=rows["y"], y=-rows["x"]))  # fmt: skip
    found = verdicts(compare_trees(halves["left"], other))
    assert found["width_depth/expert_counts"] == "within"
    assert found["tree_regions/projections"] == "within"


def test_recent_columns_are_compared_where_both_sides_have_them(halves, tmp_path):
    def with_choices(entropy):
        def edit(runs):
            noise = 0.01 * (runs["seed"] % 5)
            return runs.assign(train_choice_entropy=entropy + noise, train_choice_experts=8)

        folder = tmp_path / f"{entropy}"
        return edited(halves["right"], folder, "tidy/width_depth/runs", edit)

    two, three = with_choices(2.0), with_choices(3.0)
    older = compare_trees(halves["left"], two)
    assert set(verdicts(older).values()) == {"within"}
    assert "column train_choice_entropy is only on the right: not compared" in report(older)
    found = compare_trees(two, three)
    assert verdicts(found) == {"width_depth/runs": "different"}
    assert set(found.tables[0].outside.reset_index()["column"]) == {"train_choice_entropy"}
    assert "train_choice_experts" in found.tables[0].cells.reset_index()["column"].tolist()


def test_an_experiment_of_only_one_tree(halves, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(halves["left"], other)
    shutil.rmtree(other / "tidy" / "tree_regions")
    comparison = compare_trees(halves["left"], other)
    assert "different tidy/tree_regions/runs (fashion_mnist): only on the left" in report(
        comparison
    )
    assert not comparison.agrees(common=False)
    assert comparison.agrees(common=True)


def test_a_part_that_one_tree_lacks_is_noted(halves, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(halves["left"], other)
    shutil.copytree(REFERENCE / "tables", other / "tables")
    comparison = compare_trees(halves["left"], other)
    assert report(comparison).startswith(f"{halves['left']} has no tables in tables/: not compared")
    assert comparison.agrees(common=False)


def test_one_dataset_under_two_names_of_an_experiment(halves, tmp_path):
    """A config with an experiment on several datasets adds the dataset to its name."""
    other = tmp_path / "other"
    shutil.copytree(halves["left"], other)
    for name in EXPERIMENTS:
        renamed = (other / "tidy" / name).rename(other / "tidy" / f"{name}_fashion_mnist")
        for path in renamed.iterdir():
            table = pd.read_csv(path)
            table["experiment"] = f"{name}_fashion_mnist"
            table.to_csv(path, index=False)
    comparison = compare_trees(other, halves["right"])
    assert set(verdicts(comparison).values()) == {"within"}
    assert comparison.agrees(common=False)


def test_drawn_tables_are_compared_by_the_intervals_they_state(tmp_path):
    trees = [tmp_path / side for side in ("left", "right", "worse")]
    for tree in trees:
        shutil.copytree(
            REFERENCE / "tables",
            tree / "tables",
            ignore=shutil.ignore_patterns("*_fashion_mnist*"),
        )
    columns = (("soft_merging", "train_loss"), ("soft_merging_comparisons", "change"))
    for tree, factor in zip(trees[1:], (0.5, 10), strict=True):
        for name, column in columns:
            path = tree / "tables" / f"{name}.csv"
            table = pd.read_csv(path)
            table[f"{column}_mean"] += factor * table[f"{column}_ci"]
            table.to_csv(path, index=False)
    found = verdicts(compare_trees(trees[0], trees[1]))
    assert found.pop("soft_merging") == found.pop("soft_merging_comparisons") == "within"
    assert set(found.values()) == {"identical"}
    comparison = compare_trees(trees[0], trees[2])
    assert verdicts(comparison)["soft_merging"] == "different"
    assert "treatment fff_soft_merged_softplus" in report(comparison)


def test_one_seed_has_no_interval(halves, tmp_path):
    def first(runs):
        return runs[runs["seed"] == 5]

    other = edited(halves["right"], tmp_path / "other", "tidy/learned_transition/runs", first)
    comparison = compare_trees(halves["left"], other)
    text = report(comparison)
    assert "one seed on the right: no interval, so only equal values agree" in text
    assert "no interval\n" in text
    assert verdicts(comparison)["learned_transition/runs"] == "different"


def test_the_command_writes_every_cell(halves, tmp_path, capsys):
    path = tmp_path / "cells.csv"
    arguments = ["verify", str(halves["left"]), str(halves["right"]), "--cells", str(path)]
    assert main(arguments) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("0 different; 0 only on one side")
    cells = pd.read_csv(path)
    comparison = compare_trees(halves["left"], halves["right"])
    assert len(cells) == len(cell_table(comparison)) > 1000
    assert (cells["verdict"] == "within").sum() > 1000
    assert (cells["low"] <= cells["difference"]).all()


def test_what_is_timed_is_left_out(tmp_path):
    shutil.copytree(REFERENCE / "tables", tmp_path / "tables")
    shutil.copytree(REFERENCE / "benchmarks", tmp_path / "benchmarks")
    assert {name.part for name in tables_of(tmp_path)} == {"tables"}
    assert TableName("tables", "soft_merging_comparisons", "cifar10") in tables_of(tmp_path)


def test_bad_trees_give_one_line_and_code_2(halves, tmp_path, capsys):
    def said(left, right, *more) -> str:
        assert main(["verify", str(left), str(right), *more]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    good, empty = halves["left"], tmp_path / "empty"
    empty.mkdir()
    assert said(good, tmp_path / "none") == f"fastff verify: {tmp_path / 'none'}: no such folder"
    assert f"{empty} is no result tree: it holds no table with rows" in said(empty, good)
    assert "is no result tree: it holds no tidy/ and no tables/" in said(good, empty, "--exact")

    def of_mnist(table):
        return table.assign(dataset="mnist")

    other = tmp_path / "other"
    shutil.copytree(REFERENCE / "tidy" / "node_tree_fashion_mnist", other / "tidy" / "node_tree")
    assert said(good, other) == (
        f"fastff verify: no table in common: {good} has learned_transition (fashion_mnist), "
        f"tree_regions (fashion_mnist), width_depth (fashion_mnist) "
        f"and {other} has node_tree (fashion_mnist)"
    )
    (other / "tidy" / "node_tree" / "runs.csv").write_text("a,b\n1,2\n")
    assert "missing column experiment" in said(good, other)
    broken = edited(
        good, tmp_path / "broken", "tidy/width_depth/runs", lambda t: t.assign(accuracy_hard="x")
    )
    assert "column accuracy_hard has 'x'; allowed are numbers" in said(good, broken)
    for odd in (np.inf, 1e300, 0.5):
        broken = edited(
            *(good, tmp_path / f"{odd}", "tidy/width_depth/expert_counts"),
            lambda table, odd=odd: table.assign(count=odd),
        )
        assert f"column count has {odd:g}; allowed are whole numbers" in said(good, broken)
    for column in ("experiment", "dataset"):
        mixed = edited(
            *(good, tmp_path / column, "tidy/width_depth/runs"),
            lambda table, column=column: table.assign(**{column: [*table[column][:-1], "another"]}),
        )
        assert f"column {column} has " in said(good, mixed)
    twice = tmp_path / "twice"
    shutil.copytree(good, twice)
    shutil.copytree(twice / "tidy" / "width_depth", twice / "tidy" / "width_depth_fashion_mnist")
    path = twice / "tidy" / "width_depth_fashion_mnist" / "runs.csv"
    pd.read_csv(path).assign(experiment="width_depth_fashion_mnist").to_csv(path, index=False)
    assert "are of two experiments that differ by the name of their dataset" in said(good, twice)
    assert "--exact has none" in said(good, good, "--exact", "--common")


def test_exact_demands_the_same_bytes(halves, tmp_path, capsys):
    assert main(["verify", str(halves["left"]), str(halves["left"]), "--exact"]) == 0
    assert capsys.readouterr().out.endswith("files identical, 0 not\n")
    assert main(["verify", str(halves["left"]), str(halves["right"]), "--exact"]) == 1
    assert "differs: tidy/width_depth/runs.csv" in capsys.readouterr().out
