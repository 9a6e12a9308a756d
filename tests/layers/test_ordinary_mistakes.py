"""What a user of other packages' layers tried, and what went wrong when it was tried first."""

import pytest
import torch
from torch.nn.utils import prune

from fastff import FFF, MoE, NodeTree, kernels
from fastff.layers import MixtureExperts, RoutedLayer
from fastff.layers.gate import Gate, Routing

HALVES = [(torch.bfloat16, torch.float16), (torch.float16, torch.bfloat16)]
WITHOUT_GRADIENT = {
    "hard-trained fff": lambda **o: FFF(8, 6, depth=2, leaf_width=4, hard_training=True, **o),
    "renormalised top-1": lambda **o: MoE(
        8, 6, n_experts=4, expert_width=4, top_k=1, renormalise=True, **o
    ),
}
untaught = pytest.mark.parametrize("make", WITHOUT_GRADIENT.values(), ids=WITHOUT_GRADIENT)


class Chooses(Gate):
    """Sends every row to the same experts."""

    def __init__(self, n_experts, routing):
        super().__init__(3, n_experts, n_active=2, n_trained=2)
        self.routing = routing

    def route(self, x, *, hard, sparse):
        self.check_inputs(x)
        return self.routing


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layer", [FFF, NodeTree])
def test_inputs_whose_memory_was_freed(layer, dtype):
    options = {"depth": 3, "leaf_width": 4} if layer is FFF else {"levels": 3}
    layer = layer(8, 6, dtype=dtype, **options).eval()
    x = torch.randn(5, 8, dtype=dtype)
    x.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="it was freed"), torch.no_grad():
        layer(x)


def test_a_choice_whose_memory_was_freed():
    w, expert = torch.randn(4, 3, 8, dtype=torch.float64), torch.zeros(5, 1, dtype=torch.long)
    expert.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="it was freed"):
        kernels.chosen_experts(torch.randn(5, 8, dtype=torch.float64), expert, w, w, "relu")


@untaught
@pytest.mark.parametrize(("dtype", "other"), HALVES, ids=str)
def test_autocast_to_the_other_half_dtype(make, dtype, other):
    layer = make(dtype=dtype)
    with torch.autocast("cpu", dtype=other):
        layer(torch.randn(4, 8, dtype=dtype)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


@untaught
@pytest.mark.parametrize("how", ["hook", "pruned"])
def test_a_gate_without_gradients_has_zeros_with_a_hook_too(make, how):
    layer = make()
    if how == "hook":
        layer.gate.register_forward_hook(lambda *_: None)
    else:
        prune.random_unstructured(layer.gate, "weight", 0.5)
    layer(torch.randn(5, 8)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert not any(p.grad.any() for p in layer.gate.parameters())


def test_half_precision_is_scaled_before_it_is_summed():
    options = {"activation": "linear", "bias": False, "dtype": torch.float16}
    layer = MoE(8, 6, n_experts=16, expert_width=64, top_k=2, **options).eval()
    with torch.no_grad():
        layer.experts.w_in.fill_(8)
        layer.experts.w_out.fill_(8)
        layer.gate.weight.zero_()
        out = layer(torch.full((2, 8), 2.0, dtype=torch.float16))
    assert (out == 2 * 64 * 128 * 8 / 16).all()


@pytest.mark.parametrize("n_experts", [4, 16])
@pytest.mark.parametrize("scaled", [False, True])
def test_an_expert_that_is_chosen_twice_counts_twice(n_experts, scaled, generator):
    experts = MixtureExperts(n_experts, 3, 4, 5, bias=True, generator=generator)
    twice = torch.full((6, 2), 3)
    scale = torch.full((6, 2), 0.25) if scaled else None
    layer = RoutedLayer(Chooses(n_experts, Routing(expert=twice, scale=scale)), experts).eval()
    x = torch.randn(6, 3, generator=generator)
    one = torch.zeros(6, n_experts).index_fill(1, torch.tensor([3]), 1.0)
    torch.testing.assert_close(layer(x), experts(x, one) * (0.5 if scaled else 2))


@pytest.mark.parametrize("n_experts", [4, 16])
@pytest.mark.parametrize(
    "routing",
    [
        Routing(expert=torch.zeros(6, dtype=torch.long)),
        Routing(expert=torch.zeros(5, 1, dtype=torch.long)),
        Routing(expert=torch.zeros(6, 1, dtype=torch.long), scale=torch.ones(6, 2)),
        Routing(weights=torch.ones(4)),
    ],
    ids=["no choices", "fewer rows", "more scales", "one row of weights"],
)
def test_a_gate_of_ones_own_whose_routing_fits_no_inputs(n_experts, routing):
    layer = RoutedLayer(Chooses(n_experts, routing), MixtureExperts(n_experts, 3, 4, 5)).eval()
    with pytest.raises(ValueError, match=r"^(expert|scale|weights) ha\w+ shape .*; allowed is "):
        layer(torch.randn(6, 3))


@pytest.mark.parametrize("n_experts", [4, 16])
@pytest.mark.parametrize("training", [False, True])
def test_a_gate_of_ones_own_that_returns_no_routing(n_experts, training):
    gate = Chooses(n_experts, torch.ones(6, n_experts))
    layer = RoutedLayer(gate, MixtureExperts(n_experts, 3, 4, 5)).train(training)
    for module in (layer, gate):
        with pytest.raises(TypeError, match=r"^route of Chooses returned a Tensor; allowed is a R"):
            module(torch.randn(6, 3))
