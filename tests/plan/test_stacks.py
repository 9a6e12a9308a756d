"""Work and rows, counted without training, against what is known and what is trained."""

import pytest
import torch

from blobs import blobs
from fastff.config.job import TrainSpec
from fastff.config.model import Grid
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.data.names import outline
from fastff.plan.counting import Work, count
from fastff.plan.stacks import stack_costs
from fastff.train.job import train
from fastff.train.tables import tidy_tables

RECORD = ("gradients", "expert_counts", "nodes", "projections")


def spec_of(
    variant="mlp_relu", seeds=(0, 1, 2), record=(), every=1, depth=2, **recipe
) -> TrainSpec:
    return TrainSpec(
        experiment="trial",
        dataset="mnist5k",
        variant=PRESETS[variant],
        grid=Grid(depth=(depth,), hidden_features=(4,)),
        seeds=seeds,
        recipe=Recipe(**{"epochs": 3, "batch_size": 64, "learning_rate": 0.01} | recipe),
        record=record,
        record_every=every,
    )


def only(spec, data, device="cpu", runs_per_stack=10):
    (cost,) = stack_costs(spec, data, device, runs_per_stack)
    return cost


def test_a_product_is_counted_by_hand():
    a, b = torch.empty(3, 5, device="meta"), torch.empty(5, 7, device="meta")
    expected = Work(calls=1, flops=2 * 3 * 5 * 7, bytes=4 * (3 * 5 + 5 * 7 + 3 * 7))
    assert count(lambda: (a @ b).view(-1)) == expected
    assert expected + expected == expected * 2


def test_a_feed_forward_step_has_the_products_of_its_layers():
    cost = only(spec_of(), blobs())
    forward = 2 * 64 * (24 * 4 + 4 * 5)  # batch, first layer, second layer
    backward = 2 * 64 * (24 * 4 + 2 * 4 * 5)  # gradients of weights, and of hidden units
    assert cost.steps.flops == 3 * 30 * (forward + backward)  # runs, steps


@pytest.mark.parametrize("variant", sorted(PRESETS))
def test_every_variant_can_be_counted_and_grows_with_its_runs(variant):
    spec = spec_of(variant, depth=3, epochs=4)
    data = outline("cifar10")
    one = only(spec.model_copy(update={"seeds": (0,)}), data)
    three = only(spec, data)
    assert 0 < one.looks.calls < one.steps.calls == three.steps.calls
    assert three.steps.flops == 3 * one.steps.flops > 0
    assert three.rows == {table: 3 * n for table, n in one.rows.items()}
    assert three.peak_bytes == 3 * one.peak_bytes
    assert only(spec_of(variant, depth=3, epochs=8), data).steps == three.steps * 2


@pytest.mark.parametrize("variant", ["fff_on_plane", "fff_to_plane", "node_trees_to_plane"])
@pytest.mark.parametrize(("record", "every"), [((), 1), (RECORD, 1), (RECORD, 2), (RECORD[:1], 1)])
def test_rows_are_those_that_training_writes(variant, record, every):
    spec, data = spec_of(variant, record=record, every=every, epochs=2, batch_size=160), blobs()
    (results,) = train([spec], data, runs_per_stack=10)
    tables = tidy_tables(spec, results)
    written = {name: len(table) for name, table in tables.items() if len(table)}
    assert only(spec, data).rows == written


def test_a_job_is_counted_stack_by_stack():
    spec, data = spec_of(seeds=tuple(range(7))), outline("mnist5k")
    assert [cost.runs for cost in stack_costs(spec, data, "cpu", 3)] == [3, 3, 1]
    part = spec.model_copy(update={"runs": (3, 6)})
    assert [cost.runs for cost in stack_costs(part, data, "cpu", 3)] == [3, 1]
