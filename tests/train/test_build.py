"""Every named variant builds, works over a run dimension, and starts as documented."""

import math

import pytest
import torch

from fastff.config.experiment import NAMED
from fastff.config.model import RoutedSpec, Variant
from fastff.config.presets import PRESETS
from fastff.layers import NodeTree, RoutedLayer
from fastff.train.build import stack
from models import small_model


def perturbed_parts(variant, generator):
    """Return three models whose every parameter differs: some, such as slopes, start alike."""
    layers = [small_model(variant, generator=generator).double() for _ in range(3)]
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter += 0.1 * torch.randn(
                    parameter.shape, generator=generator, dtype=torch.float64
                )
    return layers


@pytest.mark.parametrize("variant", NAMED.values(), ids=NAMED)
def test_a_stack_computes_what_its_parts_compute(variant, generator):
    layers = perturbed_parts(variant, generator)
    stacked = stack([layer.eval() for layer in layers])  # without noise
    own = torch.randn(3, 16, 24, generator=generator, dtype=torch.float64)
    for x in (own, own[0]):  # inputs of its own for each run, and the same for all
        soft_and_hard, routing = stacked.soft_and_hard(x)
        for run, layer in enumerate(layers):
            part = x[run] if x.ndim == 3 else x
            for form, hard in enumerate((False, True)):
                expected = layer(part, hard=hard)
                torch.testing.assert_close(stacked(x, hard=hard)[run], expected)
                torch.testing.assert_close(soft_and_hard[form, run], expected)
            assert routing.shape[2:] == (layer.n_trees, layer.n_experts)
            assert torch.equal(routing[run], layer.soft_and_hard(part)[1])
            assert (routing > 0).any(-1).all()
            if isinstance(layer, RoutedLayer):
                assert torch.equal(routing[run, :, 0], layer.gate.hard(part))


@pytest.mark.parametrize("variant", NAMED.values(), ids=NAMED)
def test_gradients_of_a_stack_are_its_parts(variant, generator):
    layers = perturbed_parts(variant, generator)
    stacked = stack([layer.eval() for layer in layers])
    x = torch.randn(3, 16, 24, generator=generator, dtype=torch.float64)
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


ROUTED = {name: variant for name, variant in PRESETS.items() if variant.model.kind == "routed"}


@pytest.mark.parametrize("variant", ROUTED.values(), ids=ROUTED)
def test_parameters_start_uniform_in_the_fan_in_and_without_bias(variant, generator):
    layer = small_model(variant, in_features=400, generator=generator)
    fan_ins = {"gate.weight": 400, "experts.w_in": 400, "experts.w_out": 6}
    fan_ins |= {"gate.noise_weight": 400} if variant.model.gate.kind == "noisy_top_k" else {}
    names = {name for name, _ in layer.named_parameters()}
    assert names - {"gate.transition"} == fan_ins.keys()  # the transition starts as ones
    for name, fan_in in fan_ins.items():
        values, bound = layer.get_parameter(name), 1 / math.sqrt(fan_in)
        assert values.abs().max() <= bound
        assert values.abs().max() > 0.9 * bound
        assert values.mean().abs() < 0.3 * bound


@pytest.mark.parametrize("variant", PRESETS.values(), ids=PRESETS)
def test_units_count_what_a_model_has(variant, generator):
    model = small_model(variant, generator=generator)
    layer = model.routed if variant.model.kind == "bottleneck" else model
    counts = {part: parameter.shape[unit] for part, (parameter, unit) in layer.units().items()}
    if isinstance(layer, RoutedLayer):
        n_logits = layer.gate.get_parameter("weight").shape[0]
        expected = {"gate": n_logits, "expert_in": layer.n_experts, "expert_out": layer.n_experts}
    elif isinstance(layer, NodeTree):
        expected = dict.fromkeys(("node_in", "node_out"), 2**layer.levels - 1)
    else:
        expected = {} if layer.training_width == 0 else {"expert_in": 1, "expert_out": 1}
    assert counts == expected
    assert model.units() == layer.units()


@pytest.mark.parametrize(
    ("name", "training", "inference"),
    [
        ("fff_mixture_log", 8 * 6, 6),
        ("fff_mixture_top4", 8 * 6, 6),
        ("fff_soft_merged_relu", 8 * 6, 6),
        ("moe_mixture", 8 * 6, 6),
        ("moe_noisy_top2", 8 * 6, 2 * 6),
        ("mlp_gelu", 6, 6),
        ("node_tree_gelu", 15, 4),
        ("node_tree_linear", 7, 3),
        ("node_trees_32", 32 * 15, 32 * 4),
        ("fff_on_plane", 256 + 8 * 6, 256 + 6),
        ("cnn_to_plane", 0, 0),
    ],
)
def test_widths(name, training, inference):
    model = small_model(PRESETS[name])
    assert (model.training_width, model.inference_width) == (training, inference)


def test_sizes_that_a_variant_fixes_go_before_the_grid_s():
    variant = PRESETS["moe_mixture"]
    model = RoutedSpec(**(variant.model.model_dump() | {"depth": 2, "hidden_features": 5}))
    layer = small_model(variant.model_copy(update={"model": model}))
    assert (layer.n_experts, layer.experts.hidden_features) == (4, 5)


def test_a_variant_defined_in_place_builds():
    variant = Variant.model_validate(
        {
            "name": "mine",
            "label": "mine",
            "model": {
                "kind": "routed",
                "gate": {"kind": "linear", "top_k": 2},
                "experts": {"kind": "soft_merged", "activation": "gelu"},
            },
        }
    )
    layer = small_model(variant)
    assert layer.gate.top_k == 2
    assert layer.experts.activation == "gelu"
    assert layer(torch.randn(5, 24)).shape == (5, 4)
