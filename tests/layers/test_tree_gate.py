"""The tree gate against the reference package, a hand-written walk, and itself in other forms."""

import pytest
import torch
from fastfeedforward import FFF
from hypothesis import given
from hypothesis import strategies as st

from fastff.layers import MixtureExperts, RoutedLayer, TreeGate
from fastff.layers.tree import NODE_ACTIVATIONS, path_matrix

DEPTHS = range(1, 9)


def walk(gate: TreeGate, row: torch.Tensor) -> int:
    """Return the leaf that one input reaches, node by node."""
    node = 0
    while node < gate.n_experts - 1:
        z = sum(
            w * value for w, value in zip(gate.weight[node].tolist(), row.tolist(), strict=True)
        )
        node = 2 * node + 2 if z > 0 else 2 * node + 1
    return node - (gate.n_experts - 1)


def layer_like(reference: FFF, form: str) -> RoutedLayer:
    """Return our layer with the parameters of the reference package's."""
    depth, (n_leaves, in_features, width) = int(reference.depth), reference.w1s.shape
    gate = TreeGate(in_features, depth, form=form, bias=True)
    experts = MixtureExperts(n_leaves, in_features, width, reference.output_width, bias=True)
    with torch.no_grad():
        gate.weight.copy_(reference.node_weights)
        gate.bias.copy_(reference.node_biases.squeeze(-1))
        experts.w_in.copy_(reference.w1s.mT)
        experts.b_in.copy_(reference.b1s)
        experts.w_out.copy_(reference.w2s)
        experts.b_out.copy_(reference.b2s)
    return RoutedLayer(gate, experts)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("form", ["product", "log", "transition"])
def test_layer_equals_reference_package(depth, form, generator):
    torch.manual_seed(depth)
    reference = FFF(input_width=12, leaf_width=5, output_width=3, depth=depth)
    # The package leaves the output bias out at inference, so that only zero compares both forms.
    reference.b2s.data.zero_()
    layer = layer_like(reference, form)
    x = torch.randn(64, 12, generator=generator)
    torch.testing.assert_close(layer(x, hard=False), reference.train()(x), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer(x, hard=True), reference.eval()(x), atol=1e-5, rtol=0)


def test_soft_form_with_output_bias_equals_reference_package(generator):
    torch.manual_seed(0)
    reference = FFF(input_width=12, leaf_width=5, output_width=3, depth=3)
    x = torch.randn(64, 12, generator=generator)
    layer = layer_like(reference, "product")
    torch.testing.assert_close(layer(x, hard=False), reference.train()(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("form", ["log", "transition"])
def test_forms_are_equal(depth, form, generator):
    product = TreeGate(9, depth, form="product").double()
    other = TreeGate(9, depth, form=form).double()
    other.load_state_dict(product.state_dict())
    x = 5 * torch.randn(32, 9, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(other.soft(x), product.soft(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(product.soft(x).sum(-1), torch.ones(32).double())


@given(
    depth=st.integers(1, 6), batch=st.integers(0, 17), in_features=st.integers(1, 20),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_hard_form_is_one_hot_at_the_leaf_of_a_walk(depth, batch, in_features, seed):
    draw = torch.Generator().manual_seed(seed)
    gate = TreeGate(in_features, depth, generator=draw).double()
    x = torch.randn(batch, in_features, generator=draw, dtype=torch.float64)
    expected = torch.zeros(batch, 2**depth, dtype=torch.float64)
    for row in range(batch):
        expected[row, walk(gate, x[row])] = 1
    assert torch.equal(gate.hard(x), expected)


def test_a_logit_of_zero_goes_left():
    gate = TreeGate(4, 3)
    torch.nn.init.zeros_(gate.weight)
    assert gate.leaf(torch.ones(2, 4)).tolist() == [0, 0]


@pytest.mark.parametrize("form", ["product", "log", "transition"])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_saturated_logits_make_the_soft_form_hard(form, depth, generator):
    gate = TreeGate(16, depth, form=form, generator=generator).double()
    x = torch.randn(50, 16, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        gate.weight.mul_(1e5)
    clear = gate.logits(x).abs().min(-1).values > 50
    assert clear.sum() > 25
    torch.testing.assert_close(gate.soft(x)[clear], gate.hard(x)[clear], atol=1e-12, rtol=0)


@pytest.mark.parametrize("activation", NODE_ACTIVATIONS)
def test_every_activation_agrees_with_the_hard_form_on_the_likelier_side(activation, generator):
    gate = TreeGate(16, 1, form="transition", node_activation=activation, generator=generator)
    x = torch.randn(50, 16, generator=generator)
    assert torch.equal(gate.soft(x).argmax(-1), gate.leaf(x))
    assert set(gate.leaf(x).tolist()) == {0, 1}


def test_path_matrix_of_depth_two():
    left, right = path_matrix(2).split(3, dim=1)
    assert left.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert right.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth = 0: must be at least 1"),
        ({"depth": 2, "form": "fast"}, "form = 'fast': allowed are product, log, transition"),
        ({"depth": 2, "form": "transition", "node_activation": "tanh"}, "allowed are logsigmoid"),
        ({"depth": 2, "node_activation": "relu"}, "needs form = 'transition'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TreeGate(8, **options)
