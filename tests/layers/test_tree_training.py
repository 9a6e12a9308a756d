"""What a tree gate does in training only, and what is counted: leak, hardening, usage."""

import copy
import math
import re

import fastfeedforward
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fastff import FFF, MoE, aux_loss
from fastff.layers import (
    LinearGate,
    MixtureExperts,
    NodeTree,
    NoisyTopKGate,
    RoutedLayer,
    TreeGate,
)
from fastff.layers.linear import Random
from fastff.layers.tree import node_entropies, node_visits, path_mask, product_form


def reference_with(gate: TreeGate, **options) -> fastfeedforward.FFF:
    """Return the reference package's layer with a gate's parameters and leaves that name it."""
    reference = fastfeedforward.FFF(
        gate.in_features, 1, gate.n_experts, gate.depth, activation=nn.Identity(), **options
    )
    with torch.no_grad():
        reference.node_weights.copy_(gate.weight)
        for parameter in (reference.node_biases, reference.w1s, reference.b1s, reference.b2s):
            parameter.zero_()
        # every leaf puts out 1 at its own place, so that the output is the leaf probabilities
        reference.b1s.fill_(1.0)
        reference.w2s.copy_(torch.eye(gate.n_experts).unsqueeze(1))
    return reference.train()


@pytest.mark.parametrize("leak", [0.1, 0.5, 1.0])
def test_region_leak_equals_the_reference_package_in_expectation(leak, generator):
    gate = TreeGate(6, 3, region_leak=leak, generator=generator).train()
    x = 4 * torch.randn(3, 6, generator=generator)
    many = x.repeat(20_000, 1)
    torch.manual_seed(1)
    ours = gate.soft(many).detach().view(-1, 3, 8).mean(0)
    theirs = reference_with(gate, region_leak=leak)(many).detach().view(-1, 3, 8).mean(0)
    torch.testing.assert_close(ours, theirs, atol=0.012, rtol=0)
    # and the expectation itself: sides are swapped independently
    z = gate.logits(x)
    right = torch.sigmoid(z) * (1 - leak) + torch.sigmoid(-z) * leak
    torch.testing.assert_close(ours, product_form(right.logit()), atol=0.012, rtol=0)


def test_region_leak_is_for_training_only(generator):
    gate = TreeGate(6, 3, region_leak=0.5, generator=generator)
    plain = TreeGate(6, 3)
    plain.load_state_dict(gate.state_dict())
    x = torch.randn(50, 6, generator=generator)
    assert torch.equal(gate.eval().soft(x), plain.soft(x))
    assert torch.equal(gate.train().hard(x), plain.hard(x))
    assert not torch.equal(gate.train().soft(x), plain.soft(x))


def test_a_leak_of_one_swaps_every_side(generator):
    gate = TreeGate(6, 3, region_leak=1.0, generator=generator).train()
    x = torch.randn(50, 6, generator=generator)
    torch.testing.assert_close(gate.soft(x), product_form(-gate.logits(x)))


@given(depth=st.integers(1, 5), batch=st.integers(1, 20), seed=st.integers(0, 2**16))
def test_hardening_loss_is_the_summed_entropy_of_the_nodes(depth, batch, seed):
    draw = torch.Generator().manual_seed(seed)
    gate = TreeGate(7, depth, hardening_weight=3.0, generator=draw).double().train()
    x = 3 * torch.randn(batch, 7, generator=draw, dtype=torch.float64)
    p = torch.sigmoid(gate.logits(x))
    expected = -(p * p.log() + (1 - p) * (1 - p).log()).sum(-1).mean()
    weights, loss = gate.soft_with_loss(x)
    torch.testing.assert_close(loss, 3 * expected)
    torch.testing.assert_close(weights, gate.soft(x))
    assert gate.eval().soft_with_loss(x)[1] is None


def test_entropies_equal_the_reference_package(generator):
    gate = TreeGate(6, 3, generator=generator)
    x = torch.randn(100, 6, generator=generator)
    _, entropies = reference_with(gate)(x, return_entropies=True)
    torch.testing.assert_close(node_entropies(gate.logits(x)).mean(0), entropies, atol=1e-5, rtol=0)


def test_entropies_of_certain_and_even_decisions():
    entropies = node_entropies(torch.tensor([0.0, 200.0, -200.0], dtype=torch.float64))
    assert entropies.tolist() == pytest.approx([math.log(2), 0.0, 0.0], abs=1e-12)


def test_hard_training_trains_leaves_but_no_nodes(generator):
    gate = TreeGate(6, 2, hard_training=True, generator=generator).train()
    experts = MixtureExperts(4, 6, 3, 2, generator=generator)
    x = torch.randn(64, 6, generator=generator)
    output = RoutedLayer(gate, experts)(x)
    assert torch.equal(gate.soft(x), gate.hard(x))
    assert not gate.soft(x).requires_grad
    output.square().sum().backward()
    assert not gate.weight.grad.any()  # of 0, not none: reducers of gradients wait for all
    assert experts.w_in.grad.abs().sum() > 0


@given(
    depth=st.integers(1, 5), batch=st.integers(0, 30), n_runs=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_visits_are_those_of_the_same_batch_s_routing(depth, batch, n_runs, seed):
    draw = torch.Generator().manual_seed(seed)
    gate = TreeGate(5, depth, generator=draw)
    x = torch.randn(n_runs, batch, 5, generator=draw)
    visits = node_visits(gate.leaf(x), depth)
    n_nodes = 2**depth - 1
    assert torch.equal(visits[:, n_nodes:], gate.hard(x).sum(-2).long())
    assert torch.equal(visits[:, :n_nodes], path_mask(gate.logits(x)).sum(-2).long())
    for node in range(n_nodes):
        children = visits[:, 2 * node + 1] + visits[:, 2 * node + 2]
        assert torch.equal(visits[:, node], children)


@pytest.mark.parametrize("form", ["product", "log", "transition"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_top_k_leaves_against_a_loop(form, k, generator):
    dense = TreeGate(9, 3, form=form, generator=generator).double()
    kept, renormalised = (
        TreeGate(9, 3, form=form, top_k=k, renormalise=renormalise).double()
        for renormalise in (False, True)
    )
    x = torch.randn(20, 9, generator=generator, dtype=torch.float64)
    p = dense.soft(x)
    for gate in (kept, renormalised):
        gate.load_state_dict(dense.state_dict())
    for row in range(20):
        best = sorted(range(8), key=lambda e: -p[row, e].item())[:k]
        expected = torch.zeros(8).double()
        expected[best] = p[row, best]
        torch.testing.assert_close(kept.soft(x)[row], expected)
        torch.testing.assert_close(renormalised.soft(x)[row], expected / expected.sum())
    assert torch.equal(kept.hard(x), dense.hard(x))


def test_learned_transition_starts_as_the_fixed_one_and_learns_only_on_paths(generator):
    fixed = TreeGate(9, 3, form="transition", generator=generator)
    learned = TreeGate(9, 3, form="learned_transition")
    learned.load_state_dict(fixed.state_dict(), strict=False)
    x = torch.randn(20, 9, generator=generator)
    torch.testing.assert_close(learned.soft(x), fixed.soft(x))
    learned.soft(x)[:, 0].sum().backward()
    gradient = learned.transition.grad
    assert gradient[fixed.matrix == 0].abs().max() == 0
    assert gradient[fixed.matrix == 1].abs().min() > 0


def test_runs_draw_from_their_own_generators(generator):
    like = torch.empty(3, 4, 5)
    together = Random([torch.Generator().manual_seed(seed) for seed in (1, 2, 3)])
    alone = Random([torch.Generator().manual_seed(2)])
    assert torch.equal(together.uniform(like)[1], alone.uniform(like[:1])[0])
    assert torch.equal(together.normal(like)[1], alone.normal(like[:1])[0])
    with pytest.raises(ValueError, match="3 generators for 4 runs"):
        together.normal(torch.empty(4, 2))


def test_dropout_of_leaves_is_for_training_only_and_keeps_the_mean(generator):
    dropping = MixtureExperts(4, 6, 50, 3, dropout=0.25, generator=generator)
    x, weights = torch.randn(400, 6, generator=generator), torch.full((400, 4), 0.25)
    plain = MixtureExperts(4, 6, 50, 3)
    plain.load_state_dict(dropping.state_dict())
    assert torch.equal(dropping.eval()(x, weights), plain(x, weights))
    torch.manual_seed(0)
    hidden = dropping.train().activate(torch.ones(200_000))
    assert hidden.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert hidden.mean().item() == pytest.approx(1.0, abs=0.01)


HALVES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


@HALVES
@pytest.mark.parametrize("probability", [0.001, 0.1])
def test_small_probabilities_hold_in_half_precision(dtype, probability):
    torch.manual_seed(0)
    bank = MixtureExperts(1, 2, 2, 2, dropout=probability, dtype=dtype).train()
    dropped = (bank.activate(torch.ones(1_000_000, dtype=dtype)) == 0).double().mean().item()
    gate = TreeGate(1, 1, region_leak=probability, dtype=dtype).train()
    x = gate.weight.detach().sign().expand(1_000_000, 1)
    leaked = (gate._training_logits(x) < 0).double().mean().item()
    assert [dropped, leaked] == pytest.approx([probability] * 2, rel=0.1)


@HALVES
def test_many_inputs_in_half_precision(dtype):
    x = torch.randn(200_000, 6, dtype=dtype)
    fff = FFF(6, 2, depth=2, leaf_width=2, dtype=dtype)
    moe = MoE(6, 2, n_experts=4, expert_width=2, noisy=True, load=0.1, dtype=dtype)
    for layer in (fff, moe):
        found, wanted = layer.entropies(x), copy.deepcopy(layer).double().entropies(x.double())
        torch.testing.assert_close(found.double(), wanted, atol=0.01, rtol=0.01)
    loss = moe.train().soft_with_loss(x)[1]
    loss.backward()
    assert loss.isfinite() and moe.gate.weight.grad.isfinite().all()


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_infinite_bias_closes_a_subtree_and_has_no_entropy(sign, generator):
    layer = FFF(6, 2, depth=2, leaf_width=2, hardening=0.5, generator=generator)
    with torch.no_grad():
        layer.gate.bias[0] = sign * torch.inf
    x = torch.randn(9, 6, generator=generator)
    out = layer(x)
    loss = aux_loss(layer)
    (out.sum() + loss).backward()
    entropies = layer.entropies(x)
    assert entropies[0] == 0
    torch.testing.assert_close(loss, 0.5 * entropies.sum())
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    z = torch.tensor([-torch.inf, -50.0, 0.0, 50.0, torch.inf], dtype=torch.float64)
    assert node_entropies(z).tolist() == pytest.approx([0, 0, math.log(2), 0, 0], abs=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TreeGate(4, 2, region_leak=None), "region_leak = None: must be between 0 and 1"),
        (lambda: TreeGate(4, 2, hardening_weight="1"), "hardening_weight = '1': must be a finite"),
        (lambda: TreeGate(4, 2, top_k=2.0), "top_k = 2.0: must be an integer"),
        (lambda: LinearGate(4, 2, top_k="2"), "top_k = '2': must be an integer"),
        (lambda: NoisyTopKGate(4, 2, top_k=None), "top_k = None: must be an integer"),
        (lambda: LinearGate(4, 2, dtype=torch.int64), "dtype = torch.int64: must be of floating"),
        (lambda: NodeTree(4, 2, levels=2, dtype=torch.complex64), "dtype = torch.complex64"),
        (lambda: MixtureExperts(2, 2, 2, 2, dtype=torch.int8), "dtype = torch.int8: must be of"),
        (lambda: TreeGate(4, 2, region_leak=1.5), "region_leak = 1.5: must be between 0 and 1"),
        (lambda: TreeGate(4, 2, top_k=5), "top_k = 5: must be between 1 and n_experts = 4"),
        (lambda: TreeGate(4, 2, renormalise=True), "no meaning without top_k"),
        (lambda: LinearGate(4, 2, top_k=3), "top_k = 3"),
        (lambda: MixtureExperts(2, 2, 2, 2, dropout=1.0), "dropout = 1.0: must be at least 0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_parts_that_are_none_are_named():
    with pytest.raises(TypeError, match="gate: a Linear; allowed is a Gate"):
        RoutedLayer(nn.Linear(4, 4), MixtureExperts(4, 4, 4, 4))
    with pytest.raises(TypeError, match="experts: a Linear; allowed is a Experts"):
        RoutedLayer(TreeGate(4, 2), nn.Linear(4, 4))
    layer = FFF(4, 2, depth=2, leaf_width=3)
    layer.gate = LinearGate(4, 4)
    with pytest.raises(TypeError, match="gate: a LinearGate; allowed is a TreeGate"):
        layer.leaf(torch.zeros(1, 4))
