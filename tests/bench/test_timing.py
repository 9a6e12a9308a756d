"""Benchmarks of single operations: forms that agree, honest rows, and what is left out."""

import logging
import sys

import pytest
import torch

from fastff.bench.forms import BUILDERS, Call
from fastff.bench.measure import Timer, measure_rates, peak_bytes
from fastff.bench.provenance import provenance
from fastff.bench.shape import CompulsoryWork, Rates, Shape
from fastff.bench.timing import timing_benchmark
from fastff.config.benchmarks import (
    TimedVariant,
    TimingBenchmarkSpec,
    TimingCase,
)
from fastff.config.timed_forms import TIMED_FORMS
from fastff.tables.schema import TIMINGS

CPU = torch.device("cpu")
SHAPE = Shape(
    batch=7, in_features=16, hidden_features=8, out_features=12, depth=3, top_k=1,
    activation="gelu", itemsize=4,
)  # fmt: skip


def built(op: str, form: str, shape: Shape = SHAPE) -> Call:
    torch.manual_seed(3)  # the same weights for all forms that have the same
    return BUILDERS[op][form](shape, torch.float32, CPU)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(7, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("op", TIMED_FORMS)
def test_every_form_that_config_knows_can_be_built(op):
    assert set(BUILDERS[op]) == set(TIMED_FORMS[op])


@pytest.mark.parametrize(
    ("op", "top_k", "forms"),
    [
        ("gate", 1, ["product", "log", "transition"]),
        ("gate", 1, ["descent", "descent_fused"]),
        ("experts", 1, [*TIMED_FORMS["experts"]]),
        ("experts", 8, [*TIMED_FORMS["experts"]]),
        ("layer", 1, ["moe_gathered", "moe_grouped", "moe_top1"]),
        ("layer", 1, ["fff_gathered", "fff"]),
        ("layer", 1, ["node_tree_gathered", "node_tree"]),
    ],
)
def test_forms_of_one_thing_compute_the_same(op, top_k, forms, x):
    shape = Shape(**{**vars(SHAPE), "top_k": top_k, "out_features": 8 if op == "gate" else 12})
    with torch.inference_mode():
        first, *others = [built(op, form, shape).run(x) for form in forms]
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-4, atol=1e-6)
    assert len(others) > 0


@pytest.mark.parametrize("form", TIMED_FORMS["train_step"])
def test_a_training_step_takes_gradients_of_inputs_and_weights(form, x):
    call = built("train_step", form)
    assert call.gradients
    grads = call.run(x.requires_grad_())
    assert isinstance(grads, tuple)
    assert grads[0].shape == x.shape
    assert all(grad.abs().sum() > 0 for grad in grads)
    assert len(grads) == 3


def test_the_packages_layer_has_the_point_s_sizes(x):
    layer = built("layer", "fff_package").run
    assert isinstance(layer, torch.nn.Module)
    assert (layer.n_leaves, layer.leaf_width) == (8, 8)
    assert layer(x).shape == (7, 12)


def test_work_counts_what_is_touched():
    # 7 inputs can't touch more than 7 of the 8 leaves, nor more than 1 + 2 + 4 nodes
    expert = 8 * (16 + 12)
    moved = 7 * (16 + 12)
    assert SHAPE.of_experts() == CompulsoryWork(4 * (moved + 7 * expert), 2 * 7 * expert)
    assert SHAPE.of_descent(3) == CompulsoryWork(4 * 7 * 16, 2 * 7 * 3 * 16)
    assert SHAPE.of_linear_gate() == CompulsoryWork(4 * 8 * 16, 2 * 7 * 8 * 16)
    few = Shape(**{**vars(SHAPE), "batch": 2})
    assert few.of_experts().bytes == 4 * (2 * 28 + 2 * expert)
    assert few.of_descent(3).bytes == 4 * (1 + 2 + 2) * 16
    tree = SHAPE.as_node_tree()
    assert (tree.n_experts, tree.hidden_features) == (1, 15)
    assert tree.of_node_tree() == CompulsoryWork(4 * (moved + (1 + 2 + 4 + 7) * 28), 2 * 7 * 4 * 28)


def test_a_roofline_is_of_what_limits():
    rates = Rates(bytes=10.0, flops=100.0)
    assert rates.roofline(CompulsoryWork(bytes=20, flops=50)) == 2.0
    assert rates.roofline(CompulsoryWork(bytes=20, flops=500)) == 5.0


def test_rates_are_those_of_a_computer():
    rates = measure_rates(CPU, "float32", repeats=1)
    assert 1e8 < rates.bytes < 1e13
    assert 1e8 < rates.flops < 1e15


def test_peak_memory_is_the_most_at_one_time():
    def call():
        first = torch.empty(2**20)  # 4 MiB
        del first
        second, third = torch.empty(2**18), torch.empty(2**19)  # 3 MiB together
        return second, third

    assert peak_bytes(call, CPU) == 2**22


def test_inputs_take_turns():
    inputs = [torch.full((1,), float(i)) for i in range(5)]
    seen: list[float] = []
    timer = Timer(lambda x: seen.append(x.item()), inputs, "eager", 1.0, gradients=False)
    assert timer.n_calls == 5  # a second is time for more
    seen.clear()
    assert timer.sample() > 0
    assert seen == [0.0, 1.0, 2.0, 3.0, 4.0]
    short = Timer(lambda x: None, inputs, "eager", 1e-12, gradients=False)
    assert short.n_calls == 1


def case(**changes) -> TimingCase:
    values = {
        "device": "cpu", "op": "layer", "variants": ("dense", "fff"), "in_features": 8,
        "out_features": 6, "batch": (1, 4), "depth": (2, 3), "hidden_features": (2,),
    }  # fmt: skip
    return TimingCase.model_validate(values | changes)


def measured(**cases: TimingCase):
    spec = TimingBenchmarkSpec(cases=cases, repeats=3, seconds=1e-4)
    return timing_benchmark(spec, [CPU])


def test_a_row_per_variant_point_dtype_and_mode():
    narrow = TimedVariant(name="narrow", form="dense", hidden_features=3, label="narrow one")
    table = measured(layers=case(variants=("dense", "fff", narrow)), other=case(device="cuda"))
    assert tuple(table.columns) == TIMINGS.header
    assert set(table["case"]) == {"layers"}  # and no CUDA device is asked for
    assert len(table) == 3 * 2 * 2
    first = table[(table["batch"] == 4) & (table["depth"].isin([0, 3]))].set_index("variant")
    # as wide as all leaves together
    assert first.loc["dense", ["depth", "n_experts"]].values.tolist() == [[0, 1], [0, 1]]
    assert set(first.loc["dense", "hidden_features"]) == {8, 16}
    assert first.loc["fff", ["hidden_features", "n_experts"]].tolist() == [2, 8]
    assert set(first.loc["narrow", "hidden_features"]) == {3}
    assert set(first.loc["narrow", "label"]) == {"narrow one"}
    assert first.loc["fff", "label"] == TIMED_FORMS["layer"]["fff"]
    assert (table["q25_us"] <= table["median_us"]).all()
    assert (table["median_us"] <= table["q75_us"]).all()
    for column in ("median_us", "bytes", "flops", "roofline_us", "peak_bytes"):
        assert (table[column] > 0).all()
    for key, value in provenance(CPU).items():
        if key not in ("clock", "threads"):
            assert set(table[key]) == {value}
    assert set(table["threads"]) == {1}


def test_leaves_as_wide_as_the_tree_is_deep():
    table = measured(trees=case(variants=("fff",), hidden_features="depth"))
    assert (table["hidden_features"] == table["depth"]).all()


def test_all_experts_chosen():
    table = measured(
        some=case(op="experts", variants=("experts_fused",), depth=(0, 2)),
        all=case(op="experts", variants=("experts_fused",), depth=(0, 2), top_k="all"),
    )
    assert set(table[table["case"] == "some"]["top_k"]) == {1}
    every = table[table["case"] == "all"]
    assert (every["top_k"] == every["n_experts"]).all()


def test_a_peer_that_is_not_installed_is_left_out_aloud(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "fastfeedforward", None)
    caplog.set_level(logging.INFO)
    table = measured(layers=case(variants=("fff_package", "fff")))
    assert set(table["variant"]) == {"fff"}
    assert "fff_package left out: the package fastfeedforward isn't installed" in caplog.text


def test_a_mode_that_does_not_work_here_is_left_out_aloud(monkeypatch, caplog):
    def refuse(run, **options):
        raise RuntimeError("no compiler\nwith details")

    monkeypatch.setattr(torch, "compile", refuse)
    caplog.set_level(logging.INFO)
    table = measured(layers=case(variants=("dense",), modes=("eager", "compiled")))
    assert set(table["mode"]) == {"eager"}
    assert "dense left out in mode compiled: no compiler" in caplog.text


def test_an_error_of_the_operation_itself_is_not_hidden(monkeypatch):
    def build(shape, dtype, device):
        def run(x):
            raise RuntimeError("wrong")

        return Call(run, CompulsoryWork(1, 1), shape)

    monkeypatch.setitem(BUILDERS["layer"], "fff", build)
    with pytest.raises(RuntimeError, match="wrong"):
        measured(layers=case(variants=("fff",)))
