"""Weights of any layout, and all that stands in a parameter's place: parametrizations, pruning."""

import copy

import definition
import pytest
import torch
from cases import (
    MODES,
    TOLERANCE,
    I,
    build,
    call,
    check,
    close,
    defined,
    every_layer,
    every_logit_gate,
    every_mode,
    expected,
    inputs,
)
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

LAYOUTS = {  # of a parameter's values, in memory of other strides
    "transposed": lambda p: p.mT.contiguous().mT if p.dim() > 1 else strided(p),
    "steps": lambda p: strided(p),
    "negative view": lambda p: torch._neg_view(-p),
    "part of a larger one": lambda p: torch.cat([p, p])[len(p) :],
    "first dimension last": lambda p: p.movedim(0, -1).contiguous().movedim(-1, 0),
}


def strided(p):
    return torch.stack([p, torch.full_like(p, 1e3)], dim=-1)[..., 0]


@every_layer
@pytest.mark.parametrize("layout", LAYOUTS)
@every_mode
def test_layouts(name, layout, mode):
    layer, x = build(name), inputs(name)
    for parameter in layer.parameters():
        parameter.data = LAYOUTS[layout](parameter.data)
    close(call(layer, mode, x), defined(name, mode))


@every_layer
@every_mode
def test_layouts_of_some_parameters(name, mode):
    n_parameters = len([*build(name).parameters()])
    for chosen in range(n_parameters):
        layer, x = build(name), inputs(name)
        parameter = [*layer.parameters()][chosen]
        parameter.data = strided(parameter.data)
        close(call(layer, mode, x), defined(name, mode))


@every_layer
@every_mode
def test_expanded_weights(name, mode):
    layer, x = build(name), inputs(name)
    for parameter in layer.parameters():
        parameter.data = parameter.data[..., :1].expand(parameter.shape)
    plain = copy.deepcopy(layer)
    for parameter in plain.parameters():
        parameter.data = parameter.data.contiguous()
    apart = definition.margin(plain.train(), x) > 1e-4  # experts of one direction are as near
    close(call(layer, mode, x)[apart], expected(plain, mode, x)[apart])


@every_layer
@every_mode
def test_assigned_state(name, mode):
    layer, x = build(name), inputs(name)
    call(layer, mode, x)
    state = {key: 2 * strided(value) for key, value in layer.state_dict().items()}
    layer.load_state_dict(state, assign=True)
    plain = build(name)
    plain.load_state_dict(state)
    close(call(layer, mode, x), expected(plain, mode, x))


@every_layer
@every_mode
def test_weights_written_in_place(name, mode):
    layer, x = build(name), inputs(name)
    call(layer, mode, x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(-1)
    check(layer, mode, x)
    for parameter in layer.parameters():
        parameter.data = parameter.data.mul(-1)
    close(call(layer, mode, x), defined(name, mode))


class Doubled(nn.Module):
    def forward(self, weight):
        return (2 * weight).mT.contiguous().mT if weight.dim() > 1 else 2 * weight


@every_layer
@every_mode
def test_parametrized(name, mode):
    layer, x, plain = build(name), inputs(name), build(name)
    for module in [*layer.modules()]:
        for parameter in [*module._parameters]:
            if module._parameters[parameter] is not None:
                parametrize.register_parametrization(module, parameter, Doubled())
    for parameter in plain.parameters():
        parameter.data.mul_(2)
    close(call(layer, mode, x), expected(plain, mode, x))
    with parametrize.cached():
        close(call(layer, mode, x), expected(plain, mode, x))


@every_logit_gate
@every_mode
def test_orthogonal_gate(name, mode):
    layer, x = build(name, torch.float64), inputs(name).double()
    parametrizations.orthogonal(layer.gate, "weight")
    check(layer, mode, x)


@every_logit_gate
@pytest.mark.parametrize("part", ["gate", "experts"])
@every_mode
def test_pruned(name, part, mode):
    layer, x, plain = build(name), inputs(name), build(name)
    module, weight = layer.get_submodule(part), {"gate": "weight", "experts": "w_in"}[part]
    prune.l1_unstructured(module, weight, amount=0.4)
    with torch.no_grad():  # an optimiser's step, which pruning has to follow
        getattr(module, f"{weight}_orig").mul_(-2)
    mask = getattr(module, f"{weight}_mask")
    plain.get_submodule(part).get_parameter(weight).data.mul_(-2 * mask)
    assert 0 < mask.mean() < 1
    close(call(layer, mode, x), expected(plain, mode, x))


@every_logit_gate
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
@every_mode
def test_weight_norm(name, norm, mode):
    layer, x, plain = build(name), inputs(name), build(name)
    norm(layer.gate, "weight", dim=None if norm is weight_norm else 0)
    lengths = [p for key, p in layer.gate.named_parameters() if key.endswith(("_g", "original0"))]
    with torch.no_grad():
        lengths[0].mul_(3)
    plain.gate.weight.data.mul_(3)
    close(call(layer, mode, x), expected(plain, mode, x), 2 * TOLERANCE[torch.float32])


@every_layer
def test_tied_weights(name):
    layer, x = build(name), inputs(name)
    twin = build(name)
    for module, other in zip(twin.modules(), layer.modules(), strict=True):
        module._parameters.update(other._parameters)
    with torch.no_grad():
        next(layer.parameters()).mul_(-1)
    for mode in MODES:
        close(call(twin, mode, x), expected(layer, mode, x))


class Noted(torch.Tensor):
    """A subclass of Tensor that sees every operation."""

    seen: list = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@every_layer
@every_mode
def test_a_subclass_of_tensor(name, mode):
    Noted.seen.clear()
    layer, x = build(name), inputs(name)
    out = call(layer, mode, x.as_subclass(Noted))
    assert isinstance(out, Noted) and out.shape[0] == len(x) and x.shape[-1] == I
    close(out.as_subclass(torch.Tensor), defined(name, mode))
    assert len(Noted.seen) > 2
