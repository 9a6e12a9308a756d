"""Every routing kernel against float64: turns, ties, shapes and strides."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    DEVICE,
    HALVES,
    LAYOUTS,
    Draw,
    close,
    few,
    needs_cuda,
    quiet,
    right_turns,
)

from fastff.kernels import numba as cpu
from fastff.kernels import reference, tuning
from fastff.kernels import triton as cuda
from fastff.kernels.triton.descent import descend_blocks, descend_rows


def by_rows(x, weight, bias=None):
    return descend_rows(x, weight, bias, reference.levels_of(len(weight))).reached


def by_blocks(x, weight, bias=None):
    return descend_blocks(x, weight, bias, reference.levels_of(len(weight))).reached


shapes = given(
    batch=st.integers(1, 70), features=st.integers(1, 130), depth=st.integers(1, 9),
    bias=st.booleans(), ties=st.booleans(), seed=st.integers(0, 2**16),
)  # fmt: skip


def check(route, device, dtype, batch, features, depth, bias, ties, seed, layout="steps"):
    draw = Draw(seed, device, dtype, ties=ties)
    x, weight = draw.inputs(batch, features, layout), draw(2**depth - 1, features)
    b = draw(2**depth - 1) if bias else None
    leaf = route(x, weight, b)
    right_turns(x, weight, leaf, b, tolerance=0.0 if ties else 1e-4)
    if ties:
        assert leaf.equal(
            reference.route(*(t if t is None else t.double() for t in (x, weight, b)))
        )


@shapes
def test_cpu(**shape):
    check(cpu.route, "cpu", torch.float32, **shape)


@pytest.mark.parametrize("route", [by_rows, by_blocks])
@few
@shapes
def test_triton(route, **shape):
    check(route, DEVICE, torch.float32, **shape)


small = given(batch=st.integers(0, 20), features=st.integers(1, 20), seed=st.integers(0, 2**16))


@pytest.mark.parametrize("layout", LAYOUTS)
@small
def test_layouts_on_the_cpu(layout, **shape):
    options = {"depth": 3, "bias": True, "ties": True, "layout": layout}
    check(cpu.route, "cpu", torch.float32, **shape, **options)


@pytest.mark.parametrize("route", [by_rows, by_blocks])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, route):
    shape = {"batch": 5, "features": 20, "depth": 3, "bias": True, "ties": True, "seed": 1}
    check(route, DEVICE, torch.float32, **shape, layout=layout)


@quiet
@pytest.mark.parametrize("value", [math.inf, math.nan, 1e30])
@pytest.mark.parametrize("place", ["x", "weight", "bias"])
@pytest.mark.parametrize(
    ("route", "device"), [(cpu.route, "cpu"), (by_rows, DEVICE), (by_blocks, DEVICE)]
)
def test_extremes_turn_as_in_the_definition(route, device, place, value):
    draw = Draw(1, device, ties=True)
    x, weight, bias = draw(40, 6), draw(2**9 - 1, 6), draw(2**9 - 1)
    {"x": x, "weight": weight, "bias": bias[:, None]}[place][4, -1] = value
    expected = reference.route(x.double(), weight.double(), bias.double())
    assert route(x, weight, bias).equal(expected)


@needs_cuda
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("route", [by_rows, by_blocks])
@few
@shapes
def test_triton_in_half_precision(route, dtype, **shape):
    check(route, DEVICE, dtype, **shape)


@pytest.mark.parametrize("first_levels", [4, 5, 6, 7])
def test_whatever_the_first_blocks_levels(first_levels, monkeypatch):
    monkeypatch.setattr(tuning, "FIRST_LEVELS", first_levels)
    draw = Draw(first_levels, DEVICE)
    x, weight = draw(33, 20), draw(2**8 - 1, 20)
    right_turns(x, weight, by_blocks(x, weight), tolerance=1e-5)


@pytest.mark.parametrize(("module", "device"), [(cpu, "cpu"), (cuda, DEVICE)])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_the_deepest_tree(module, device, batch):
    draw = Draw(batch, device)
    x, weight = draw(batch, 3), draw(2**20 - 1, 3)
    right_turns(x, weight, module.route(x, weight), tolerance=1e-5)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@settings(max_examples=8)
@given(
    depth=st.integers(1, tuning.FIRST_LEVELS + 2),
    features=st.integers(1, 1100),
    seed=st.integers(0, 2**16),
)
def test_large_batches(dtype, depth, features, seed):
    draw = Draw(seed, DEVICE, dtype)
    x, weight = draw(tuning.ROUTE_BLOCKS_ROWS + 77, features), draw(2**depth - 1, features)
    right_turns(x, weight, cuda.route(x, weight), tolerance=1e-3)


@pytest.mark.parametrize("descend", [descend_rows, descend_blocks])
@pytest.mark.parametrize("levels", [1, 4, 9])
def test_part_of_the_way(descend, levels):
    draw = Draw(levels, DEVICE)
    x, weight = draw(75, 6), draw(2**10 - 1, 6)
    logits = x.new_full((75, 10), torch.nan)
    reached, groups = descend(x, weight, None, levels, logits=logits, tile=16)
    right_turns(x, weight[: 2**levels - 1], reached, tolerance=1e-5)
    expected = reference.descend(x.double(), weight.double())[0]
    close(logits[:, :levels], expected[:, :levels])
    assert logits[:, levels:].isnan().all()
    assert reached[groups.order.long()].equal(reached.sort().values)


@needs_cuda
def test_more_numbers_than_32_bits_count():
    weight = Draw(0, DEVICE, torch.bfloat16)(2**4 - 1, 1024)
    x = torch.zeros(2**21 + 5, 1024, dtype=torch.bfloat16, device=DEVICE)
    last = x[-300:].copy_(Draw(1, DEVICE)(300, 1024))
    for route in (by_rows, by_blocks):
        right_turns(last, weight, route(x, weight)[-300:], tolerance=1e-2)
