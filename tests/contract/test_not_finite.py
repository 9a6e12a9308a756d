"""NaN and infinity: never hidden, and never where they were not sent."""

import definition
import pytest
import torch
from cases import (
    BATCH,
    DEPTH,
    GATED,
    I,
    O,
    build,
    call,
    close,
    every_gated_layer,
    every_layer,
    every_mode,
    every_tree,
    expected,
    hard_modes,
    inputs,
)

from fastff import aux_loss, kernels
from fastff.kernels import reference
from fastff.kernels.reference import TreeArguments
from fastff.layers import HypercubeGate, TreeGate

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
BAD = (torch.nan, torch.inf, -torch.inf)
# their soft form takes few experts too
SPARSE = tuple(
    name
    for name in GATED
    if getattr(build(name).gate, "top_k", None) or getattr(build(name).gate, "hard_training", 0)
)
NODE_TREES = ("node tree", "node tree relu", "node trees")


@every_layer
@DTYPES
@every_mode
def test_nan_inputs_give_nan(name, mode, dtype):
    layer, x = build(name, dtype), inputs(name, dtype=dtype)
    x[2] = torch.nan
    x[4, 5] = torch.nan
    out = call(layer, mode, x)
    spoilt = torch.tensor([2, 4])
    assert out[spoilt].isnan().all()
    others = [0, 1, 3, 5]
    close(out[others], expected(layer, mode, x[others]))


@every_layer
@DTYPES
@pytest.mark.parametrize("factor", [1e2, 1e4, 1e6])
def test_large_parameters_have_finite_gradients(name, dtype, factor):
    """Trained gates saturate: probabilities are 0 and 1, and learned noise is 0."""
    layer, x = build(name, dtype).train(), inputs(name, dtype=dtype).requires_grad_()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(factor)
    out = layer(x)
    assert out.isfinite().all()
    ((out / factor**2).square().mean() + aux_loss(layer)).backward()
    gradients = [x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)]
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_layer
@DTYPES
@every_mode
def test_infinite_inputs_stay_in_their_rows(name, mode, dtype):
    layer, x = build(name, dtype), inputs(name, dtype=dtype)
    x[2, 1], x[4, 5] = torch.inf, -torch.inf
    out, others = call(layer, mode, x), [0, 1, 3, 5]
    close(out[others], expected(layer, mode, x[others]))


@every_gated_layer
@pytest.mark.parametrize("parameter", ["w_in", "w_out", "b_in", "b_out"])
@every_mode
def test_nan_experts_give_nan(name, parameter, mode):
    layer, x = build(name), inputs(name)
    weight = getattr(layer.experts, parameter)
    if weight is None:
        return
    with torch.no_grad():
        weight.fill_(torch.nan)
    assert call(layer, mode, x).isnan().all()


@pytest.mark.parametrize("name", NODE_TREES)
@pytest.mark.parametrize("parameter", ["w_in", "w_out"])
@every_mode
def test_nan_nodes_give_nan(name, parameter, mode):
    layer, x = build(name), inputs(name)
    with torch.no_grad():
        layer.get_parameter(parameter)[:, 0] = torch.nan  # the root, where all pass
    assert call(layer, mode, x).isnan().all()


def taken(layer, x, hard):
    """Return which experts any input is sent to, (e,)."""
    with torch.no_grad():
        return definition.weights(layer.gate, x.double(), hard=hard).any(0)


def unchosen_do_not_count(name, mode, dtype):
    layer, x = build(name, dtype).train(mode == "train"), inputs(name, dtype=dtype)[:1]
    unused = ~taken(layer, x, hard=mode != "train")
    assert unused.any()
    wanted = expected(layer, mode, x)
    for bad in BAD:
        with torch.no_grad():
            for parameter in layer.experts.parameters():
                parameter[unused] = bad
        close(call(layer, mode, x), wanted)


@every_gated_layer
@DTYPES
@hard_modes
def test_experts_that_nobody_chose_do_not_count(name, mode, dtype):
    unchosen_do_not_count(name, mode, dtype)


@pytest.mark.parametrize("name", SPARSE)
@DTYPES
def test_experts_that_nobody_chose_do_not_count_in_training(name, dtype):
    unchosen_do_not_count(name, "train", dtype)


@every_gated_layer
@DTYPES
@hard_modes
def test_experts_that_others_chose_do_not_count(name, mode, dtype):
    # what spoils one row of a batch leaves the others alone
    layer, x = build(name, dtype).eval(), inputs(name, dtype=dtype)
    with torch.no_grad():
        p = definition.weights(layer.gate, x.double(), hard=True)
    used_by_first = p[0] > 0
    untouched = ~(p[:, used_by_first] > 0).any(-1)
    wanted = expected(layer, mode, x)
    for bad in BAD:
        with torch.no_grad():
            for parameter in layer.experts.parameters():
                parameter[used_by_first] = bad
        close(call(layer, mode, x)[untouched], wanted[untouched])


@every_tree
@DTYPES
@hard_modes
def test_nodes_that_nobody_visits_do_not_count(name, mode, dtype):
    layer, x = build(name, dtype).eval(), inputs(name, dtype=dtype)[:2]
    wanted = expected(layer, mode, x)
    with torch.no_grad():
        z = definition._logits(layer.gate, x.double())
        visited = {node for way, _ in definition.visited(z) for node in way}
    unvisited = [node for node in range(2**DEPTH - 1) if node not in visited]
    for bad in BAD:
        with torch.no_grad():
            for parameter in (layer.gate.weight, layer.gate.bias):
                if parameter is not None:
                    parameter[unvisited] = bad
        close(call(layer, mode, x), wanted)


@pytest.mark.parametrize("name", NODE_TREES)
@DTYPES
@every_mode
def test_nodes_of_node_trees_that_nobody_visits_do_not_count(name, mode, dtype):
    layer, x = build(name, dtype), inputs(name, dtype=dtype)[:2]
    wanted, before = expected(layer, mode, x), layer.w_in.detach().double().clone()
    for bad in BAD:
        for w_in, w_out, z in zip(layer.w_in, layer.w_out, x.double() @ before.mT, strict=True):
            visited = {node for way, _ in definition.visited(z) for node in way}
            with torch.no_grad():
                for node in set(range(2**DEPTH - 1)) - visited:
                    w_in[node], w_out[node] = bad, bad
        close(call(layer, mode, x), wanted)


@every_tree
@DTYPES
@hard_modes
def test_nan_logits_go_left(name, mode, dtype):
    gate, x = build(name, dtype).gate.eval(), inputs(name, dtype=dtype)
    x[1] = torch.nan
    with torch.set_grad_enabled(mode != "eval"):
        weights, leaf = gate(x), gate.leaf(x)
    assert leaf[1] == 0 and weights[1].tolist() == [1.0] + [0.0] * (2**DEPTH - 1)


@DTYPES
@hard_modes
def test_nan_logits_are_the_lower_corner_of_a_hypercube(mode, dtype):
    gate, x = build("hypercube", dtype).gate.eval(), torch.full((2, I), torch.nan, dtype=dtype)
    assert isinstance(gate, HypercubeGate)
    with torch.set_grad_enabled(mode != "eval"):
        assert gate(x).argmax(-1).tolist() == [0, 0]


@DTYPES
@pytest.mark.parametrize("n_rows", [BATCH, 2000])
def test_functions_agree_on_nan(dtype, n_rows):
    gate, tree = build("fff", dtype).gate, build("node trees", dtype)
    assert isinstance(gate, TreeGate)
    x = inputs("fff", dtype=dtype).repeat(n_rows // BATCH + 1, 1)[:n_rows]
    x[3] = torch.nan
    for weight in (gate.weight.detach(), torch.full_like(gate.weight, torch.nan)):
        leaf = kernels.route(x, weight)
        assert leaf.equal(reference.route(x, weight)) and leaf[3] == 0
    weights = tree.w_in.detach(), tree.w_out.detach()
    for activation in ("relu", "gelu", "selu", "linear"):
        out = kernels.node_tree(x, *weights, activation)
        assert out[3].isnan().all() and out.shape == (n_rows, O)
        close(out, reference.node_tree_with_path(TreeArguments(x, *weights, activation))[0])
