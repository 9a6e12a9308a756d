"""What a decoder computes, with every feed-forward layer."""

from __future__ import annotations

import pytest
import torch
from language_cases import CONTEXT, VARIANTS, decoder

from fastff.language.generate import generate
from fastff.layers import RoutedLayer, TreeGate

TOKENS = torch.randint(256, (3, CONTEXT), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_later_byte_never_changes_an_earlier_output(variant, hard):
    model = decoder(variant)
    for place in (1, CONTEXT // 2, CONTEXT - 1):
        other = TOKENS.clone()
        other[:, place] = (other[:, place] + 1) % 256
        one, two = (model(tokens, hard=hard) for tokens in (TOKENS, other))
        torch.testing.assert_close(one[:, :place], two[:, :place], rtol=1e-12, atol=1e-12)
        assert not torch.allclose(one[:, place], two[:, place])


@pytest.mark.parametrize("variant", ["fff_soft", "fff_straight_through"])
def test_a_saturated_tree_has_the_same_soft_and_hard_output(variant):
    model = decoder(variant)
    soft, hard = model(TOKENS, hard=False), model(TOKENS, hard=True)
    assert not torch.allclose(soft, hard)
    with torch.no_grad():
        for gate in (module for module in model.modules() if isinstance(module, TreeGate)):
            gate.weight.mul_(1e9)
            gate.bias.mul_(1e9)
    torch.testing.assert_close(model(TOKENS, hard=False), model(TOKENS, hard=True))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_byte_after_another_gives_what_all_at_once_do(variant):
    model = decoder(variant)
    whole = model(TOKENS, hard=True)
    past, found = model.past(len(TOKENS), torch.float64), []
    for place in range(CONTEXT):
        found.append(model(TOKENS[:, place : place + 1], hard=True, past=past))
        past = [block._replace(end=place + 1) for block in past]
    torch.testing.assert_close(torch.cat(found, 1), whole)


def test_what_is_generated_depends_on_the_seed_alone():
    model = decoder("moe_switch")
    one, again, other = (
        generate(model, b"ab", 10, seed=seed, dtype=torch.float64) for seed in (1, 1, 2)
    )
    assert one == again != other
    assert len(one) == 10


@pytest.mark.parametrize("variant", VARIANTS)
def test_initial_parameters_depend_on_the_seed_alone(variant):
    one, again, other = (decoder(variant, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    drawn = [name for name in one if not name.endswith("norm.weight")]
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


def test_straight_through_has_the_hard_values_and_the_soft_gradient():
    model = decoder("fff_straight_through").train()
    layer = model.feed_forwards()[0]
    assert isinstance(layer, RoutedLayer)
    gate = layer.gate
    x = torch.randn(7, 16, dtype=torch.float64)
    weights, _ = gate.soft_with_loss(x)
    assert torch.equal(weights, gate.hard(x))
    into = torch.randn_like(weights)
    gate.eval()
    soft = gate.soft(x)
    assert not torch.equal(soft, weights)
    expected = torch.autograd.grad(soft, [gate.weight, gate.bias], into)
    found = torch.autograd.grad(weights, [gate.weight, gate.bias], into)
    torch.testing.assert_close(found, expected)
