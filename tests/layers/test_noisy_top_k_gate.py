"""The noisy top-k gate against the formulas of Shazeer et al., written out as loops."""

import math

import pytest
import torch
from torch import Tensor

from fastff.layers import NoisyTopKGate
from fastff.layers.losses import smooth_load, squared_variation


class Fixed:
    """A source of noise that always gives the same."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def normal(self, like: Tensor) -> Tensor:
        assert like.shape == self.noise.shape
        return self.noise


def variation(values: list[float]) -> float:
    """Return CV², population variance over squared mean."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values) / mean**2


@pytest.mark.parametrize("k", [1, 2, 3])
def test_weights_and_losses_equal_the_formulas(k, generator):
    e, b = 4, 6
    gate = NoisyTopKGate(
        5, e, top_k=k, importance_weight=0.3, load_weight=0.7, generator=generator
    ).double()
    x = torch.randn(b, 5, generator=generator, dtype=torch.float64)
    noise = torch.randn(b, e, generator=generator, dtype=torch.float64)
    gate.random = Fixed(noise)
    weights, loss = gate.train().soft_with_loss(x)

    clean, raw = x @ gate.weight.T, x @ gate.noise_weight.T
    importance, load = [0.0] * e, [0.0] * e
    for row in range(b):
        scale = [math.log1p(math.exp(raw[row, j].item())) for j in range(e)]
        noisy = [clean[row, j].item() + noise[row, j].item() * scale[j] for j in range(e)]
        best = sorted(range(e), key=lambda j: -noisy[j])[:k]
        total = sum(math.exp(noisy[j]) for j in best)
        for j in range(e):
            p = math.exp(noisy[j]) / total if j in best else 0.0
            assert weights[row, j].item() == pytest.approx(p, abs=1e-12)
            importance[j] += p
            threshold = sorted((noisy[i] for i in range(e) if i != j), reverse=True)[k - 1]
            z = (clean[row, j].item() - threshold) / scale[j]
            load[j] += 0.5 * (1 + math.erf(z / math.sqrt(2)))
    expected = 0.3 * variation(importance) + 0.7 * variation(load)
    assert loss.item() == pytest.approx(expected, rel=1e-8)


def test_evaluation_has_no_noise_and_no_loss(generator):
    gate = NoisyTopKGate(5, 4, top_k=2, load_weight=1.0, generator=generator).eval()
    x = torch.randn(6, 5, generator=generator)
    weights, loss = gate.soft_with_loss(x)
    assert loss is None
    assert torch.equal(weights, gate.hard(x))
    assert (weights > 0).sum(-1).tolist() == [2] * 6
    torch.testing.assert_close(weights.sum(-1), torch.ones(6))


def test_load_counts_samples_where_the_noise_is_small(generator):
    clean = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    load = smooth_load(clean, clean, torch.full_like(clean, 1e-9), 2)
    counts = torch.zeros(50, 4).scatter(-1, clean.topk(2).indices, 1).sum(0)
    torch.testing.assert_close(load, counts.double())


def test_even_shares_have_no_variation():
    assert squared_variation(torch.full((3, 8), 2.0)).tolist() == [0.0] * 3


def test_losses_spread_the_load(generator):
    """Gradient steps on the loss alone even out a gate that favours one expert."""
    gate = NoisyTopKGate(
        5, 4, top_k=1, importance_weight=1.0, load_weight=1.0, generator=generator
    ).train()
    x = torch.rand(256, 5, generator=generator)
    with torch.no_grad():
        gate.weight[0] += 1.0
    optimiser = torch.optim.Adam(gate.parameters(), lr=0.02)
    gate.random.generators = None
    torch.manual_seed(0)
    first = gate.soft_with_loss(x)[1].item()
    for _ in range(100):
        optimiser.zero_grad()
        gate.soft_with_loss(x)[1].backward()
        optimiser.step()
    assert gate.soft_with_loss(x)[1].item() < 0.2 * first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 5}, "top_k = 5: must be between 1 and n_experts = 4"),
        ({"top_k": 4, "load_weight": 0.1}, "load_weight > 0 needs top_k below n_experts = 4"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NoisyTopKGate(5, 4, **options)
