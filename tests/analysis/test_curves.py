"""Curves over epochs and steps: what they show, and that nothing is on top of anything."""

import numpy as np
import pytest
from boxes import faults
from synthetic import LABELS, synthetic_gradients, synthetic_tables

from fastff.analysis import (
    TidyError,
    describe_gradients,
    draw_epochs,
    draw_gradients,
    load_table,
    load_tidy,
    mean_ci,
)
from fastff.tables.format import show_interval

RECORDED = ("top_k", "learned_transition", "hypercube")


@pytest.mark.parametrize("experiment", RECORDED)
def test_curves_of_the_default_config_are_clear(default_folders, experiment):
    tidy = load_tidy(default_folders[experiment], LABELS)
    n_variants = tidy.runs["variant"].nunique()
    epochs = draw_epochs(tidy.epochs, "Title")
    assert faults(epochs) == []
    # each with a line to its number at the end
    assert [len(axes.lines) for axes in epochs.axes] == [2 * n_variants] * 3
    train, soft, hard = epochs.axes
    assert train.get_yscale() == "log"
    assert soft.get_ylim() == hard.get_ylim()
    assert epochs._suptitle.get_text() == "Title · MNIST-5k · 5 seeds"
    gradients = draw_gradients(
        load_table(default_folders[experiment], "gradients", LABELS), "Title"
    )
    assert faults(gradients) == []
    assert len(gradients.axes) == (3 + 1) * n_variants


def test_epochs_show_means_and_their_intervals():
    tables = synthetic_tables(("moe_mixture",), (2,), (8,), (0, 1, 2), n_epochs=4)
    train, soft, _ = draw_epochs(tables["epochs"], "Title").axes
    expected = tables["epochs"].groupby("epoch")["accuracy_soft"].mean()
    x, y = soft.lines[0].get_data()
    assert list(x) == [1, 2, 3, 4]
    np.testing.assert_allclose(y, 100 * expected)
    assert len(train.collections) == 1
    assert train.get_title() == "training loss (nats)"
    last = tables["epochs"].query("epoch == 4")["accuracy_soft"]
    assert [text.get_text() for text in soft.texts] == [
        show_interval("accuracy_soft", *mean_ci(last))
    ]


def test_experts_are_sorted_within_each_run():
    """Expert 0 learns most in one run, and expert 3 in the other: both are of the first rank."""
    runs = synthetic_tables(("moe_mixture",), (2,), (8,), (0, 1))["runs"]
    gradients = synthetic_gradients(runs)
    second = gradients["seed"] == 1
    gradients.loc[second, "unit"] = 3 - gradients.loc[second, "unit"]
    gate, first_layer, _, active = draw_gradients(gradients, "Title").axes
    assert gate.get_yscale() == "log"
    assert len(gate.lines) == len(first_layer.lines) == 4
    steps = np.arange(1, 11)
    for rank in range(3):
        np.testing.assert_allclose(gate.lines[rank].get_ydata(), 0.01 / steps**rank)
    assert np.isnan(gate.lines[3].get_ydata()).all()
    learns = [sum(0.01 / step**unit >= 1e-6 for unit in range(3)) for step in steps]
    np.testing.assert_allclose(active.lines[0].get_ydata(), learns)


def test_at_most_six_decades_of_gradients_are_shown():
    variants = ("moe_mixture", "hypercube_mixture")
    gradients = synthetic_gradients(synthetic_tables(variants, (2,), (8,), (0,))["runs"])
    gradients.loc[gradients["variant"] == variants[1], "magnitude"] *= 5
    whole = draw_gradients(gradients, "Title").axes[0]
    assert whole.get_ylim()[0] >= 0.05 / 1e6
    gradients.loc[gradients["unit"] == 1, "magnitude"] *= 1e-15
    cut, *_ = draw_gradients(gradients, "Title").axes
    assert cut.get_ylim()[0] == pytest.approx(0.05 / 1e6)
    assert cut.get_ylim()[1] > 0.05  # the largest of all panels


@pytest.mark.parametrize("draw", [draw_epochs, draw_gradients])
def test_more_than_one_shape_is_refused(draw):
    tables = synthetic_tables(("moe_mixture",), (1, 2), (8,))
    table = tables["epochs"] if draw is draw_epochs else synthetic_gradients(tables["runs"])
    with pytest.raises(
        ValueError, match=r"depth of moe_mixture has \[1, 2\]; these curves are of one shape"
    ):
        draw(table, "Title")


def test_variants_of_different_shapes_and_parts(default_folders):
    tidy = load_tidy(default_folders["gradients"], LABELS)
    assert faults(draw_epochs(tidy.epochs, "Title")) == []
    figure = draw_gradients(load_table(default_folders["gradients"], "gradients", LABELS), "Title")
    assert faults(figure) == []
    assert len(figure.axes) == 4 * 5
    assert [text.get_text() for text in figure.axes[0].texts] == ["no gate"]
    assert [text.get_text() for text in figure.axes[15].texts] == ["one layer"]
    assert [len(axes.lines) for axes in figure.axes[::5]] == [0, 1, 1, 0]
    assert [len(axes.lines) for axes in figure.axes[1::5]] == [8, 8, 8, 1]


def test_a_part_of_another_gate_is_drawn_and_told_last_by_its_name():
    runs = synthetic_tables(("moe_mixture",), (2,), (8,), (0,))["runs"]
    gradients = synthetic_gradients(runs).replace({"part": {"gate": "gate_scale"}})
    figure = draw_gradients(gradients, "Title")
    assert figure.axes[-2].get_ylabel() == "gradient,\ngate scale"
    assert "; gate scale " in describe_gradients(gradients)


def test_gradients_that_were_not_recorded_are_named(tmp_path):
    (tmp_path / "gradients.csv").write_text(
        "experiment,dataset,variant,label,depth,hidden_features,region_leak,n_experts,seed,"
        "step,part,unit,magnitude\n"
    )
    with pytest.raises(TidyError, match=r"gradients\.csv has no rows"):
        load_table(tmp_path, "gradients")
