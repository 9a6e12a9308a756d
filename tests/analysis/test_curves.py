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
)

RECORDED = ("top_k", "learned_transition", "hypercube")


@pytest.mark.parametrize("experiment", RECORDED)
def test_curves_of_the_default_config_are_clear(default_folders, experiment):
    tidy = load_tidy(default_folders[experiment], LABELS)
    n_variants = tidy.runs["variant"].nunique()
    epochs = draw_epochs(tidy.epochs, "Title")
    assert faults(epochs) == []
    assert [len(axes.lines) for axes in epochs.axes] == [n_variants] * 3
    assert epochs._suptitle.get_text() == "Title · mnist5k · 5 seeds"
    gradients = draw_gradients(
        load_table(default_folders[experiment], "gradients", LABELS), "Title"
    )
    assert faults(gradients) == []
    assert len(gradients.axes) == 3 * n_variants


def test_epochs_show_means_and_their_intervals():
    tables = synthetic_tables(("moe_mixture",), (2,), (8,), (0, 1, 2), n_epochs=4)
    train, soft, _ = draw_epochs(tables["epochs"], "Title").axes
    expected = tables["epochs"].groupby("epoch")["accuracy_soft"].mean()
    x, y = soft.lines[0].get_data()
    assert list(x) == [1, 2, 3, 4]
    np.testing.assert_allclose(y, 100 * expected)
    assert len(train.collections) == 1
    assert train.get_ylabel() == "train loss (nats)"


def test_gradients_have_a_line_per_unit_and_none_at_zero():
    runs = synthetic_tables(("moe_mixture",), (2,), (8,), (0, 1))["runs"]
    gate, *_ = draw_gradients(synthetic_gradients(runs), "Title").axes
    assert gate.get_yscale() == "log"
    assert len(gate.lines) == 4
    np.testing.assert_allclose(gate.lines[1].get_ydata(), 0.01 / np.arange(1, 11))
    assert np.isnan(gate.lines[3].get_ydata()).all()


def test_at_most_six_decades_of_gradients_are_shown():
    variants = ("moe_mixture", "hypercube_mixture")
    gradients = synthetic_gradients(synthetic_tables(variants, (2,), (8,), (0,))["runs"])
    gradients.loc[gradients["variant"] == variants[1], "magnitude"] *= 5
    whole = draw_gradients(gradients, "Title").axes[0]
    assert whole.get_ylim()[0] < gradients["magnitude"][gradients["magnitude"] > 0].min()
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
    assert len(figure.axes) == 3 * 5
    assert [text.get_text() for text in figure.axes[0].texts] == ["no gate"]
    assert [len(axes.lines) for axes in figure.axes[::5]] == [0, 1, 1]
    assert [len(axes.lines) for axes in figure.axes[1::5]] == [8, 8, 8]


def test_a_part_of_another_gate_is_drawn_and_told_last_by_its_name():
    runs = synthetic_tables(("moe_mixture",), (2,), (8,), (0,))["runs"]
    gradients = synthetic_gradients(runs).replace({"part": {"gate": "gate_scale"}})
    figure = draw_gradients(gradients, "Title")
    assert figure.axes[-1].get_ylabel() == "gate scale"
    assert "; gate scale " in describe_gradients(gradients)


def test_gradients_that_were_not_recorded_are_named(tmp_path):
    (tmp_path / "gradients.csv").write_text(
        "experiment,dataset,variant,label,depth,hidden_features,region_leak,n_experts,seed,"
        "step,part,unit,magnitude\n"
    )
    with pytest.raises(TidyError, match=r"gradients\.csv has no rows"):
        load_table(tmp_path, "gradients")
