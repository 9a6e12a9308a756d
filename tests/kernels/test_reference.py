"""The plain definitions against the dense layers, whose own tests hold them against the papers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import EXTREMES, Draw, same

from fastff.kernels import reference
from fastff.kernels.activations import ACTIVATIONS, slope
from fastff.kernels.reference import ExpertArguments, TreeArguments
from fastff.layers import LinearGate, MixtureExperts, NodeTree, TreeGate


@given(
    depth=st.integers(1, 6), batch=st.integers(0, 9), bias=st.booleans(), seed=st.integers(0, 2**16)
)
def test_routes_to_the_tree_gates_leaf(depth, batch, bias, seed):
    gate = TreeGate(5, depth, bias=bias, generator=torch.Generator().manual_seed(seed)).double()
    x = Draw(seed, dtype=torch.float64)(batch, 5)
    assert reference.route(x, gate.weight, gate.bias).equal(gate.leaf(x))


def test_a_tie_goes_left():
    x, weight = torch.zeros(3, 4), torch.randn(7, 4)
    logits, leaf = reference.descend(x, weight)
    assert leaf.tolist() == [0, 0, 0]
    assert logits.equal(torch.zeros(3, 3))


def test_nan_goes_left():
    logits, leaf = reference.descend(torch.full((3, 4), torch.nan), torch.ones(7, 4))
    assert leaf.tolist() == [0, 0, 0]
    assert logits.isnan().all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(
    levels=st.integers(1, 5),
    trees=st.integers(1, 3),
    batch=st.integers(0, 8),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_node_tree_and_its_gradients_are_the_layers(activation, levels, trees, batch, bias, seed):
    tree = NodeTree(
        5, 4, levels=levels, n_trees=trees, activation=activation, bias=bias,
        generator=torch.Generator().manual_seed(seed),
    ).double()  # fmt: skip
    draw = Draw(seed, dtype=torch.float64)
    x, grad = draw(batch, 5).requires_grad_(), draw(batch, 4)
    expected = tree.soft_and_hard(x)[0][0]  # the dense form
    weights = tree.w_in, tree.w_out
    arguments = TreeArguments(x, *weights, activation, tree.b_in)
    out, logits, leaf = reference.node_tree_with_path(arguments)
    torch.testing.assert_close(out, expected)
    with torch.no_grad():
        gradients = reference.node_tree_backward(grad, arguments, logits, leaf)
    wanted = torch.autograd.grad(expected, [x, *weights, *([tree.b_in] if bias else [])], grad)
    assert (gradients[3] is None) != bias
    torch.testing.assert_close(gradients[: len(wanted)], wanted)


class ReferenceTree(torch.autograd.Function):
    """The plain definition with its own gradients."""

    @staticmethod
    def forward(ctx, x, w_in, w_out, b_in):
        out, *path = reference.node_tree_with_path(TreeArguments(x, w_in, w_out, "gelu", b_in))
        ctx.save_for_backward(x, w_in, w_out, b_in, *path)
        return out

    @staticmethod
    def backward(ctx, grad):
        x, w_in, w_out, b_in, *path = ctx.saved_tensors
        arguments = TreeArguments(x, w_in, w_out, "gelu", b_in)
        return reference.node_tree_backward(grad, arguments, *path)


@given(
    levels=st.integers(1, 4), trees=st.integers(1, 2), batch=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_gradients_with_biases_equal_finite_differences(levels, trees, batch, seed):
    draw = Draw(seed, dtype=torch.float64)
    n_nodes = 2**levels - 1
    tensors = draw(batch, 3), draw(trees, n_nodes, 3), draw(trees, n_nodes, 2), draw(trees, n_nodes)
    assert torch.autograd.gradcheck(ReferenceTree.apply, [t.requires_grad_() for t in tensors])


def test_a_bias_is_a_weight_of_a_constant_input():
    draw = Draw(0, dtype=torch.float64)
    x, w, v, b = draw(9, 3), draw(2, 15, 3), draw(2, 15, 4), draw(2, 15)
    outputs = reference.node_tree_with_path(TreeArguments(x, w, v, "gelu", b))
    with_one = torch.cat([x, x.new_ones(9, 1)], dim=1), torch.cat([w, b.unsqueeze(-1)], dim=2)
    torch.testing.assert_close(
        outputs, reference.node_tree_with_path(TreeArguments(*with_one, v, "gelu"))
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(
    batch=st.integers(0, 8),
    top_k=st.integers(1, 3),
    plain=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_chosen_experts_and_their_gradients_are_the_mixtures(activation, batch, top_k, plain, seed):
    generator = torch.Generator().manual_seed(seed)
    gate = LinearGate(5, 4, top_k=top_k, generator=generator).double()
    experts = MixtureExperts(
        4, 5, 3, 2, activation=activation, bias=not plain, generator=generator
    ).double()
    draw = Draw(seed, dtype=torch.float64)
    x, grad = draw(batch, 5).requires_grad_(), draw(batch, 2)
    _, expert, scale, _ = gate.route(x.detach(), hard=False, sparse=True)
    scale = scale.detach().requires_grad_()
    weights = torch.zeros(batch, 4, dtype=torch.float64).scatter(1, expert, scale)
    expected = experts(x, weights)
    arguments = ExpertArguments(
        x, expert, experts.w_in, experts.w_out, activation, scale, experts.b_in, experts.b_out
    )
    out, hidden = reference.chosen_experts_with_hidden(arguments)
    torch.testing.assert_close(out, expected)
    with torch.no_grad():
        gradients = reference.chosen_experts_backward(grad, hidden, arguments)
    inputs = [x, experts.w_in, experts.w_out, scale]
    inputs += [] if plain else [experts.b_in, experts.b_out]
    wanted = torch.autograd.grad(expected, inputs, grad)
    torch.testing.assert_close([g for g in gradients if g is not None], list(wanted))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_slopes_are_the_derivatives(activation):
    z = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)  # with 0
    (wanted,) = torch.autograd.grad(ACTIVATIONS[activation](z).sum(), z)
    torch.testing.assert_close(slope(z.detach(), activation), wanted)
    # torch's selu has two slopes at NaN: one in vectors and one in what is left of them
    extremes = [v for v in EXTREMES if activation != "selu" or not math.isnan(v)]
    z = torch.tensor([*extremes, -1e30], dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(ACTIVATIONS[activation](z).sum(), z)
    same(slope(z.detach(), activation), wanted)


@pytest.mark.parametrize("n_nodes", [0, 2, 6, 8])
def test_no_complete_tree_of_other_sizes(n_nodes):
    with pytest.raises(ValueError, match="complete tree"):
        reference.levels_of(n_nodes)
