"""How layers route, and what of them one byte uses."""

from __future__ import annotations

import pytest
import torch
from language_cases import VARIANTS, decoder

from fastff.language.feed_forward import (
    HashRouted,
    active_parameters,
    visited_parts,
    visits,
)
from fastff.layers import NodeTree, RoutedLayer
from fastff.train.build import count_parameters

CHOOSE = [name for name in VARIANTS if name != "none" and not name.startswith("dense")]


def inputs(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(n, 16, dtype=torch.float64, generator=draw)
    return x, torch.randint(256, (n,), generator=draw)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "none"])
def test_active_parameters_are_those_that_one_byte_reaches(variant):
    """Counted by what gets a gradient, and of a gate that gets none by hand."""
    model = decoder(variant)
    layer = model.feed_forwards()[0]
    x, tokens = inputs(1)
    options = {"tokens": tokens} if isinstance(layer, HashRouted) else {"hard": True}
    out = layer(x, **options)
    parameters = [*layer.parameters()]
    grads = torch.autograd.grad(out, parameters, torch.rand_like(out), allow_unused=True)
    names = [name for name, _ in layer.named_parameters()]
    reached = sum(
        int((grad != 0).sum())
        for name, grad in zip(names, grads, strict=True)
        if grad is not None and not name.startswith("gate.")
    )
    if isinstance(layer, RoutedLayer):
        nodes = layer.gate.node_weights()
        reached += count_parameters(layer.gate) if nodes is None else 2 * (16 + 1)  # two levels
    assert active_parameters(layer) == reached


@pytest.mark.parametrize("variant", CHOOSE)
def test_visits_are_those_of_the_hard_form(variant):
    layer = decoder(variant).feed_forwards()[0]
    x, tokens = inputs()
    counts = visits(layer, x, tokens)
    if isinstance(layer, HashRouted):
        expected = layer.table[tokens].bincount(minlength=4).view(1, -1)
    else:
        routing = layer.soft_and_hard(x)[1]  # (b, t, e)
        expected = (routing != 0).sum(0)
    assert torch.equal(counts, expected)
    visited, n_parts = visited_parts(layer, counts)
    if isinstance(layer, NodeTree):
        nodes = layer.n_trees * (2**layer.levels - 1)
        reached = sum(len(set(walk(layer, tree, x))) for tree in range(layer.n_trees))
        assert (visited, n_parts) == (reached, nodes)
    else:
        assert (visited, n_parts) == (int((expected > 0).sum()), expected.numel())


def walk(layer: NodeTree, tree: int, x: torch.Tensor) -> list[int]:
    """Return the nodes of a tree on the paths of all inputs."""
    found = []
    for z in layer.node_logits(x)[:, tree]:
        node = 0
        while node < len(z):
            found.append(node)
            node = 2 * node + 1 + int(z[node] > 0)
    return found


@pytest.mark.parametrize("variant", ["none", "dense_24"])
def test_layers_that_do_not_choose_have_no_visits(variant):
    assert visits(decoder(variant).feed_forwards()[0], *inputs()) is None


def test_the_hash_spreads_all_bytes_evenly():
    layer = decoder("hash").feed_forwards()[0]
    assert layer.table.bincount().tolist() == [64] * 4
