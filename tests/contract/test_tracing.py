"""Whatever looks at a layer's operations sees them: fake tensors, traces, counters, tangents."""

import pytest
import torch
import torch.autograd.forward_ad as fwd
from cases import (
    BATCH,
    LAYERS,
    I,
    O,
    build,
    call,
    close,
    defined,
    draw,
    every_layer,
    every_mode,
    expected,
    hard_modes,
    inputs,
    shared,
    some_layers,
    some_layers_most_slow,
)
from torch._subclasses import FakeTensorMode
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

# torch's own: of its forward derivatives, and said to whoever traces
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:FutureWarning")
STEP = 1e-6  # of finite differences in float64


def check_make_fx(name, mode, tracing_mode):
    layer, rows = shared(name), inputs(name, 2 * BATCH)
    state = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}

    def function(state, x):
        return functional_call(layer, state, (x,))

    layer.train(mode == "train")
    with torch.set_grad_enabled(mode != "eval"):
        graph = make_fx(function, tracing_mode=tracing_mode)(state, rows[:BATCH])
        out = graph(state, rows[BATCH:])
    close(out, expected(layer, mode, rows[BATCH:]))


@every_layer
@every_mode
def test_make_fx(name, mode):
    check_make_fx(name, mode, "real")


@some_layers_most_slow
@every_mode
@pytest.mark.parametrize("tracing_mode", ["fake", "symbolic"])
def test_make_fx_of_other_kinds(name, mode, tracing_mode):
    check_make_fx(name, mode, tracing_mode)


@some_layers
@every_mode
def test_make_fx_of_the_module(name, mode):
    layer, rows = shared(name), inputs(name, 2 * BATCH)
    layer.train(mode == "train")
    with torch.set_grad_enabled(mode != "eval"):
        out = make_fx(layer)(rows[:BATCH])(rows[BATCH:])
    close(out, expected(layer, mode, rows[BATCH:]))


@every_layer
@pytest.mark.parametrize("shape", [(BATCH,), (2, 3), (), (0,)])
@every_mode
def test_fake_tensors(name, shape, mode):
    with FakeTensorMode():
        out = call(LAYERS[name](), mode, torch.empty(*shape, I))
        assert isinstance(out, torch._subclasses.FakeTensor)
        assert out.shape == (*shape, O) and out.dtype == torch.float32 and out.is_contiguous()
        assert out.device.type == "cpu"


@every_layer
@every_mode
def test_meta_tensors(name, mode):
    out = call(build(name).to("meta"), mode, torch.empty(2, 3, I, device="meta"))
    assert out.is_meta and out.shape == (2, 3, O) and out.is_contiguous()


@every_layer
@every_mode
def test_flops_are_counted(name, mode):
    layer, x = shared(name), inputs(name)
    with FlopCounterMode(display=False) as counter:
        out = call(layer, mode, x)
    assert counter.get_total_flops() > 0
    close(out, defined(name, mode))


class Seen(TorchDispatchMode):
    """Names the operators that are called."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names = [*getattr(self, "names", []), str(func)]
        return func(*args, **(kwargs or {}))


@every_layer
@every_mode
def test_a_dispatch_mode_sees_the_operators(name, mode):
    layer, x = shared(name), inputs(name)
    with Seen() as seen:
        out = call(layer, mode, x)
    close(out, defined(name, mode))
    products = ("mm", "addmm", "bmm", "convolution", "node_tree", "chosen_experts")
    assert any(product in called for called in seen.names for product in products)


def tangent(layer, mode, x, direction):
    """Return the derivative by finite differences in float64."""
    ahead, back = (expected(layer, mode, x.double() + s * direction) for s in (STEP, -STEP))
    return (ahead - back) / (2 * STEP)


@every_layer
@every_mode
def test_forward_derivatives(name, mode):
    layer, x, direction = shared(name), inputs(name), draw(BATCH, I, seed=1)
    layer.train(mode == "train")
    wanted = tangent(layer, mode, x, direction.double())
    with torch.set_grad_enabled(mode != "eval"):
        out, found = torch.func.jvp(layer, (x,), (direction,))
        with fwd.dual_level():
            dual = fwd.unpack_dual(layer(fwd.make_dual(x, direction)))
    for value, derivative in ((out, found), dual):
        close(value, defined(name, mode))
        close(derivative, wanted, 1e-4)


@every_layer
@every_mode
def test_forward_derivatives_of_weights(name, mode):
    layer, x, plain = build(name), inputs(name), build(name, torch.float64)
    directions = {
        key: draw(*p.shape, seed=n) for n, (key, p) in enumerate(layer.named_parameters())
    }
    layer.train(mode == "train")
    with torch.no_grad():
        sides = []
        for step in (STEP, -STEP):
            for (key, p), origin in zip(plain.named_parameters(), layer.parameters(), strict=True):
                p.copy_(origin.double() + step * directions[key].double())
            sides.append(expected(plain, mode, x))
    with torch.set_grad_enabled(mode != "eval"), fwd.dual_level():
        state = {
            key: fwd.make_dual(p.detach(), directions[key]) for key, p in layer.named_parameters()
        }
        found = fwd.unpack_dual(functional_call(layer, state, (x,))).tangent
    close(found, (sides[0] - sides[1]) / (2 * STEP), 1e-4)


@every_layer
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@hard_modes
def test_jit_trace(name, mode):
    layer, rows = build(name).eval(), inputs(name, 2 * BATCH)
    with torch.set_grad_enabled(mode != "eval"):
        traced = torch.jit.trace(layer, rows[:BATCH], check_trace=False)
        for x in (rows[BATCH:], rows[: BATCH - 2]):
            close(traced(x), expected(layer, mode, x))
