"""The node-only tree against a hand-written walk in float64, forward and gradients."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from fastff.layers import NodeTree
from fastff.train.build import stack


def walk(tree: NodeTree, row: torch.Tensor) -> torch.Tensor:
    """Return one input's output, node by node."""
    out = torch.zeros(tree.w_out.shape[-1], dtype=row.dtype)
    b_in = torch.zeros(tree.w_in.shape[:2]) if tree.b_in is None else tree.b_in
    for w_in, b, w_out in zip(tree.w_in, b_in, tree.w_out, strict=True):
        node = 0
        for _ in range(tree.levels):
            z = w_in[node] @ row + b[node]
            out = out + {"gelu": F.gelu, "linear": lambda z: z}[tree.activation](z) * w_out[node]
            node = 2 * node + (2 if z > 0 else 1)
    return out


@pytest.mark.parametrize("activation", ["gelu", "linear"])
@given(
    levels=st.integers(1, 6), n_trees=st.integers(1, 4), batch=st.integers(0, 8),
    bias=st.booleans(), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_outputs_and_gradients_equal_a_walk(activation, levels, n_trees, batch, bias, seed):
    draw = torch.Generator().manual_seed(seed)
    tree = NodeTree(
        6, 4, levels=levels, n_trees=n_trees, bias=bias, activation=activation, generator=draw
    ).double()
    x = torch.randn(batch, 6, generator=draw, dtype=torch.float64, requires_grad=True)
    output = tree(x)
    assert output.shape == (batch, 4)
    if batch == 0:
        return
    expected = torch.stack([walk(tree, row) for row in x])
    torch.testing.assert_close(output, expected)
    seen = torch.randn(batch, 4, generator=draw, dtype=torch.float64)
    inputs = [x, *tree.parameters()]
    for gradient, wanted in zip(
        torch.autograd.grad(output, inputs, seen),
        torch.autograd.grad(expected, inputs, seen),
        strict=True,
    ):
        torch.testing.assert_close(gradient, wanted)


def test_a_stack_computes_what_its_parts_compute(generator):
    trees = [NodeTree(6, 4, levels=3, n_trees=2, generator=generator).double() for _ in range(3)]
    x = torch.randn(3, 10, 6, generator=generator, dtype=torch.float64)
    together = stack(trees)(x)
    for run, tree in enumerate(trees):
        torch.testing.assert_close(together[run], tree(x[run]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "levels = 0: must be at least 1"),
        ({"levels": 2, "n_trees": 0}, "n_trees = 0: must be at least 1"),
        ({"levels": 2, "activation": "tanh"}, "activation = 'tanh': allowed are relu"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NodeTree(6, 4, **options)
