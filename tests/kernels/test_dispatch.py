"""How layers are computed: by which kernels, in which form, and to the same results."""

import copy
import sys

import pytest
import torch
from kernel_cases import Draw, close, needs_cuda
from torch.nn.utils import parametrize

from fastff.kernels import dispatch
from fastff.kernels.dispatch import Form, form_for, is_cpu_int64
from fastff.layers import (
    HypercubeGate,
    LinearGate,
    MixtureExperts,
    NodeTree,
    NoisyTopKGate,
    RoutedLayer,
    SoftMergedExperts,
    TreeGate,
    node_tree,
    routed,
    tree_gate,
)
from fastff.train.build import stack

DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]
SIZES = (16, 6, 3, 4)  # of the experts

LAYERS = {
    "node tree": lambda g: NodeTree(6, 4, levels=5, n_trees=2, generator=g),
    "fff": lambda g: RoutedLayer(
        TreeGate(6, 4, generator=g), MixtureExperts(*SIZES, bias=True, generator=g)
    ),
    "merged fff": lambda g: RoutedLayer(
        TreeGate(6, 4, bias=True, generator=g), SoftMergedExperts(*SIZES, generator=g)
    ),
    "moe": lambda g: RoutedLayer(
        LinearGate(6, 16, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
    "merged moe": lambda g: RoutedLayer(
        LinearGate(6, 16, generator=g), SoftMergedExperts(*SIZES, generator=g)
    ),
    "renormalised": lambda g: RoutedLayer(
        LinearGate(6, 16, top_k=2, renormalise=True, generator=g),
        MixtureExperts(*SIZES, generator=g),
    ),
    "switch": lambda g: RoutedLayer(
        LinearGate(6, 16, top_k=1, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
    "noisy": lambda g: RoutedLayer(
        NoisyTopKGate(6, 16, top_k=2, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
    "hypercube": lambda g: RoutedLayer(
        HypercubeGate(6, 4, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
}  # fmt: skip
TRAINED_SPARSELY = {
    name: LAYERS[name] for name in ("node tree", "renormalised", "switch", "noisy")
} | {
    "hard-trained fff": lambda g: RoutedLayer(
        TreeGate(6, 4, hard_training=True, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
    "hard-trained fff with leak": lambda g: RoutedLayer(
        TreeGate(6, 4, hard_training=True, region_leak=0.3, generator=g),
        MixtureExperts(*SIZES, generator=g),
    ),
    "top-2 leaves": lambda g: RoutedLayer(
        TreeGate(6, 4, top_k=2, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
    "top-2 corners": lambda g: RoutedLayer(
        HypercubeGate(6, 4, top_k=2, renormalise=True, generator=g),
        MixtureExperts(*SIZES, bias=True, generator=g),
    ),
}  # fmt: skip
DENSE = {
    "merged switch": lambda g: RoutedLayer(
        LinearGate(6, 16, top_k=1, generator=g), SoftMergedExperts(*SIZES, generator=g)
    ),
    "own activation": lambda g: RoutedLayer(
        TreeGate(6, 4, generator=g), MixtureExperts(*SIZES, activation=torch.sin, generator=g)
    ),
    "prelu": lambda g: RoutedLayer(
        TreeGate(6, 4, generator=g), MixtureExperts(*SIZES, activation="prelu", generator=g)
    ),
    "half of all": lambda g: RoutedLayer(
        LinearGate(6, 16, top_k=8, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
}


PLACES = {"route": tree_gate, "node_tree": node_tree, "chosen_experts": routed}


@pytest.fixture
def calls(monkeypatch):
    """Return the names of the functions, and their forms, in the order that layers call them."""
    made = []
    for name, module in PLACES.items():
        function = getattr(module, f"run_{name}")

        def recorded(form, *args, name=name, function=function):
            made.append((name, form))
            return function(form, *args)

        monkeypatch.setattr(module, f"run_{name}", recorded)
    return made


def double(layer):
    """Return a copy in float64."""
    return copy.deepcopy(layer).double()


def dense(layer, x):
    """Return the outputs in float64, in the form of a transform, which computes all experts."""
    return torch.vmap(layer)(x.double().unsqueeze(0)).squeeze(0)


UNREADABLE = {
    "negative": torch._neg_view,
    "double": torch.Tensor.double,
    "integers": torch.Tensor.int,
    "meta": lambda x: x.to("meta"),
    "sparse": torch.Tensor.to_sparse,
    "csr": lambda x: x.expand(2, 2).to_sparse_csr(),
    "mkldnn": torch.Tensor.to_mkldnn,
    "nested": lambda x: torch.nested.nested_tensor([x]),
}


@pytest.mark.filterwarnings("ignore:.*(Sparse CSR|nested tensors):UserWarning")
@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_no_tensor_is_read_directly_that_is_not_what_its_address_says(make):
    """The question that stands for dtype, layout, device and negation isn't documented by torch."""
    x = torch.ones(2)
    assert form_for(x, torch.nn.Parameter(x).detach(), x[::2], x.expand(3, 2)) is Form.DIRECT
    other = make(x)
    assert form_for(other) is not Form.DIRECT
    assert form_for(x, other) is not Form.DIRECT
    assert not is_cpu_int64(other)
    assert is_cpu_int64(torch.arange(3)[::2])
    assert not is_cpu_int64(torch._neg_view(torch.arange(3)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("shape", [(9,), (0,), (2, 3), ()])
@pytest.mark.parametrize("grad", [False, True], ids=["no grad", "grad"])
def test_a_layer_in_evaluation_uses_the_kernels(layer, shape, grad, device, calls, generator):
    layer = layer(generator).to(device).eval()
    x = Draw(1, device)(*shape, 6)
    with torch.set_grad_enabled(grad):
        out = layer(x)
    name, form = calls[-1]
    assert name in ("node_tree", "chosen_experts")
    assert form is (Form.DIRECT if device == "cpu" and not grad else Form.OPERATOR)
    calls.clear()
    expected = dense(double(layer), x)
    assert calls == []
    close(out.detach(), expected.detach())


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_frozen_layer_is_called_directly(layer, calls, generator):
    layer = layer(generator).eval().requires_grad_(False)
    layer(Draw(1)(9, 6))
    assert calls and all(form is Form.DIRECT for _, form in calls)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layer", TRAINED_SPARSELY.values(), ids=TRAINED_SPARSELY)
def test_training_uses_the_kernels_where_the_mathematics_is_the_same(
    layer, device, calls, generator
):
    layer = layer(generator).to(device)
    reference = double(layer)
    x = Draw(1, device)(9, 6)
    noise = torch.rand(9, 16, generator=generator, dtype=torch.float64)

    class Fixed:
        def uniform(self, like):
            return noise[:, : like.shape[-1]].to(like)

        normal = uniform

    for model in (layer, reference):
        for module in model.modules():
            if hasattr(module, "random"):
                module.random = Fixed()
    out = layer(x)
    assert calls[-1][1] is Form.OPERATOR
    calls.clear()
    expected = dense(reference, x)
    assert calls == []
    close(out, expected)
    seen = Draw(2, device)(9, 4)
    gradients = torch.autograd.grad(out, list(layer.parameters()), seen)
    for gradient, wanted in zip(
        gradients, torch.autograd.grad(expected, list(reference.parameters()), seen.double()),
        strict=True,
    ):  # fmt: skip
        close(gradient, wanted)


@pytest.mark.parametrize("layer", DENSE.values(), ids=DENSE)
def test_a_layer_that_no_kernel_computes_stays_dense(layer, calls, generator):
    layer = layer(generator).eval()
    x = Draw(1)(9, 6)
    with torch.no_grad():
        out = layer(x)
    assert "chosen_experts" not in dict(calls)
    close(out, dense(double(layer), x).detach())


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_runs_and_transforms_stay_dense(layer, calls, generator):
    layer = layer(generator).eval()
    x = Draw(1)(9, 6)
    with torch.no_grad():
        stack([layer, layer]).eval()(x)
        torch.vmap(layer)(x.view(3, 3, 6))
    assert calls == []


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.float16, "autocast"], ids=str
)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_no_dtype_computes_what_is_not_visited(layer, dtype, calls, generator):
    """A dense form of 2**10 leaves takes seconds in half precision, and a gather milliseconds."""
    layer = layer(generator).eval()
    x = Draw(1)(9, 6)
    expected = dense(double(layer), x)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "autocast"):
        out = layer(x) if dtype == "autocast" else layer.to(dtype)(x.to(dtype))
    name, form = calls[-1]
    assert name in ("node_tree", "chosen_experts")
    assert form is Form.OPERATOR
    if dtype == torch.float64:
        close(out, expected)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_compiled_layer_has_no_break(layer, calls, generator):
    torch._dynamo.reset()  # it compiles a function eight times, for as many layers
    layer = layer(generator).eval()
    x = Draw(1)(9, 6)
    with torch.no_grad():
        out = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
        close(out, layer(x))


@pytest.mark.parametrize("layer", LAYERS)
def test_a_compiled_layer_takes_the_operators(layer, generator):
    targets = []

    def backend(graph, _):
        targets.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    torch._dynamo.reset()
    with torch.no_grad():
        torch.compile(LAYERS[layer](generator).eval(), backend=backend)(Draw(1)(9, 6))
    assert any("fastff" in target for target in targets)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # of torch, in forward-mode AD
def test_a_compiled_derivative_is_not_the_operators(generator):
    layer, x = LAYERS["fff"](generator).eval(), Draw(1)(9, 6)

    def derivative(x):
        return torch.func.jvp(layer, (x,), (x.sin(),))[1]

    out = torch.compile(derivative, fullgraph=True, backend="aot_eager")(x)
    assert out.any()
    close(out, derivative(x))


class Twice(torch.nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_a_parametrized_weight_is_the_one_that_counts(calls, generator):
    layer = LAYERS["node tree"](generator).eval()
    x = Draw(1)(9, 6)
    with torch.no_grad():
        expected = 2 * layer(x)
        parametrize.register_parametrization(layer, "w_out", Twice())
        close(layer(x), expected)
    assert calls == [("node_tree", Form.DIRECT)] * 2


@pytest.fixture(params=["ModuleNotFoundError", "ImportError", "OSError"])
def without_numba(request, tmp_path, monkeypatch):
    """Return what the import of numba says: it isn't installed, or it is and can't be used."""
    reason = f"numba raises {request.param}"
    (tmp_path / "numba.py").write_text(f"raise {request.param}({reason!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    dispatch.compiled_for.cache_clear()
    yield reason
    dispatch.compiled_for.cache_clear()


def test_without_numba_a_layer_visits_as_few_and_says_so_once(
    without_numba, calls, generator, caplog
):
    layer = LAYERS["fff"](generator).eval()
    x = Draw(1)(9, 6)
    with caplog.at_level("INFO"), torch.no_grad():
        out = layer(x)
        layer(x)
    assert calls == [("route", Form.OPERATOR), ("chosen_experts", Form.OPERATOR)] * 2
    close(out, dense(double(layer), x).detach())
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("fastff", "INFO")
    assert f"form on cpu: numba can't be imported ({without_numba})" in record.message


@needs_cuda
def test_autocast_on_cuda_uses_the_kernels(calls, generator):
    layer = LAYERS["fff"](generator).cuda().eval()
    x = Draw(1, "cuda")(9, 6)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert calls == [("route", Form.OPERATOR), ("chosen_experts", Form.OPERATOR)]
