"""The functions of fastff.kernels: any layout is right, any wrong argument is one line."""

import pytest
import torch
from cases import (
    TOLERANCE,
    close,
    draw,
    one_line,
)
from torch._subclasses import FakeTensorMode

from fastff import kernels
from fastff.kernels import reference
from fastff.kernels.reference import ExpertArguments, TreeArguments

B, I, O, N, T, E, H, K = 9, 7, 4, 15, 2, 6, 3, 2  # noqa: E741
ARGUMENTS = {  # shapes, or what else there is to give
    "route": {"x": (B, I), "weight": (N, I), "bias": (N,)},
    "node_tree": {"x": (B, I), "w_in": (T, N, I), "w_out": (T, N, O), "activation": "gelu"},
    "node_tree with biases": {
        "x": (B, I), "w_in": (T, N, I), "w_out": (T, N, O), "activation": "relu", "b_in": (T, N),
    },
    "chosen_experts": {
        "x": (B, I), "expert": None, "w_in": (E, H, I), "w_out": (E, H, O), "activation": "gelu",
        "scale": (B, K), "b_in": (E, H), "b_out": (E, O),
    },
    "chosen_experts without options": {
        "x": (B, I), "expert": None, "w_in": (E, H, I), "w_out": (E, H, O), "activation": "relu",
    },
}  # fmt: skip
FORMS = ("direct", "operator", "plain", "fake")
functions = pytest.mark.parametrize("case", ARGUMENTS)


def arguments(case, dtype=torch.float32):
    given = {}
    for seed, (name, shape) in enumerate(ARGUMENTS[case].items()):
        given[name] = shape
        if name == "expert":
            given[name] = torch.randint(E, (B, K), generator=torch.Generator().manual_seed(1))
        elif isinstance(shape, tuple):
            given[name] = draw(*shape, seed=seed, dtype=dtype)
    return given


def floats(given):
    return [t for t in given.values() if torch.is_tensor(t) and t.is_floating_point()]


def apply(case, given):
    """Call the function `case` with its arguments as its signature takes them."""
    given = dict(given)
    names = ("x", "weight", "bias", "expert", "w_in", "w_out", "activation")
    positional = [given.pop(name) for name in names if name in given]
    return getattr(kernels, case.split()[0])(*positional, **given)


def defined(case, given):
    """Return what the plain definition gives in float64."""
    given = {
        name: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in given.items()
    }
    if given.get("expert") is not None:
        given["expert"] = given["expert"].clone()  # torch reads through some negative indices
    x, expert = given["x"], given.get("expert")
    given["x"] = x.reshape(-1, x.shape[-1])
    for name in ("expert", "scale"):
        if given.get(name) is not None:
            given[name] = given[name].reshape(-1, given[name].shape[-1])
    function = case.split()[0]
    if function == "route":
        return reference.route(**given).view(x.shape[:-1])
    if function == "node_tree":
        out = reference.node_tree_with_path(TreeArguments(**given))[0]
    else:
        assert expert is not None
        out = reference.chosen_experts_with_hidden(ExpertArguments(**given))[0]
    return out.view(*x.shape[:-1], O)


def same(case, out, wanted):
    if case == "route":
        assert out.equal(wanted)
    else:
        close(out, wanted)
        out.view(-1)


@functions
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_dtypes(case, dtype):
    given = arguments(case, dtype)
    same(case, apply(case, given), defined(case, given))


LAYOUTS = {
    "transposed": lambda t: t.mT.contiguous().mT if t.dim() > 1 else spaced(t),
    "spaced": lambda t: spaced(t),
    "negative view": lambda t: torch._neg_view(-t),
    "expanded": lambda t: t[:1].expand(t.shape),
    "expanded in its last dimension": lambda t: t[..., :1].expand(t.shape),
}


def spaced(t):
    return torch.stack([t, torch.full_like(t, 77)], dim=-1)[..., 0]


@functions
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gradients", [False, True])
def test_layouts(case, layout, gradients):
    names = [name for name, value in arguments(case).items() if torch.is_tensor(value)]
    for chosen in (*([name] for name in names), names):
        given = arguments(case)
        for name in chosen:
            given[name] = LAYOUTS[layout](given[name])
        wanted = defined(case, given)
        if gradients:
            given = {
                name: t.requires_grad_() if torch.is_tensor(t) and t.is_floating_point() else t
                for name, t in given.items()
            }
        same(case, apply(case, given), wanted)


@functions
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0), (1, 2, 1, 3)])
@pytest.mark.parametrize("gradients", [False, True])
def test_leading_dimensions(case, shape, gradients):
    given = arguments(case)
    n = torch.Size(shape).numel()
    for name in ("x", "expert", "scale"):
        if name in given:
            given[name] = given[name][:n].view(*shape, -1) if n else given[name][:0].view(
                *shape, given[name].shape[-1]
            )  # fmt: skip
    wanted = defined(case, given)
    if gradients:
        given["x"].requires_grad_()
    same(case, apply(case, given), wanted)


def refused(case, name, change, form, kinds=(TypeError, ValueError)):
    def attempt(given):
        given[name] = change(given[name])
        with pytest.raises(kinds) as error:
            apply(case, given)
        return one_line(error)

    if form == "fake":
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            given = {
                key: mode.from_tensor(value) if torch.is_tensor(value) else value
                for key, value in arguments(case).items()
            }
            return attempt(given)
    given = arguments(case, torch.float64 if form == "plain" else torch.float32)
    if form == "operator":
        for tensor in floats(given):
            tensor.requires_grad_()
    return attempt(given)


SIZES = {
    "one more in its last dimension": lambda t: t.new_zeros(*t.shape[:-1], t.shape[-1] + 1),
    "one less in its last dimension": lambda t: t[..., :-1],
    "one more in its first dimension": lambda t: t.new_zeros(t.shape[0] + 1, *t.shape[1:]),
    "one less in its first dimension": lambda t: t[:-1],
    "a dimension more": lambda t: t.unsqueeze(0),
    "a dimension less": lambda t: t[0],
    "nothing in its last dimension": lambda t: t[..., :0],
    "a number": lambda t: t.new_zeros(()),
}
KINDS = {
    "a list": lambda t: t.tolist() if not isinstance(t, torch._subclasses.FakeTensor) else [1.0],
    "an array": lambda t: [[0.0]],
    "int64": lambda t: t.long(),
    "bool": lambda t: t > 0,
    "float16": lambda t: t.half(),
    "complex": lambda t: torch.complex(t.detach(), t.detach()),
    "meta": lambda t: torch.empty(t.shape, dtype=t.dtype, device="meta"),
    "a sparse tensor": lambda t: torch.zeros(t.shape, dtype=t.dtype).to_sparse(),
}
# the size of these is free in that dimension, or they have as many rows as they like
FREE = {
    ("x", "one more in its first dimension"), ("x", "one less in its first dimension"),
    ("x", "a dimension more"), ("x", "a dimension less"),
    ("w_out", "one more in its last dimension"), ("w_out", "one less in its last dimension"),
    ("w_out", "nothing in its last dimension"),
}  # fmt: skip
EXPERTS_FREE = {("w_out", how) for name, how in FREE if name == "w_out"}


def sizes(case):
    for name, shape in ARGUMENTS[case].items():
        if not isinstance(shape, tuple):
            continue
        free = EXPERTS_FREE if case.startswith("chosen") else FREE
        for how in SIZES:
            # only b_out ties the outputs' size of experts
            if (name, how) not in free or (name == "w_out" and case == "chosen_experts"):
                yield pytest.param(case, name, how, id=f"{case}-{name}-{how}")


@pytest.mark.parametrize(("case", "name", "how"), [p for case in ARGUMENTS for p in sizes(case)])
@pytest.mark.parametrize("form", FORMS)
def test_wrong_sizes(case, name, how, form):
    message = refused(case, name, SIZES[how], form)
    assert any(word in message for word in (*ARGUMENTS[case], "nodes"))


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (case, name)
        for case, given in ARGUMENTS.items()
        for name, shape in given.items()
        if isinstance(shape, tuple)
    ],
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_wrong_kinds(case, name, kind, form):
    message = refused(case, name, KINDS[kind], form)
    assert any(word in message for word in ARGUMENTS[case])


@pytest.mark.parametrize("case", ["node_tree", "chosen_experts"])
@pytest.mark.parametrize("activation", ["tanh", "", "prelu", "ReLU", None, 1, torch.relu])
@pytest.mark.parametrize("form", FORMS)
def test_unknown_activations(case, activation, form):
    message = refused(case, "activation", lambda _: activation, form)
    assert "activation" in message and "relu" in message


EXPERTS = {
    "int32": lambda e: e.int(),
    "bool": lambda e: e > 0,
    "floats": lambda e: e.double(),
    "none": lambda e: None,
    "a list": lambda e: [[0, 1]] * B,
    "fewer rows": lambda e: e[:-1],
    "more rows": lambda e: torch.cat([e, e]),
    "one row": lambda e: e[:1],
    "1-D": lambda e: e[:, 0],
    "3-D": lambda e: e.unsqueeze(0),
    "no choices": lambda e: e[:, :0],
    "another k than its scale": lambda e: e[:, :1],
    "meta": lambda e: torch.zeros(e.shape, dtype=torch.int64, device="meta"),
}


@pytest.mark.parametrize("case", ["chosen_experts", "chosen_experts without options"])
@pytest.mark.parametrize("how", EXPERTS)
@pytest.mark.parametrize("form", FORMS)
def test_wrong_expert_tensors(case, how, form):
    if how == "another k than its scale" and case != "chosen_experts":
        return
    assert "expert" in refused(case, "expert", EXPERTS[how], form)


INDICES = {"negative": -1, "one too many": E, "huge": 2**62, "most negative": -(2**63)}


@pytest.mark.parametrize("case", ["chosen_experts", "chosen_experts without options"])
@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("form", FORMS[:3])
@pytest.mark.parametrize("row", [0, B - 1])
def test_experts_that_there_are_not(case, index, form, row):
    def change(expert):
        expert = expert.clone()
        expert[row, 1] = INDICES[index]
        return expert

    message = refused(case, "expert", change, form, (IndexError, ValueError))
    assert str(E) in message or str(E - 1) in message


@pytest.mark.parametrize("n_nodes", [0, 2, 4, 14, 16])
@pytest.mark.parametrize("form", FORMS)
def test_trees_that_are_not_complete(n_nodes, form):
    for case, name in (("route", "weight"), ("node_tree", "w_in")):
        dim = -2
        shape = [*ARGUMENTS[case][name]]
        shape[dim] = n_nodes
        assert "node" in refused(case, name, lambda t, shape=shape: t.new_zeros(shape), form)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_tensors():
    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)])
    one_line = r"^(x|w_out): a nested tensor of torch.float32; allowed is a strided tensor of .*$"
    with pytest.raises(TypeError, match=one_line):
        kernels.route(nested, torch.ones(7, 3))
    with pytest.raises(TypeError, match=one_line):
        kernels.node_tree(torch.ones(4, 3), torch.ones(1, 7, 3), nested, "relu")
