"""The chosen experts against float64, forward and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DEVICE, HALVES, Draw, close, doubles, few, needs_cuda

from fastff.kernels import cpu, reference
from fastff.kernels.activations import ACTIVATIONS
from fastff.kernels.cuda.experts import (
    chosen_experts_backward,
    experts_gathered,
    experts_grouped,
)

shapes = given(
    batch=st.integers(1, 60), features=st.integers(1, 150), hidden=st.integers(1, 40),
    out=st.integers(1, 150), n_experts=st.integers(1, 9), top_k=st.integers(1, 3),
    plain=st.booleans(), activation=st.sampled_from([*ACTIVATIONS]), seed=st.integers(0, 2**16),
)  # fmt: skip


def draw_case(device, dtype, batch, features, hidden, out, n_experts, top_k, plain, seed):
    draw = Draw(seed, device, dtype)
    case = [
        draw.inputs(batch, features),
        draw.choice(n_experts, batch, top_k),
        draw(n_experts, hidden, features) / features**0.5,
        draw(n_experts, hidden, out) / hidden**0.5,
    ]
    optional = [draw(batch, top_k), draw(n_experts, hidden), draw(n_experts, out)]
    return case, [None] * 3 if plain else optional, draw.inputs(batch, out)


def check(forward, device, dtype, activation, **shape):
    (x, expert, w_in, w_out), optional, _ = draw_case(device, dtype, **shape)
    outputs, hidden = forward(x, expert, w_in, w_out, activation, *optional)
    x, w_in, w_out, *optional = doubles(x, w_in, w_out, *optional)
    expected, z = reference.chosen_experts_with_hidden(
        x, expert, w_in, w_out, activation, *optional
    )
    close(outputs, expected)
    close(hidden, z)


def check_backward(device, dtype, activation, **shape):
    (x, expert, w_in, w_out), optional, grad = draw_case(device, dtype, **shape)
    x64, in64, out64, grad64, *optional64 = doubles(x, w_in, w_out, grad, *optional)
    _, z = reference.chosen_experts_with_hidden(x64, expert, in64, out64, activation, *optional64)
    z = z.to(dtype)  # so that both see the same sign of a hidden unit near 0
    gradients = chosen_experts_backward(grad, z, x, expert, w_in, w_out, activation, *optional)
    wanted = reference.chosen_experts_backward(
        grad64, z.double(), x64, expert, in64, out64, activation, *optional64
    )
    for gradient, expected in zip(gradients, wanted, strict=True):
        assert (gradient is None) == (expected is None)
        if expected is not None:
            close(gradient, expected)


@shapes
def test_cpu(**shape):
    check(cpu.chosen_experts_with_hidden, "cpu", torch.float32, **shape)


@pytest.mark.parametrize("forward", [experts_gathered, experts_grouped])
@few
@shapes
def test_triton(forward, **shape):
    check(forward, DEVICE, torch.float32, **shape)


@few
@shapes
def test_triton_backward(**shape):
    check_backward(DEVICE, torch.float32, **shape)


@needs_cuda
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("forward", [experts_gathered, experts_grouped])
@few
@shapes
def test_triton_in_half_precision(forward, dtype, **shape):
    check(forward, DEVICE, dtype, **shape)


@needs_cuda
@pytest.mark.parametrize("dtype", HALVES)
@few
@shapes
def test_triton_backward_in_half_precision(dtype, **shape):
    check_backward(DEVICE, dtype, **shape)


@pytest.mark.parametrize(
    "forward", [cpu.chosen_experts_with_hidden, experts_gathered, experts_grouped]
)
def test_no_rows(forward):
    draw = Draw(0, "cpu" if forward is cpu.chosen_experts_with_hidden else DEVICE)
    expert = draw.choice(3, 0, 2)
    out, hidden = forward(draw(0, 5), expert, draw(3, 4, 5), draw(3, 4, 6), "relu")
    assert (out.shape, hidden.shape) == ((0, 6), (0, 2, 4))


@needs_cuda
@settings(max_examples=6)
@given(n_experts=st.integers(1, 300), top_k=st.integers(1, 2), seed=st.integers(0, 2**16))
def test_large_batches(n_experts, top_k, seed):
    shape = {"batch": 3000, "features": 768, "hidden": 32, "out": 768, "n_experts": n_experts}
    options = {"top_k": top_k, "plain": False, "activation": "gelu", "seed": seed}
    check(experts_grouped, DEVICE, torch.float32, **shape, **options)
    check_backward(DEVICE, torch.float32, **shape, **options)
