"""Random layouts, sizes, dtypes and values: kernels against plain forms against float64."""

import definition
import pytest
import torch
from cases import (
    MODES,
    TOLERANCE,
    Fixed,
    call,
    close,
    expected,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from random_tensors import Draw

from fastff import kernels
from fastff.kernels import reference
from fastff.kernels.reference import ExpertArguments, TreeArguments
from fastff.layers import (
    HypercubeGate,
    LinearGate,
    MixtureExperts,
    NodeTree,
    NoisyTopKGate,
    RoutedLayer,
    SoftMergedExperts,
    TreeGate,
)

ACTIVATIONS = ("relu", "gelu", "selu", "linear")
sizes = st.integers(1, 9)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
single_and_double = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
many = settings(max_examples=60)


def finite(values):
    return values.nan_to_num(0, 0, 0)


def wide(*tensors):
    return [None if t is None else t.detach().double() for t in tensors]


def logits_and_noise(x, weight, bias, dtype):
    """Return all node logits in float64 (b, n), and how far rounding may move them."""
    x, weight, bias = wide(x, weight, bias)
    bias = 0 if bias is None else bias
    noise = x.abs() @ weight.abs().mT + abs(bias)
    return x @ weight.mT + bias, 4 * TOLERANCE[dtype] * noise


def is_clear(z, noise):
    """Return for which rows (b,) rounding decides at no node of the way."""
    ways = [way for way, _ in definition.visited(z)]
    unclear = z.isfinite() & (z != 0) & (z.abs() <= noise)
    # sums of small integers are exact, so a logit of 0 is clear if it is one
    exact = (noise * 0 == 0) & (z == z.round())
    unclear |= (z == 0) & ~exact
    return torch.tensor([not row[way].any() for row, way in zip(unclear, ways, strict=True)] + [])


def near(actual, wanted, scale):
    """Assert that values are within rounding of `scale`, and inf and NaN where they are to be."""
    assert actual.shape == wanted.shape
    # where the scale is no number, a finite value came of an infinite one: its size isn't known
    tolerance = 4 * TOLERANCE[actual.dtype] * scale.nan_to_num(torch.inf)
    actual = actual.detach().double()
    assert actual.isnan().equal(wanted.isnan())
    within = wanted.isfinite()
    assert actual.isfinite().equal(within)
    assert actual[wanted.isinf()].equal(wanted[wanted.isinf()])
    assert ((actual - wanted).abs() <= tolerance + 1e-30)[within].all()


@every_dtype
@given(data=st.data(), batch=st.integers(0, 9), in_features=sizes, levels=st.integers(1, 6))
@many
def test_route(dtype, data, batch, in_features, levels):
    draw = Draw(data, dtype)
    x, weight = draw(batch, in_features, of="x"), draw(2**levels - 1, in_features, of="w_in")
    bias = draw.maybe(2**levels - 1, of="bias")
    z, noise = logits_and_noise(x, weight, bias, dtype)
    clear = is_clear(z, noise * (not draw.are_integers)).bool()
    leaf = kernels.route(x, weight, bias)
    assert leaf.shape == (batch,) and ((leaf >= 0) & (leaf < 2**levels)).all()
    wanted = torch.tensor([leaf for _, leaf in definition.visited(z)], dtype=torch.int64)
    assert leaf[clear].equal(wanted[clear])
    assert reference.route(x, weight, bias)[clear].equal(wanted[clear])


@every_dtype
@given(
    data=st.data(), batch=st.integers(0, 9), in_features=sizes, out_features=sizes,
    levels=st.integers(1, 5), n_trees=st.integers(1, 3),
)  # fmt: skip
@many
def test_node_tree(dtype, data, batch, in_features, out_features, levels, n_trees):
    draw, nodes = Draw(data, dtype), 2**levels - 1
    x = draw(batch, in_features, of="x")
    w_in = draw(n_trees, nodes, in_features, of="w_in")
    w_out = draw(n_trees, nodes, out_features, of="w_out")
    b_in, activation = draw.maybe(n_trees, nodes, of="bias"), draw.one_of(*ACTIVATIONS)
    clear = torch.ones(batch, dtype=torch.bool)
    scale = torch.zeros(batch, out_features, dtype=torch.float64)
    for t in range(n_trees):
        z, noise = logits_and_noise(x, w_in[t], None if b_in is None else b_in[t], dtype)
        clear &= is_clear(z, noise * (not draw.are_integers)).bool()
        scale += noise / (4 * TOLERANCE[dtype]) @ finite(w_out[t].double().abs())
    options = {} if b_in is None else {"b_in": b_in}
    out = kernels.node_tree(x, w_in, w_out, activation, **options)
    wanted, *_ = reference.node_tree_with_path(
        TreeArguments(*wide(x, w_in, w_out), activation, *([] if b_in is None else wide(b_in)))
    )
    near(out[clear], wanted[clear], 2 * scale[clear])
    plain, *_ = reference.node_tree_with_path(
        TreeArguments(x, w_in, w_out, activation, *([] if b_in is None else [b_in]))
    )
    near(plain[clear], wanted[clear], 2 * scale[clear])


@every_dtype
@given(
    data=st.data(), batch=st.integers(0, 9), in_features=sizes, hidden=sizes, out_features=sizes,
    n_experts=st.integers(1, 5), top_k=st.integers(1, 3),
)  # fmt: skip
@many
def test_chosen_experts(dtype, data, batch, in_features, hidden, out_features, n_experts, top_k):
    draw, e, h = Draw(data, dtype), n_experts, hidden
    x = draw(batch, in_features, of="x")
    w_in, w_out = draw(e, h, in_features, of="w_in"), draw(e, h, out_features, of="w_out")
    options = {
        "scale": draw.maybe(batch, top_k), "b_in": draw.maybe(e, h, of="bias"),
        "b_out": draw.maybe(e, out_features),
    }  # fmt: skip
    expert = torch.randint(e, (top_k, batch), generator=draw.generator).mT
    activation = draw.one_of(*ACTIVATIONS)
    out = kernels.chosen_experts(x, expert, w_in, w_out, activation, **options)
    named = dict(zip(options, wide(*options.values()), strict=True))
    wanted, _ = reference.chosen_experts_with_hidden(
        ExpertArguments(wide(x)[0], expert, *wide(w_in, w_out), activation, **named)
    )
    absolute = {key: None if t is None else t.abs() for key, t in named.items()}
    bound, _ = reference.chosen_experts_with_hidden(
        ExpertArguments(
            x.double().abs(), expert, *(w.abs() for w in wide(w_in, w_out)), "linear", **absolute
        )
    )
    near(out, wanted, 2 * bound)
    plain, _ = reference.chosen_experts_with_hidden(
        ExpertArguments(x, expert, w_in, w_out, activation, **options)
    )
    near(plain, wanted, 2 * bound)


def random_gate(draw, in_features, depth):
    n, k = 2**depth, draw.one_of(None, 1, 2)
    kept = {"top_k": k, "renormalise": k is not None and draw.one_of(False, True)}
    return draw.one_of(
        lambda: LinearGate(in_features, n, **kept),
        lambda: NoisyTopKGate(in_features, n, top_k=k or 1),
        lambda: HypercubeGate(in_features, depth, **kept),
        lambda: TreeGate(
            in_features, depth, **kept, bias=draw.one_of(False, True),
            form=draw.one_of("log", "product", "transition", "learned_transition"),
            region_leak=draw.one_of(0.0, 0.3),
        ),
        lambda: TreeGate(in_features, depth, hard_training=True),
    )()  # fmt: skip


def random_layer(draw, in_features, out_features):
    depth, activation = draw.one_of(1, 2, 3, 4), draw.one_of(*ACTIVATIONS)
    if draw.one_of(True, False, False):
        return NodeTree(
            in_features, out_features, levels=depth, n_trees=draw.one_of(1, 2, 3),
            activation=activation,
        )  # fmt: skip
    bank = draw.one_of(MixtureExperts, SoftMergedExperts)
    sizes = (2**depth, in_features, draw.one_of(1, 3, 8), out_features)
    experts = bank(*sizes, activation=activation, bias=draw.one_of(False, True))
    return RoutedLayer(random_gate(draw, in_features, depth), experts)


@every_dtype
@pytest.mark.parametrize("mode", MODES)
@given(data=st.data(), batch=st.integers(1, 9), in_features=sizes, out_features=sizes)
@many
def test_layers(dtype, mode, data, batch, in_features, out_features):
    draw = Draw(data, dtype)
    draw.special, draw.are_integers = None, False
    layer = random_layer(draw, in_features, out_features).to(dtype)
    for module in layer.modules():
        if hasattr(module, "random"):
            module.random = Fixed()
    for parameter in layer.parameters():
        parameter.data = draw(*parameter.shape, layouts=("plain", "spaced", "transposed"))
    x = draw(batch, in_features)
    out = call(layer, mode, x)
    scale = x.double().norm(dim=-1) + 1
    clear = definition.margin(layer.train(mode == "train"), x) > 40 * TOLERANCE[dtype] * scale
    assert out.shape == (batch, out_features) and out.dtype == dtype
    close(out[clear], expected(layer, mode, x)[clear], 4 * TOLERANCE[dtype])


def gradients(function, tensors, seen):
    tensors = {key: t.detach().requires_grad_() for key, t in tensors.items() if t is not None}
    out = function(**tensors)
    found = torch.autograd.grad(out, [*tensors.values()], seen.to(out.dtype))
    return dict(zip(tensors, found, strict=True))


def compare_gradients(function, tensors, n_rows, n_columns, draw):
    """Assert that a function's gradients are those of the same in float64."""
    seen = draw(n_rows, n_columns)
    found = gradients(function, tensors, seen)
    plain = {key: None if t is None else t.double() for key, t in tensors.items()}
    wanted = gradients(function, plain, seen)
    for key, gradient in found.items():
        assert gradient.dtype == draw.dtype
        close(gradient, wanted[key], 4 * TOLERANCE[draw.dtype])


@single_and_double
@given(
    data=st.data(), batch=st.integers(0, 9), in_features=sizes, out_features=sizes,
    levels=st.integers(1, 5), n_trees=st.integers(1, 3),
)  # fmt: skip
@many
def test_gradients_of_node_trees(dtype, data, batch, in_features, out_features, levels, n_trees):
    draw, nodes = Draw(data, dtype), 2**levels - 1
    draw.special, draw.are_integers = None, True  # so that no rounding decides
    tensors = {
        "x": draw(batch, in_features), "w_in": draw(n_trees, nodes, in_features),
        "w_out": draw(n_trees, nodes, out_features), "b_in": draw.maybe(n_trees, nodes),
    }  # fmt: skip
    activation = draw.one_of(*ACTIVATIONS)

    def function(x, w_in, w_out, **options):
        return kernels.node_tree(x, w_in, w_out, activation, **options)

    compare_gradients(function, tensors, batch, out_features, draw)


@single_and_double
@given(
    data=st.data(), batch=st.integers(0, 9), in_features=sizes, hidden=sizes, out_features=sizes,
    n_experts=st.integers(1, 5), top_k=st.integers(1, 3),
)  # fmt: skip
@many
def test_gradients_of_chosen_experts(
    dtype, data, batch, in_features, hidden, out_features, n_experts, top_k
):
    draw = Draw(data, dtype)
    draw.special, draw.are_integers = None, True  # so that no rounding decides at relu's kink
    tensors = {
        "x": draw(batch, in_features), "w_in": draw(n_experts, hidden, in_features),
        "w_out": draw(n_experts, hidden, out_features), "scale": draw.maybe(batch, top_k),
        "b_in": draw.maybe(n_experts, hidden), "b_out": draw.maybe(n_experts, out_features),
    }  # fmt: skip
    expert = torch.randint(n_experts, (batch, top_k), generator=draw.generator)
    activation = draw.one_of(*ACTIVATIONS)

    def function(x, w_in, w_out, **options):
        return kernels.chosen_experts(x, expert, w_in, w_out, activation, **options)

    compare_gradients(function, tensors, batch, out_features, draw)
