"""Weights of the package fastfeedforward, against the package itself."""

import re

import pytest
import torch
from fastfeedforward import FFF as Package  # noqa: N811
from torch import nn

from fastff.layers.fff import load_fastfeedforward


def package(depth: int, **options) -> Package:
    torch.manual_seed(depth)
    return Package(input_width=12, leaf_width=5, output_width=3, depth=depth, **options)


@pytest.mark.parametrize("depth", range(1, 7))
def test_both_forms_are_the_packages(depth, generator):
    theirs = package(depth, activation=nn.GELU())
    ours = load_fastfeedforward(theirs.state_dict(), activation="gelu")
    x = torch.randn(64, 12, generator=generator)
    torch.testing.assert_close(ours.train()(x), theirs.train()(x), atol=1e-5, rtol=0)
    hard = theirs(x, use_hard_decisions=True)
    torch.testing.assert_close(ours.eval()(x), hard, atol=1e-5, rtol=0)
    # in its evaluation mode the package forgets the output bias
    without = theirs.eval()(x) + theirs.b2s[ours.leaf(x)]
    torch.testing.assert_close(ours(x), without, atol=1e-5, rtol=0)


def test_the_weights_are_a_copy_of_their_dtype():
    theirs = package(3, usage_mode="hard").double()
    ours = load_fastfeedforward(theirs.state_dict())
    assert {p.dtype for p in ours.parameters()} == {torch.float64}
    before = ours.gate.weight.clone()
    with torch.no_grad():
        theirs.node_weights.zero_()
    assert torch.equal(ours.gate.weight, before)
    assert all(p.requires_grad for p in ours.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w1s": None}, "no state_dict of fastfeedforward.FFF: w1s missing, nothing unknown"),
        ({"bias": torch.ones(3)}, "nothing missing, bias unknown"),
        ({"w2s": torch.ones(4)}, "w1s has shape (8, 12, 5), w2s (4,); allowed are (e, i, h) and"),
        ({"w1s": torch.ones(6, 12, 5)}, "w1s has 6 leaves; allowed is a power of 2, at least 2"),
        ({"w1s": torch.ones(1, 12, 5)}, "w1s has 1 leaves; allowed is a power of 2, at least 2"),
        ({"node_biases": torch.ones(7)}, "node_biases has shape (7,); allowed is (7, 1)"),
        ({"w2s": torch.ones(8, 4, 3)}, "w2s has shape (8, 4, 3); allowed is (8, 5, 3)"),
        ({"node_weights": torch.ones(8, 12)}, "node_weights has shape (8, 12); allowed is (7, 12)"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    state = {**package(3).state_dict(), **change}
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=re.escape(message)):
        load_fastfeedforward(state)
