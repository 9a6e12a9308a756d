"""Every dtype, autocast, and every way to say that no gradients are wanted."""

import pytest
import torch
from cases import (
    BATCH,
    MODES,
    TOLERANCE,
    O,
    build,
    call,
    check,
    close,
    defined,
    every_gated_layer,
    every_layer,
    every_mode,
    expected,
    in_modes,
    inputs,
    shared,
    with_gradients,
)
from torch import nn

HALVES = (torch.float16, torch.bfloat16)


@every_layer
@pytest.mark.parametrize("dtype", TOLERANCE)
@every_mode
def test_dtypes(name, dtype, mode):
    layer = shared(name, dtype)
    out = check(layer, mode, inputs(name, dtype=dtype))
    assert out.dtype == dtype


@every_layer
@pytest.mark.parametrize("dtype", HALVES)
@with_gradients
def test_gradients_in_half(name, dtype, mode):
    layer, x = build(name, dtype), inputs(name, dtype=dtype).requires_grad_()
    call(layer, mode, x).float().square().sum().backward()
    actual = x.grad
    x.grad = None
    plain, x64 = build(name, dtype).double(), x.detach().double().requires_grad_()
    call(plain, mode, x64).square().sum().backward()
    assert actual.dtype == dtype
    close(actual, x64.grad, 2 * TOLERANCE[dtype])


@every_layer
@pytest.mark.parametrize("dtype", HALVES)
@every_mode
def test_autocast(name, dtype, mode):
    layer, x = shared(name), inputs(name)
    with torch.autocast("cpu", dtype):
        out = call(layer, mode, x)
        assert out.dtype == nn.Linear(2, 2)(torch.ones(1, 2)).dtype
    close(out, defined(name, mode), TOLERANCE[dtype])


@every_layer
@every_mode
def test_autocast_of_half_inputs(name, mode):
    # what a block before this layer hands on under autocast
    layer, x = shared(name), inputs(name).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = call(layer, mode, x)
    assert out.dtype == torch.bfloat16
    close(out, expected(layer, mode, x))


@every_layer
@with_gradients
def test_autocast_trains(name, mode):
    layer, x = build(name), inputs(name).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = call(layer, mode, x).float().square().sum()
    loss.backward()
    assert {p.grad.dtype for p in (x, *layer.parameters()) if p.grad is not None} == {torch.float32}
    plain, x64 = build(name, torch.float64), x.detach().double().requires_grad_()
    call(plain, mode, x64).square().sum().backward()
    close(x.grad, x64.grad, 2 * TOLERANCE[torch.bfloat16])


@every_layer
@every_mode
def test_autocast_that_is_off(name, mode):
    layer, x = shared(name), inputs(name)
    with torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False):
        out = call(layer, mode, x)
    assert out.dtype == torch.float32
    close(out, defined(name, mode))


@every_layer
def test_autocast_of_another_device_changes_nothing(name):
    layer, x = shared(name), inputs(name)
    torch.set_autocast_enabled("xpu", True)
    try:
        out = call(layer, MODES[0], x)
    finally:
        torch.set_autocast_enabled("xpu", False)
    close(out, defined(name, MODES[0]))


@every_layer
@in_modes("eval", "train")
def test_inference_mode(name, mode):
    layer, x = shared(name).train(mode == "train"), inputs(name)
    with torch.inference_mode():
        out = layer(x)
        again = layer(x.clone())  # an inference tensor
    assert out.is_inference()
    for result in (out, again):
        close(result, defined(name, mode))


@every_layer
@with_gradients
def test_frozen(name, mode):
    layer, x = build(name).requires_grad_(False), inputs(name)
    out = check(layer, mode, x)
    assert not out.requires_grad
    x.requires_grad_()
    out = call(layer, mode, x)
    assert out.requires_grad and out.shape == (BATCH, O)
    wanted = build(name, torch.float64)
    x64 = x.detach().double().requires_grad_()
    close(
        torch.autograd.grad(out.square().sum(), x)[0],
        torch.autograd.grad(call(wanted, mode, x64).square().sum(), x64)[0],
    )


@every_gated_layer
@pytest.mark.parametrize("frozen", ["gate", "experts"])
@with_gradients
def test_a_frozen_part(name, frozen, mode):
    layer, whole, x = build(name), build(name, torch.float64), inputs(name)
    layer.get_submodule(frozen).requires_grad_(False)
    out = call(layer, mode, x)
    if out.requires_grad:  # not if the gate alone learns and the choice is all that it gives
        out.square().sum().backward()
    call(whole, mode, x.double()).square().sum().backward()
    for (parameter_name, parameter), wanted in zip(
        layer.named_parameters(), whole.parameters(), strict=True
    ):
        if parameter_name.startswith(frozen):
            assert parameter.grad is None
        elif wanted.grad is not None and wanted.grad.any():
            close(parameter.grad, wanted.grad)
