"""The mixture of experts for users: its form against the formula in float64, losses and use."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fastff.layers.losses import aux_loss, importance, smooth_load, squared_variation
from fastff.layers.moe import MoE

LEADING = st.lists(st.integers(0, 4), max_size=3)


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    total = sum(math.exp(value - top) for value in values)
    return [math.exp(value - top) / total for value in values]


def logits(layer: MoE, row: Tensor) -> list[float]:
    z = layer.gate.weight @ row
    return (z if layer.gate.bias is None else z + layer.gate.bias).tolist()


def of_expert(layer: MoE, e: int, row: Tensor) -> Tensor:
    experts = layer.experts
    b_in, b_out = (0, 0) if experts.b_in is None else (experts.b_in[e], experts.b_out[e])
    return torch.relu(experts.w_in[e] @ row + b_in) @ experts.w_out[e] + b_out


def best(z: list[float], k: int) -> list[int]:
    return sorted(range(len(z)), key=lambda e: -z[e])[:k]


@given(
    leading=LEADING, n_experts=st.integers(1, 9), k=st.integers(0, 9), bias=st.booleans(),
    renormalise=st.booleans(), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_it_is_the_formula(leading, n_experts, k, bias, renormalise, seed):
    draw = torch.Generator().manual_seed(seed)
    k = min(k, n_experts)
    layer = MoE(
        5, 3, n_experts=n_experts, expert_width=2, top_k=k or None, bias=bias,
        renormalise=renormalise and k > 0, balance=0.7, generator=draw, dtype=torch.float64,
    )  # fmt: skip
    x = torch.randn(*leading, 5, generator=draw, dtype=torch.float64)
    trained = layer.train()(x)
    loss = aux_loss(layer).item()
    inferred = layer.eval()(x)
    assert trained.shape == inferred.shape == (*leading, 3)
    rows = x.reshape(-1, 5)
    counts, summed = [0] * n_experts, [0.0] * n_experts
    entropy = 0.0
    for row, one, other in zip(rows, trained.reshape(-1, 3), inferred.reshape(-1, 3), strict=True):
        z = logits(layer, row)
        p = softmax(z)
        entropy -= sum(value * math.log(value) for value in p)
        for e in range(n_experts):
            summed[e] += p[e]
        for e in best(z, k or 1):
            counts[e] += 1
        if k == 0:
            weights, hard = dict(enumerate(p)), {best(z, 1)[0]: 1.0}
        else:
            kept = best(z, k)
            scale = softmax([z[e] for e in kept]) if renormalise else [p[e] for e in kept]
            weights = hard = dict(zip(kept, scale, strict=True))
        torch.testing.assert_close(
            one, sum(w * of_expert(layer, e, row) for e, w in weights.items())
        )
        torch.testing.assert_close(
            other, sum(w * of_expert(layer, e, row) for e, w in hard.items())
        )
    b = max(len(rows), 1)
    shares = [count / (b * (k or 1)) for count in counts]
    balance = n_experts * sum(f * total / b for f, total in zip(shares, summed, strict=True))
    assert loss == pytest.approx(0.7 * balance, abs=1e-9)
    assert layer.chosen(x).shape == (*leading, k or 1)
    assert layer.usage(x).tolist() == counts
    assert layer.entropies(x).item() == pytest.approx(entropy / b, abs=1e-9)
    del trained


def test_a_noisy_router_has_the_losses_of_its_gate(generator):
    layer = MoE(
        5, 3, n_experts=4, expert_width=2, top_k=2, noisy=True, importance=0.3, load=0.6,
        generator=generator, dtype=torch.float64,
    )  # fmt: skip
    noise = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    layer.gate.random.normal = lambda like: noise.view(like.shape)
    x = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    out = layer(x)
    rows = x.view(12, 5)
    clean = layer.gate.logits(rows)
    scale = torch.nn.functional.softplus(rows @ layer.gate.noise_weight.T)
    noisy = clean + noise * scale
    kept = noisy.topk(2)
    weights = torch.zeros_like(noisy).scatter(-1, kept.indices, kept.values.softmax(-1))
    load = squared_variation(smooth_load(clean, noisy, scale, 2))
    torch.testing.assert_close(aux_loss(layer), 0.3 * importance(weights) + 0.6 * load)
    assert layer.chosen(x).tolist() == clean.topk(2).indices.view(2, 6, 2).tolist()
    del out


def test_a_renormalised_router_of_one_expert_does_not_learn_and_a_switch_does(generator):
    x = torch.randn(8, 5, generator=generator)
    options = {"n_experts": 4, "expert_width": 2, "generator": generator}
    switch = MoE(5, 3, **options)
    switch(x).square().sum().backward()
    assert switch.gate.weight.grad.abs().sum() > 0
    constant = MoE(5, 3, renormalise=True, **options)
    constant(x).square().sum().backward()
    gradient = constant.gate.weight.grad
    assert gradient is None or gradient.abs().sum() == 0


def test_the_balance_loss_spreads_inputs_over_experts(generator):
    layer = MoE(6, 2, n_experts=4, expert_width=2, balance=1.0, generator=generator)
    with torch.no_grad():
        layer.gate.bias[0] = 3
    x = torch.randn(256, 6, generator=generator)
    assert layer.usage(x)[0] > 200
    optimiser = torch.optim.Adam(layer.gate.parameters(), lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        out = layer(x)
        (0 * out.sum() + aux_loss(layer)).backward()
        optimiser.step()
    assert layer.usage(x).max() < 110


def test_its_description():
    layer = MoE(6, 2, n_experts=4, expert_width=3, top_k=2)
    assert repr(layer).startswith("MoE(\n  6, 2, n_experts=4, expert_width=3, top_k=2\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_experts": 0}, "n_experts = 0: must be at least 1"),
        ({"expert_width": 1.0}, "expert_width = 1.0: must be an integer"),
        ({"top_k": 0}, "top_k = 0: must be at least 1"),
        ({"top_k": 5}, "top_k = 5: must be between 1 and n_experts = 4"),
        ({"top_k": None, "renormalise": True}, "renormalise = True has no meaning without top_k"),
        ({"balance": -1}, "balance = -1: must be a finite number of at least 0"),
        ({"load": 0.1}, "importance = 0.0, load = 0.1: need noisy = True"),
        ({"noisy": True, "balance": 0.1}, "noisy = True needs a top_k and no balance"),
        ({"noisy": True, "top_k": None}, "noisy = True needs a top_k and no balance"),
        ({"noisy": True, "top_k": 4, "load": 1}, "load = 1: needs top_k below n_experts = 4"),
        ({"activation": "tanh"}, "activation = 'tanh': allowed are relu, gelu"),
        ({"dropout": -0.1}, "dropout = -0.1: must be at least 0 and below 1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MoE(6, 2, **{"n_experts": 4, "expert_width": 3, **options})
