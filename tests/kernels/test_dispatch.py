"""Layers in evaluation mode: the same results by the kernels, and when they aren't used."""

import sys

import pytest
import torch
from kernel_cases import Draw, close, needs_cuda
from torch.nn.utils import parametrize

from fastff.kernels import backends, dispatch
from fastff.layers import (
    HypercubeGate,
    LinearGate,
    MixtureExperts,
    NodeTree,
    RoutedLayer,
    SoftMergedExperts,
    TreeGate,
)
from fastff.train.stack import stack

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
}  # fmt: skip
DENSE = {
    "merged switch": lambda g: RoutedLayer(
        LinearGate(6, 16, top_k=1, generator=g), SoftMergedExperts(*SIZES, generator=g)
    ),
    "hypercube": lambda g: RoutedLayer(
        HypercubeGate(6, 4, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
    "prelu": lambda g: RoutedLayer(
        TreeGate(6, 4, generator=g), MixtureExperts(*SIZES, activation="prelu", generator=g)
    ),
    "half of all": lambda g: RoutedLayer(
        LinearGate(6, 16, top_k=8, generator=g), MixtureExperts(*SIZES, generator=g)
    ),
}


@pytest.fixture
def calls(monkeypatch):
    """Return the names of the kernels' functions in the order that layers call them."""
    names = []
    for name in ("route", "node_tree", "chosen_experts"):
        function = getattr(dispatch, name)

        def recorded(*args, name=name, function=function):
            names.append(name)
            return function(*args)

        monkeypatch.setattr(dispatch, name, recorded)
    return names


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("shape", [(9,), (0,), (2, 3)])
def test_a_layer_in_evaluation_uses_the_kernels(layer, shape, device, calls, generator):
    layer = layer(generator).to(device).eval()
    x = Draw(1, device)(*shape, 6)
    with torch.no_grad():
        out = layer(x)
    assert calls
    n_calls = len(calls)
    expected = layer(x)  # with gradients on: the dense form
    assert len(calls) == n_calls
    close(out, expected.detach())


@pytest.mark.parametrize("layer", DENSE.values(), ids=DENSE)
def test_a_layer_that_no_kernel_computes_stays_dense(layer, calls, generator):
    layer = layer(generator).eval()
    x = Draw(1)(9, 6)
    with torch.no_grad():
        out = layer(x)
    assert "chosen_experts" not in calls
    close(out, layer(x).detach())


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_training_runs_double_and_transforms_stay_dense(layer, calls, generator):
    plain = layer(generator)
    x = Draw(1)(9, 6)
    with torch.no_grad():
        plain(x)
        plain.eval()
        stack([plain, plain]).eval()(x)
        torch.vmap(plain)(x.view(3, 3, 6))
        with torch.autocast("cpu", torch.bfloat16):
            plain(x)
        plain.double()(x.double())
    assert calls == []


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_compiled_layer_has_no_break(layer, calls, generator):
    layer = layer(generator).eval()
    x = Draw(1)(9, 6)
    with torch.no_grad():
        out = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
        close(out, layer(x))


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
    assert calls == ["node_tree", "node_tree"]


@pytest.fixture(params=["ModuleNotFoundError", "ImportError", "OSError"])
def without_numba(request, tmp_path, monkeypatch):
    """Return what the import of numba says: it isn't installed, or it is and can't be used."""
    reason = f"numba raises {request.param}"
    (tmp_path / "numba.py").write_text(f"raise {request.param}({reason!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    backends.kernels_for.cache_clear()
    yield reason
    backends.kernels_for.cache_clear()


def test_without_numba_a_layer_stays_dense_and_says_so_once(
    without_numba, calls, generator, caplog
):
    layer = LAYERS["fff"](generator).eval()
    x = Draw(1)(9, 6)
    with caplog.at_level("INFO"), torch.no_grad():
        out = layer(x)
        layer(x)
    assert calls == []
    close(out, layer(x).detach())
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("fastff", "INFO")
    assert f"form on cpu: numba can't be imported ({without_numba})" in record.message


@needs_cuda
def test_autocast_on_cuda_uses_the_kernels(calls, generator):
    layer = LAYERS["fff"](generator).cuda().eval()
    x = Draw(1, "cuda")(9, 6)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert calls == ["route", "chosen_experts"]
