"""Every named variant builds, works over a run dimension, and starts as documented."""

import math

import pytest
import torch

from fastff.layers import build_layer
from fastff.spec import Variant
from fastff.train.stack import stack
from fastff.zoo import ZOO

SIZES = {"in_features": 20, "hidden_features": 6, "out_features": 4, "depth": 3}


@pytest.mark.parametrize("variant", ZOO.values(), ids=ZOO)
def test_a_stack_computes_what_its_parts_compute(variant, generator):
    layers = [build_layer(variant, **SIZES, generator=generator).double() for _ in range(3)]
    stacked = stack([layer.eval() for layer in layers])  # without noise
    own = torch.randn(3, 16, 20, generator=generator, dtype=torch.float64)
    for x in (own, own[0]):  # inputs of its own for each run, and the same for all
        soft_and_hard, routing = stacked.soft_and_hard(x)
        for run, layer in enumerate(layers):
            part = x[run] if x.ndim == 3 else x
            for form, hard in enumerate((False, True)):
                expected = layer(part, hard=hard)
                torch.testing.assert_close(stacked(x, hard=hard)[run], expected)
                torch.testing.assert_close(soft_and_hard[form, run], expected)
            assert torch.equal(routing[run], layer.gate.hard(part))


@pytest.mark.parametrize("variant", ZOO.values(), ids=ZOO)
def test_gradients_of_a_stack_are_its_parts(variant, generator):
    layers = [build_layer(variant, **SIZES, generator=generator).double() for _ in range(3)]
    stacked = stack([layer.eval() for layer in layers])
    x = torch.randn(3, 16, 20, generator=generator, dtype=torch.float64)
    stacked(x, hard=False).square().sum().backward()
    for run, layer in enumerate(layers):
        layer(x[run], hard=False).square().sum().backward()
        together = dict(stacked.named_parameters())
        for name, parameter in layer.named_parameters():
            gradient = together[name].grad
            if parameter.grad is None:  # such as the noise of a gate in evaluation mode
                assert gradient is None
            else:
                torch.testing.assert_close(gradient[run], parameter.grad)


@pytest.mark.parametrize("variant", ZOO.values(), ids=ZOO)
def test_parameters_start_uniform_in_the_fan_in_and_without_bias(variant, generator):
    layer = build_layer(variant, **(SIZES | {"in_features": 400}), generator=generator)
    fan_ins = {"gate.weight": 400, "experts.w_in": 400, "experts.w_out": 6}
    fan_ins |= {"gate.noise_weight": 400} if variant.gate.kind == "noisy_top_k" else {}
    names = {name for name, _ in layer.named_parameters()}
    assert names - {"gate.transition"} == fan_ins.keys()  # the transition starts as ones
    for name, fan_in in fan_ins.items():
        values, bound = layer.get_parameter(name), 1 / math.sqrt(fan_in)
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.9 * bound
        assert values.mean().abs() < 0.3 * bound


def test_a_variant_defined_in_place_builds():
    variant = Variant.model_validate(
        {
            "name": "mine",
            "label": "mine",
            "gate": {"kind": "linear", "top_k": 2},
            "experts": {"kind": "soft_merged", "activation": "gelu"},
        }
    )
    layer = build_layer(variant, **SIZES)
    assert layer.gate.top_k == 2
    assert layer.experts.activation == "gelu"
    assert layer(torch.randn(5, 20)).shape == (5, 4)
