"""The linear gate: its three soft forms, and which of them learn."""

import pytest
import torch

from fastff.layers import LinearGate, MixtureExperts, RoutedLayer


def gate_gradient(**options) -> torch.Tensor:
    draw = torch.Generator().manual_seed(3)
    gate = LinearGate(10, 8, **options, generator=draw)
    layer = RoutedLayer(gate, MixtureExperts(8, 10, 6, 4, generator=draw))
    layer(torch.randn(32, 10, generator=draw)).square().sum().backward()
    return gate.weight.grad


def test_renormalised_top_1_gives_the_gate_no_gradient():
    assert torch.equal(gate_gradient(top_k=1, renormalise=True), torch.zeros(8, 10))


@pytest.mark.parametrize(
    "options", [{}, {"top_k": 1}, {"top_k": 2, "renormalise": True}, {"top_k": 2}]
)
def test_every_other_form_learns(options):
    assert gate_gradient(**options).abs().max() > 1e-3


@pytest.mark.parametrize("k", [1, 3, 8])
def test_top_k_forms_against_a_loop(k, generator):
    dense = LinearGate(10, 8, generator=generator).double()
    switch = LinearGate(10, 8, top_k=k).double()
    renormalised = LinearGate(10, 8, top_k=k, renormalise=True).double()
    for gate in (switch, renormalised):
        gate.load_state_dict(dense.state_dict())
    x = torch.randn(20, 10, generator=generator, dtype=torch.float64)
    p = dense.soft(x)
    torch.testing.assert_close(p, torch.softmax(x @ dense.weight.T, -1))
    for row in range(20):
        best = sorted(range(8), key=lambda e: -p[row, e].item())[:k]
        kept = torch.zeros(8).double()
        kept[best] = p[row, best]
        torch.testing.assert_close(switch.soft(x)[row], kept)
        torch.testing.assert_close(renormalised.soft(x)[row], kept / kept.sum())


def test_hard_forms(generator):
    x = torch.randn(20, 10, generator=generator)
    dense = LinearGate(10, 8, generator=generator)
    assert torch.equal(dense.hard(x).argmax(-1), dense.logits(x).argmax(-1))
    assert torch.equal(dense.hard(x).sum(-1), torch.ones(20))
    sparse = LinearGate(10, 8, top_k=2, generator=generator)
    assert torch.equal(sparse.hard(x), sparse.soft(x))


def test_mode_chooses_the_form(generator):
    gate, x = LinearGate(10, 8, generator=generator), torch.randn(20, 10, generator=generator)
    assert torch.equal(gate.train()(x), gate.soft(x))
    assert torch.equal(gate.eval()(x), gate.hard(x))
    assert torch.equal(gate(x, hard=False), gate.soft(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k = 0: must be between 1 and n_experts = 8"),
        ({"top_k": 9}, "top_k = 9: must be between 1 and n_experts = 8"),
        ({"renormalise": True}, "no meaning without top_k"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LinearGate(10, 8, **options)
