"""Every node-tree kernel against float64, forward and gradients."""

import importlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    DEVICE,
    EXTREMES,
    HALVES,
    LAYOUTS,
    TOLERANCE,
    Draw,
    close,
    doubles,
    few,
    needs_cuda,
    quiet,
    right_turns,
    same,
    same_activation,
)

from fastff.bench.measure import with_tf32
from fastff.kernels import numba as cpu
from fastff.kernels import reference, tuning
from fastff.kernels import triton as cuda
from fastff.kernels.activations import ACTIVATIONS, slope
from fastff.kernels.reference import TreeArguments
from fastff.kernels.triton import node_tree as triton_node_tree
from fastff.kernels.triton.descent import descend_blocks
from fastff.kernels.triton.node_tree import node_tree_rows, node_tree_tiles
from fastff.kernels.triton.node_tree_backward import node_tree_backward, paths_backward
from fastff.kernels.triton.node_tree_dense import dense_backward, node_tree_dense

triton_backward = importlib.import_module("fastff.kernels.triton.node_tree_backward")
FORWARDS = [node_tree_rows, node_tree_tiles, node_tree_dense]
BACKWARDS = [paths_backward, dense_backward]
shapes = given(
    batch=st.integers(1, 70), features=st.integers(1, 70), out=st.integers(1, 150),
    levels=st.integers(1, 7), trees=st.integers(1, 2), activation=st.sampled_from([*ACTIVATIONS]),
    bias=st.booleans(), ties=st.booleans(), seed=st.integers(0, 2**16),
)  # fmt: skip


def along(x, w_in, w_out, b_in, leaf, activation):
    """Return outputs and logits in float64 along the paths to `leaf`, whoever chose them."""
    nodes = reference.path_nodes(leaf, reference.levels_of(w_in.shape[1]))  # (t, b, l)
    tree = torch.arange(len(w_in), device=x.device)[:, None, None]
    x, w, v = doubles(x, w_in[tree, nodes], w_out[tree, nodes])
    logits = (w * x[:, None]).sum(-1)
    if b_in is not None:
        logits = logits + b_in[tree, nodes].double()
    hidden = ACTIVATIONS[activation](logits).unsqueeze(-1)
    return (hidden * v).sum((0, 2)), logits


def check(
    forward, device, dtype, batch, features, out, levels, trees, activation, ties, seed,
    bias=False, tolerance=None, layout="steps",
):  # fmt: skip
    draw = Draw(seed, device, dtype, ties=ties)
    n_nodes = 2**levels - 1
    x = draw.inputs(batch, features, layout)
    w_in, w_out = draw(trees, n_nodes, features), draw(trees, n_nodes, out)
    b_in = draw(trees, n_nodes) if bias else None
    outputs, logits, leaf = forward(TreeArguments(x, w_in, w_out, activation, b_in))
    for w, b, reached in zip(w_in, b_in if bias else [None] * trees, leaf, strict=True):
        right_turns(x, w, reached, b, tolerance=0.0 if ties else 1e-4)
    expected, z = along(x, w_in, w_out, b_in, leaf, activation)
    close(outputs, expected, tolerance or TOLERANCE[dtype])
    close(logits, z)


def check_backward(
    backward, device, dtype, batch, features, out, levels, trees, activation, ties, seed, bias=False
):
    draw = Draw(seed, device, dtype, ties=ties)
    n_nodes = 2**levels - 1
    x, grad = draw.inputs(batch, features), draw.inputs(batch, out)
    w_in, w_out = draw(trees, n_nodes, features), draw(trees, n_nodes, out)
    b_in = draw(trees, n_nodes) if bias else None
    x64, in64, out64, b64, grad64 = doubles(x, w_in, w_out, b_in, grad)
    arguments64 = TreeArguments(x64, in64, out64, activation, b64)
    _, logits, leaf = reference.node_tree_with_path(arguments64)
    arguments = TreeArguments(x, w_in, w_out, activation, b_in)
    gradients = backward(grad, arguments, logits.float(), leaf)
    wanted = reference.node_tree_backward(grad64, arguments64, logits, leaf)
    for gradient, expected in zip(gradients, wanted, strict=True):
        assert (gradient is None) == (expected is None)
        if expected is not None:
            close(gradient, expected)


@shapes
def test_cpu(**shape):
    check(cpu.node_tree_with_path, "cpu", torch.float32, **shape)


def cpu_sorted(arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "SORTED_ROWS", 1)
        patch.setattr(tuning, "SORTED_LEVELS", 1)
        patch.setattr(tuning, "WORK_PER_THREAD", 1)  # on as many threads as there are
        return cpu.node_tree_with_path(arguments)


@shapes
def test_cpu_in_sorted_order(**shape):
    check(cpu_sorted, "cpu", torch.float32, **shape)


@shapes
def test_cpu_backward(**shape):
    check_backward(cpu.node_tree_backward, "cpu", torch.float32, **shape)


@pytest.mark.parametrize("threads", [2, 3])
def test_gradients_of_the_cpu_are_the_same_for_any_number_of_threads(threads, monkeypatch):
    draw = Draw(0)
    x, w_in, w_out = draw(90, 11), draw(2, 31, 11), draw(2, 31, 7)
    arguments = TreeArguments(x, w_in, w_out, "gelu", w_in.new_zeros(2, 31))
    _, *path = cpu.node_tree_with_path(arguments)
    given_all = draw(90, 7), arguments, *path
    expected = cpu.node_tree_backward(*given_all)
    monkeypatch.setattr(tuning, "WORK_PER_THREAD", 1)
    torch.set_num_threads(threads)
    for gradient, wanted in zip(cpu.node_tree_backward(*given_all), expected, strict=True):
        assert gradient.equal(wanted)


small = given(
    batch=st.integers(1, 20), features=st.integers(1, 20), out=st.integers(1, 20),
    seed=st.integers(0, 2**16),
)  # fmt: skip


@pytest.mark.parametrize("forward", [cpu.node_tree_with_path, cpu_sorted])
@pytest.mark.parametrize("layout", LAYOUTS)
@small
def test_layouts_on_the_cpu(layout, forward, **shape):
    options = {"levels": 3, "trees": 2, "activation": "gelu", "ties": True, "layout": layout}
    check(forward, "cpu", torch.float32, **shape, **options)


@pytest.mark.parametrize("forward", [cpu.node_tree_with_path, cpu_sorted])
def test_outputs_of_the_cpu_are_on_the_cpu(forward):
    draw = Draw(0)
    given = draw(4, 5), draw(2, 7, 5), draw(2, 7, 3), "gelu"
    expected = forward(TreeArguments(*given))
    with torch.device("meta"):
        outputs = forward(TreeArguments(*given))
        leaf = cpu.route(given[0], given[1][0])
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0)
    assert leaf.equal(expected[2][0])


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, forward):
    shape = {"batch": 5, "features": 20, "out": 3, "levels": 5, "trees": 2, "seed": 1}
    check(forward, DEVICE, torch.float32, **shape, activation="gelu", ties=True, layout=layout)


def test_many_rows_of_a_deep_tree_are_sorted_on_the_cpu(monkeypatch):
    called = []
    monkeypatch.setattr(cpu, "_node_tree_sorted", lambda given, *_: called.append(given.x.shape))
    draw = Draw(0)
    few_levels, many_levels = (draw(1, 2**n - 1, 4) for n in (3, 9))
    x = draw(1100, 4)
    cpu.node_tree(TreeArguments(x, few_levels, few_levels, "relu"))
    cpu.node_tree(TreeArguments(x[:1000], many_levels, many_levels, "relu"))
    assert called == []
    cpu.node_tree(TreeArguments(x, many_levels, many_levels, "relu"))
    assert called == [(1100, 4)]


@pytest.mark.parametrize("forward", FORWARDS)
@few
@shapes
def test_triton(forward, **shape):
    check(forward, DEVICE, torch.float32, **shape)


@pytest.mark.parametrize("backward", BACKWARDS)
@few
@shapes
def test_triton_backward(backward, **shape):
    check_backward(backward, DEVICE, torch.float32, **shape)


@pytest.mark.parametrize("levels", [3, 8])
def test_paths_stay_exact_with_tf32(levels):
    shape = {"batch": 70, "features": 150, "out": 130, "levels": levels, "trees": 2}
    options = {"activation": "gelu", "ties": False, "seed": levels}
    with with_tf32("tf32"):
        check(node_tree_tiles, DEVICE, torch.float32, **shape, **options, tolerance=1e-3)


forms = pytest.mark.parametrize(
    ("forward", "device"),
    [
        (reference.node_tree_with_path, "cpu"), (cpu.node_tree_with_path, "cpu"),
        (cpu_sorted, "cpu"), *((forward, DEVICE) for forward in FORWARDS),
    ],
)  # fmt: skip


backwards = pytest.mark.parametrize(
    ("backward", "device"),
    [(cpu.node_tree_backward, "cpu"), *((backward, DEVICE) for backward in BACKWARDS)],
)
inf, nan = math.inf, math.nan
poisoned = pytest.mark.parametrize(
    ("levels", "node", "value"), [(3, 5, inf), (6, 9, -inf), (6, 9, nan), (6, 9, 1e30)]
)


def draw_ties(device, levels):
    """Return inputs and weights of which float32 gives the exact logits."""
    draw = Draw(levels, device, ties=True)
    return draw(20, 6), draw(2, 2**levels - 1, 6), draw(2, 2**levels - 1, 5)


def visiting(leaf, node, levels):
    """Return which inputs visit a `node` of the first tree."""
    return (reference.path_nodes(leaf[0], levels) == node).any(-1)


@quiet
@pytest.mark.parametrize("place", ["w_in", "w_out"])
@poisoned
@forms
def test_a_node_reaches_only_those_who_visit_it(forward, device, levels, node, place, value):
    x, *weights = draw_ties(device, levels)
    clean, _, leaf = reference.node_tree_with_path(TreeArguments(*doubles(x, *weights), "relu"))
    passed_by = ~visiting(leaf, node, levels)
    assert 0 < passed_by.sum() < len(x)
    weights[place == "w_out"][0, node, 2] = value
    outputs = forward(TreeArguments(x, *weights, "relu"))
    for got, expected in zip(
        outputs,
        reference.node_tree_with_path(TreeArguments(*doubles(x, *weights), "relu")),
        strict=True,
    ):
        same(got, expected.double())
    same(outputs[0][passed_by], clean[passed_by])


@quiet
@pytest.mark.parametrize(("levels", "value"), [(3, inf), (6, nan), (6, 1e30)])
@forms
def test_an_input_reaches_only_its_own_output(forward, device, levels, value):
    x, *weights = draw_ties(device, levels)
    x[7, 3] = value
    outputs = forward(TreeArguments(x, *weights, "relu"))
    wanted = reference.node_tree_with_path(TreeArguments(*doubles(x, *weights), "relu"))
    others = torch.arange(len(x), device=device) != 7
    all_trees = (slice(None),)
    for got, expected, by_row in zip(outputs, wanted, [(), all_trees, all_trees], strict=True):
        same(got[*by_row, others], expected.double()[*by_row, others])
    same(outputs[1], wanted[1])


@quiet
@pytest.mark.parametrize("place", ["w_in", "w_out"])
@poisoned
def test_a_node_reaches_only_gradients_of_those_who_visit_it(levels, node, place, value):
    x, *weights = draw_ties("cpu", levels)
    _, logits, leaf = reference.node_tree_with_path(TreeArguments(*doubles(x, *weights), "gelu"))
    weights[place == "w_out"][0, node, 2] = value
    grad, given = x[:, :5], TreeArguments(x, *weights, "gelu")
    d_x = cpu.node_tree_backward(grad, given, logits.float(), leaf)[0]
    wanted = reference.node_tree_backward(grad.double(), given.to(torch.float64), logits, leaf)[0]
    assert wanted[~visiting(leaf, node, levels)].isfinite().all()
    same(d_x, wanted)


@quiet
@pytest.mark.parametrize("activation", ACTIVATIONS)
@forms
def test_activations_of_extremes_are_torchs(forward, device, activation):
    z = torch.tensor([*EXTREMES, -1e30, 0.0, -20.0, 5.0], device=device)[:, None]
    one = torch.ones(1, 1, 1, device=device)
    out, logits, leaf = forward(TreeArguments(z, one, one, activation))
    same_activation(out, ACTIVATIONS[activation], z)
    same(logits[0], z.double())
    assert leaf.tolist() == [(z > 0).long().flatten().tolist()]


@quiet
@pytest.mark.parametrize("activation", ACTIVATIONS)
@backwards
def test_slopes_of_extremes(backward, device, activation):
    z = torch.tensor([*EXTREMES, -1e30, 0.0, -20.0, 5.0], device=device)[:, None]
    one = torch.ones(1, 1, 1, device=device)
    grad = torch.ones_like(z)
    arguments = TreeArguments(z, one, one, activation)
    d_x = backward(grad, arguments, z[None], (z > 0).long().mT)[0]
    same(d_x, slope(z.double(), activation))


LEAVES = {
    "one leaf": lambda n, _: torch.full((n,), 19),
    "two leaves": lambda n, _: torch.arange(n) % 2 * 31,
    "one after the other": lambda n, chunk: (torch.arange(n) // chunk).clamp(max=1) * 16,
}


@pytest.mark.parametrize("n_rows", [33, 96])
@pytest.mark.parametrize("leaves", LEAVES.values(), ids=LEAVES)
@pytest.mark.parametrize("backward", BACKWARDS)
def test_gradients_of_inputs_that_share_their_path(backward, leaves, n_rows, monkeypatch):
    monkeypatch.setattr(tuning, "CHUNK_ROWS", 32)
    draw = Draw(n_rows, DEVICE)
    x, grad, w_in, w_out = draw(n_rows, 9), draw(n_rows, 5), draw(1, 31, 9), draw(1, 31, 5)
    leaf = leaves(n_rows, 32)[None].to(DEVICE)
    nodes = reference.path_nodes(leaf, 5)
    logits = (x[:, None] * w_in[0, nodes]).sum(-1)
    arguments = TreeArguments(x, w_in, w_out, "gelu", draw(1, 31))
    gradients = backward(grad, arguments, logits, leaf)
    wanted = reference.node_tree_backward(
        grad.double(), arguments.to(torch.float64), logits.double(), leaf
    )
    for gradient, again, expected in zip(
        gradients, backward(grad, arguments, logits, leaf), wanted, strict=True
    ):
        close(gradient, expected)
        assert gradient.equal(again)
    visited = torch.zeros(31, dtype=torch.bool, device=DEVICE).index_fill(0, nodes.flatten(), 1)
    assert not gradients[1][:, ~visited].any() and not gradients[2][:, ~visited].any()


@pytest.mark.parametrize("programs", [1, 20])
def test_rows_of_several_trees_by_one_program(programs, monkeypatch):
    monkeypatch.setattr(tuning, "ROW_PROGRAMS", programs)
    shape = {"batch": 9, "features": 9, "out": 5, "levels": 4, "trees": 5, "activation": "gelu"}
    check(node_tree_rows, DEVICE, torch.float32, **shape, ties=False, seed=3, bias=True)


def test_many_trees_are_taken_in_parts(monkeypatch):
    monkeypatch.setattr(tuning, "DENSE_NUMBERS", 2 * 40 * 16)
    shape = {"batch": 40, "features": 9, "out": 5, "levels": 4, "trees": 5, "activation": "gelu"}
    options = {"ties": False, "seed": 3, "bias": True}
    check(node_tree_dense, DEVICE, torch.float32, **shape, **options)
    check_backward(dense_backward, DEVICE, torch.float32, **shape, **options)


@pytest.mark.parametrize(
    ("dtype", "n_rows", "n_trees", "levels", "forward", "backward"),
    [
        (torch.float32, 1, 1, 12, "rows", "paths"),
        (torch.float32, 1, 8, 8, "rows", "paths"),
        (torch.bfloat16, 1, 128, 8, "rows", "dense"),
        (torch.bfloat16, 1024, 32, 8, "dense", "dense"),
        (torch.bfloat16, 1024, 28, 8, "rows", "dense"),
        (torch.bfloat16, 4095, 12, 5, "rows", "dense"),
        (torch.bfloat16, 4095, 13, 5, "dense", "dense"),
        (torch.bfloat16, 4096, 1, 5, "tiles", "dense"),
        (torch.bfloat16, 4096, 3, 5, "tiles", "dense"),
        (torch.bfloat16, 4096, 4, 5, "dense", "dense"),
        (torch.float32, 4096, 4, 7, "dense", "dense"),
        (torch.float32, 4096, 4, 8, "tiles", "paths"),
        (torch.bfloat16, 4096, 4, 8, "dense", "dense"),
        (torch.bfloat16, 4096, 4, 9, "tiles", "paths"),
    ],
)
def test_the_form_that_a_shape_takes(
    dtype, n_rows, n_trees, levels, forward, backward, monkeypatch
):
    def reporting(name):
        return lambda *_: name

    for name in ("rows", "tiles", "dense"):
        monkeypatch.setattr(triton_node_tree, f"node_tree_{name}", reporting(name))
    for name in ("paths", "dense"):
        monkeypatch.setattr(triton_backward, f"{name}_backward", reporting(name))
    x, w = torch.empty(n_rows, 2, dtype=dtype), torch.empty(n_trees, 2**levels - 1, 2, dtype=dtype)
    arguments = TreeArguments(x, w, w, "gelu")
    assert triton_node_tree.node_tree_with_path(arguments) == forward
    logits, leaf = x.new_empty(n_trees, n_rows, levels), x.new_empty(n_trees, n_rows)
    assert node_tree_backward(x, arguments, logits, leaf) == backward


@needs_cuda
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("forward", FORWARDS)
@few
@shapes
def test_triton_in_half_precision(forward, dtype, **shape):
    check(forward, DEVICE, dtype, **shape)


@needs_cuda
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("backward", BACKWARDS)
@few
@shapes
def test_triton_backward_in_half_precision(backward, dtype, **shape):
    check_backward(backward, DEVICE, dtype, **shape)


def test_tiles_below_a_descent_by_blocks(monkeypatch):
    monkeypatch.setattr("fastff.kernels.triton.node_tree.descend_rows", descend_blocks)
    shape = {"batch": 70, "features": 9, "out": 5, "levels": 7, "trees": 2}
    options = {"activation": "gelu", "ties": False, "seed": 5}
    check(node_tree_tiles, DEVICE, torch.float32, **shape, **options)


@pytest.mark.parametrize("levels", [1, 11])
@pytest.mark.parametrize("forward", [cpu.node_tree_with_path, node_tree_rows])
def test_no_rows(forward, levels):
    draw = Draw(0, "cpu" if forward is cpu.node_tree_with_path else DEVICE)
    w = draw(2, 2**levels - 1, 5)
    out, logits, leaf = forward(TreeArguments(draw(0, 5), w, w, "gelu"))
    assert (out.shape, logits.shape, leaf.shape) == ((0, 5), (2, 0, levels), (2, 0))


def test_deeper_than_the_tiles_go():
    shape = {"batch": 3, "features": 1, "out": 1, "levels": 21, "trees": 1}
    options = {"activation": "linear", "ties": False, "seed": 1}
    check(cuda.node_tree_with_path, DEVICE, torch.float32, **shape, **options)
    draw = Draw(0, DEVICE)
    x, w, leaf = draw(3, 1), draw(1, 2**21 - 1, 1), draw.choice(2**21, 1, 3)
    with pytest.raises(ValueError, match="at most 20"):
        node_tree_backward(x, TreeArguments(x, w, w, "linear"), draw(1, 3, 21), leaf)


@pytest.mark.parametrize("levels", [1, 6])
@backwards
def test_no_rows_give_no_gradient(backward, device, levels):
    draw = Draw(0, device)
    w = draw(2, 2**levels - 1, 5)
    x, logits = draw(0, 5), draw(2, 0, levels)
    arguments = TreeArguments(x, w, w, "gelu", w[..., 0])
    d_x, d_in, d_out, d_b = backward(x, arguments.contiguous(), logits, logits[..., 0].long())
    assert d_x.shape == (0, 5)
    assert d_in.equal(torch.zeros_like(w)) and d_out.equal(torch.zeros_like(w))
    assert d_b.equal(w.new_zeros(w.shape[:2]))


def test_a_deterministic_order_on_request(monkeypatch):
    monkeypatch.setattr(tuning, "FEW_GROUPS", 0)
    shape = {"batch": 70, "features": 9, "out": 5, "levels": 6, "trees": 1}
    options = {"activation": "gelu", "ties": False, "seed": 3, "bias": True}
    torch.use_deterministic_algorithms(True)
    try:
        check_backward(paths_backward, DEVICE, torch.float32, **shape, **options)
    finally:
        torch.use_deterministic_algorithms(False)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@settings(max_examples=6)
# a gradient of one number can cancel in its sum over 5,000 rows, and then tells nothing of bfloat16
@given(levels=st.integers(1, 14), features=st.integers(16, 800), seed=st.integers(0, 2**16))
def test_large_batches(dtype, levels, features, seed):
    shape = {"batch": 5000, "features": features, "out": features + 3, "levels": levels}
    options = {"trees": 1, "activation": "gelu", "ties": False, "seed": seed, "bias": True}
    check(node_tree_tiles, DEVICE, dtype, **shape, **options)
    check_backward(paths_backward, DEVICE, dtype, **shape, **options)
    if levels <= 8:
        check(node_tree_dense, DEVICE, dtype, **shape, **options)
        check_backward(dense_backward, DEVICE, dtype, **shape, **options)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("levels", "backward"), [(5, dense_backward), (9, paths_backward)])
def test_gradients_of_many_inputs_on_one_path(levels, backward, dtype):
    draw = Draw(levels, DEVICE, dtype)
    x, grad = draw(20_000, 200), draw(20_000, 100)
    w_in, w_out = draw(2, 2**levels - 1, 200), draw(2, 2**levels - 1, 100)
    x[:, 0] = 1
    w_in[..., 0] = 100  # to the right everywhere
    arguments = TreeArguments(x, w_in, w_out, "relu", w_in.new_zeros(w_in.shape[:2]))
    _, logits, leaf = node_tree_rows(arguments)
    assert (leaf == 2**levels - 1).all()
    gradients = backward(grad, arguments, logits, leaf)
    again = backward(grad, arguments, logits, leaf)
    wanted = reference.node_tree_backward(
        grad.double(), arguments.to(torch.float64), logits.double(), leaf
    )
    for gradient, repeated, expected in zip(gradients, again, wanted, strict=True):
        close(gradient, expected)
        assert gradient.equal(repeated)


@needs_cuda
@pytest.mark.parametrize("forward", FORWARDS)
def test_more_numbers_than_32_bits_count(forward):
    draw = Draw(0, DEVICE, torch.bfloat16)
    w_in, w_out = draw(1, 15, 1024), draw(1, 15, 1024)
    x = torch.zeros(2**21 + 5, 1024, dtype=torch.bfloat16, device=DEVICE)
    x[-300:] = draw(300, 1024)
    out, logits, leaf = forward(TreeArguments(x, w_in, w_out, "gelu"))
    last = x[-300:], w_in, w_out, logits[:, -300:], leaf[:, -300:]
    expected, z = along(*last[:3], None, last[4], "gelu")
    close(out[-300:], expected)
    close(last[3], z)
    assert (out[:-300] == 0).all()
    arguments = TreeArguments(x, w_in, w_out, "gelu")
    last_arguments = TreeArguments(*doubles(*last[:3]), "gelu")
    wanted = reference.node_tree_backward(
        last_arguments.x, last_arguments, last[3].double(), last[4]
    )
    for backward in BACKWARDS:
        d_x, d_in, d_out, _ = backward(x, arguments, logits, leaf)
        close(d_x[-300:], wanted[0])
        close(d_in, wanted[1])
        close(d_out, wanted[2])


@needs_cuda
@pytest.mark.parametrize("forward", [node_tree_rows, node_tree_tiles])
def test_weights_of_more_numbers_than_32_bits_count(forward):
    levels, features = 16, 33_000
    draw = Draw(0, DEVICE, torch.bfloat16)
    w_in = torch.zeros(1, 2**levels - 1, features, dtype=torch.bfloat16, device=DEVICE)
    w_in[0, reference.path_nodes(torch.tensor(2**levels - 1), levels)] = 1.0  # the last path
    x, w_out = draw(40, features).abs(), draw(1, 2**levels - 1, 8)
    out, _, leaf = forward(TreeArguments(x, w_in, w_out, "linear"))
    assert (leaf == 2**levels - 1).all()
    close(out, along(x, w_in, w_out, None, leaf, "linear")[0])
    out, _, leaf = forward(TreeArguments(x[:, :8], w_out, w_in, "linear"))
    close(out, along(x[:, :8], w_out, w_in, None, leaf, "linear")[0])
