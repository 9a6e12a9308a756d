"""The registry of the contract: a builder per gate, bank and layer, and how a use is checked.

A gate that configs can name is here by that, in its default form. Whoever writes a new layer, or a
gate with more forms, adds it to LAYERS, and its definition to `definition`: every test of this
folder then holds for it. Sizes are small, with experts enough for the kernels to pay.
"""

import contextlib
import copy
import functools
import inspect

import definition
import pytest
import torch

from fastff.layers import (
    Bottleneck,
    Convolutional,
    FeedForward,
    HypercubeGate,
    LinearGate,
    LinearLayer,
    MasterLeafLayer,
    MixtureExperts,
    NodeTree,
    NoisyTopKGate,
    RoutedLayer,
    SoftMergedExperts,
    StridedConvolutional,
    TreeGate,
)
from fastff.layers.gate import LogitGate
from fastff.layers.linear import Random
from fastff.train.build import GATES as REGISTRY
from fastff.train.build import build_gate

I, H, O = 12, 3, 5  # noqa: E741
DEPTH, E = 4, 16
BATCH = 6
MARGIN = 0.05  # of logits, which rounding to bfloat16 moves by 0.01
MODES = ("eval", "eval with gradients", "train")
TOLERANCE = {
    torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 5e-3, torch.bfloat16: 3e-2,
}  # fmt: skip
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def routed(gate, bank=MixtureExperts, **options):
    return RoutedLayer(gate, bank(E, I, H, O, **options))


def fff(bank=MixtureExperts, *, of=None, **options):
    return routed(TreeGate(I, DEPTH, **options), bank, **(of or {}))


GATES = {  # with a mixture of experts without bias
    "moe dense": lambda: LinearGate(I, E),
    "moe top-1 renormalised": lambda: LinearGate(I, E, top_k=1, renormalise=True),
    "moe top-2 renormalised": lambda: LinearGate(I, E, top_k=2, renormalise=True),
    "moe switch top-1": lambda: LinearGate(I, E, top_k=1),
    "moe top-8": lambda: LinearGate(I, E, top_k=8),  # too many for the kernels to pay
    "moe noisy top-2": lambda: NoisyTopKGate(I, E, top_k=2, importance_weight=0.1, load_weight=0.2),
    "moe noisy top-1 without losses": lambda: NoisyTopKGate(I, E, top_k=1),
    "hypercube": lambda: HypercubeGate(I, DEPTH),
    "hypercube top-2": lambda: HypercubeGate(I, DEPTH, top_k=2),
    "fff": lambda: TreeGate(I, DEPTH),
    "fff product": lambda: TreeGate(I, DEPTH, form="product"),
    "fff transition": lambda: TreeGate(I, DEPTH, form="transition", node_activation="softplus"),
    "fff learned transition": lambda: TreeGate(I, DEPTH, form="learned_transition"),
    "fff top-2": lambda: TreeGate(I, DEPTH, top_k=2, renormalise=True),
    "fff hard-trained": lambda: TreeGate(I, DEPTH, hard_training=True),
    "fff region leak": lambda: TreeGate(I, DEPTH, region_leak=0.3),
    "fff relu logits": lambda: TreeGate(I, DEPTH, logit_activation="relu", bias=True),
    "fff logit dropout": lambda: TreeGate(I, DEPTH, logit_dropout=0.4, region_leak=0.3),
    "fff hardening": lambda: TreeGate(I, DEPTH, hardening_weight=0.5),
    "fff hardening, sum": lambda: TreeGate(
        I, DEPTH, hardening_weight=0.1, hardening_reduction="sum"
    ),
    "fff learned transition, uniform": lambda: TreeGate(
        I, DEPTH, form="learned_transition", transition_start="uniform", top_k=2, renormalise=True
    ),
    "moe relu logits": lambda: LinearGate(I, E, logit_activation="relu"),
    "hypercube relu logits": lambda: HypercubeGate(I, DEPTH, logit_activation="relu"),
}
_TRIED = {type(build()) for build in GATES.values()}
GATES |= {
    spec.model_fields["kind"].default: lambda spec=spec: build_gate(spec(), I, DEPTH)
    for spec, gate in REGISTRY.items()
    if gate not in _TRIED
}
LAYERS = {name: lambda gate=gate: routed(gate()) for name, gate in GATES.items()}
LAYERS |= {
    "fff biases": lambda: fff(bias=True, of={"bias": True}),
    "fff gelu": lambda: fff(of={"activation": "gelu"}),
    "fff prelu": lambda: fff(of={"activation": "prelu"}),
    "fff dropout": lambda: fff(of={"dropout": 0.4}),
    "fff gelu outputs": lambda: fff(of={"output_activation": "gelu", "bias": True}),
    "moe top-2 selu outputs": lambda: routed(
        LinearGate(I, E, top_k=2), output_activation="selu", bias="output"
    ),
    "merged fff selu outputs": lambda: fff(SoftMergedExperts, of={"output_activation": "selu"}),
    "fff hard-trained biases": lambda: fff(hard_training=True, bias=True, of={"bias": True}),
    "fff hidden biases": lambda: fff(bias=True, of={"bias": "hidden"}),
    "fff output biases": lambda: fff(of={"bias": "output"}),
    "moe top-2 output biases": lambda: routed(LinearGate(I, E, top_k=2), bias="output"),
    "fff beside a master leaf": lambda: MasterLeafLayer(
        TreeGate(I, DEPTH, bias=True),
        MixtureExperts(E, I, H, O, bias=True),
        MixtureExperts(1, I, 2, O, bias=True),
    ),
    "moe switch biases": lambda: routed(LinearGate(I, E, top_k=1), bias=True, activation="gelu"),
    "moe top-2 prelu": lambda: routed(LinearGate(I, E, top_k=2), activation="prelu"),
    "merged fff": lambda: fff(SoftMergedExperts),
    "merged fff biases": lambda: fff(SoftMergedExperts, bias=True, of={"bias": True}),
    "merged moe top-2": lambda: routed(LinearGate(I, E, top_k=2), SoftMergedExperts),
    "node tree": lambda: NodeTree(I, O, levels=DEPTH),
    "node tree relu": lambda: NodeTree(I, O, levels=DEPTH, activation="relu"),
    "node trees prelu": lambda: NodeTree(I, O, levels=DEPTH, n_trees=2, activation="prelu"),
    "node trees": lambda: NodeTree(I, O, levels=DEPTH, n_trees=2, leaf_nodes=False),
    "feed-forward": lambda: FeedForward(I, H, O),
    "feed-forward biases": lambda: FeedForward(I, H, O, bias=True, activation="prelu"),
    "linear": lambda: LinearLayer(I, O),
    "linear bias": lambda: LinearLayer(I, O, bias=True),
    "strided convolutional": lambda: StridedConvolutional((3, 2, 2), (8,), 8, O),
    "bottleneck prelu": lambda: Bottleneck(
        FeedForward(I, H, 7, bias=True), LinearLayer(7, O, bias=True), activation="prelu"
    ),
    "bottleneck relu": lambda: Bottleneck(
        RoutedLayer(TreeGate(I, DEPTH), MixtureExperts(E, I, H, 7)),
        LinearLayer(7, O),
        activation="relu",
    ),
    "convolutional": lambda: Convolutional((3, 2, 2), (4,), O),
    "bottleneck": lambda: Bottleneck(
        RoutedLayer(TreeGate(I, DEPTH), MixtureExperts(E, I, H, 7)), LinearLayer(7, O)
    ),
    "bottleneck routed at its head": lambda: Bottleneck(
        FeedForward(I, H, 7), RoutedLayer(TreeGate(7, DEPTH), MixtureExperts(E, 7, H, O))
    ),
}
if "bias" in inspect.signature(NodeTree).parameters:
    LAYERS |= {
        "node tree bias": lambda: NodeTree(I, O, levels=DEPTH, bias=True),
        "node trees bias": lambda: NodeTree(I, O, levels=DEPTH, n_trees=2, bias=True),
    }
if "bias" in inspect.signature(LinearGate).parameters:
    LAYERS |= {
        "moe top-2 gate bias": lambda: routed(LinearGate(I, E, top_k=2, bias=True)),
        "moe noisy gate bias": lambda: routed(NoisyTopKGate(I, E, top_k=2, bias=True)),
        "hypercube bias": lambda: routed(HypercubeGate(I, DEPTH, bias=True), bias=True),
    }
with contextlib.suppress(ImportError):
    from fastff import FFF, MoE

    LAYERS |= {
        "FFF": lambda: FFF(I, O, depth=DEPTH, leaf_width=H),
        "FFF with losses": lambda: FFF(
            I, O, depth=DEPTH, leaf_width=H, activation="gelu", hardening=0.5, balance=0.1,
            region_leak=0.3,
        ),
        "FFF without bias": lambda: FFF(I, O, depth=DEPTH, leaf_width=H, bias=False),
        "FFF with a master leaf": lambda: FFF(
            I, O, depth=DEPTH, leaf_width=H, master_leaf_width=2
        ),
        "MoE": lambda: MoE(I, O, n_experts=E, expert_width=H),
        "MoE top-2": lambda: MoE(
            I, O, n_experts=E, expert_width=H, top_k=2, renormalise=True, balance=0.3
        ),
        "MoE without bias": lambda: MoE(I, O, n_experts=E, expert_width=H, top_k=2, bias=False),
        "MoE noisy": lambda: MoE(
            I, O, n_experts=E, expert_width=H, top_k=2, noisy=True, importance=0.1, load=0.2
        ),
    }  # fmt: skip
# for what takes a second each: one per way through the library, and the quick tests' share of them
QUICK = ("moe top-2 renormalised", "fff hard-trained biases", "node trees")
SOME = (
    *QUICK, "moe top-1 renormalised", "moe noisy top-2", "hypercube", "fff", "fff prelu",
    "merged fff", "feed-forward",
)  # fmt: skip
# those that are a gate and a bank, and nothing more
GATED = tuple(
    name
    for name, build in LAYERS.items()
    if isinstance(build(), RoutedLayer) and getattr(build(), "master", None) is None
)
TREES = tuple(name for name in GATED if isinstance(LAYERS[name]().gate, TreeGate))

every_layer = pytest.mark.parametrize("name", LAYERS)
some_layers = pytest.mark.parametrize("name", SOME)
some_layers_most_slow = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SOME]
)
every_gated_layer = pytest.mark.parametrize("name", GATED)
every_logit_gate = pytest.mark.parametrize(
    "name", [name for name in GATED if isinstance(LAYERS[name]().gate, LogitGate)]
)
every_tree = pytest.mark.parametrize("name", TREES)


def in_modes(*modes):
    """Make of a test with an argument `mode` one that runs in all of `modes`, one after another.

    A parameter of pytest would take longer than most of these tests.
    """

    def decorate(test):
        signature = inspect.signature(test)

        @functools.wraps(test)
        def run(**arguments):
            for mode in modes:
                try:
                    test(**arguments, mode=mode)
                except BaseException as error:
                    error.add_note(f"in mode {mode!r}")
                    raise

        kept = [p for name, p in signature.parameters.items() if name != "mode"]
        run.__signature__ = signature.replace(parameters=kept)
        return run

    return decorate


every_mode = in_modes(*MODES)
with_gradients = in_modes(*MODES[1:])
hard_modes = in_modes(*MODES[:2])


class Fixed(Random):
    """Numbers that depend on the last dimension alone: the same for every row and dtype."""

    def uniform(self, like):
        return definition.spread(like.shape[-1]).to(like).expand(like.shape)

    def normal(self, like):
        return definition.normal(like.shape[-1]).to(like).expand(like.shape)


@functools.cache
def _built(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        layer = LAYERS[name]()
        for parameter_name, parameter in layer.named_parameters():
            if parameter_name.endswith(("transition", "slope")):
                torch.nn.init.uniform_(parameter, 0.5, 1.5)  # constants at first
    return layer


def build(name, dtype=torch.float32, *, fixed=True):
    """Return the layer `name`, the same each time; in training it draws what `definition` says."""
    layer = copy.deepcopy(_built(name))
    for module in layer.modules():
        if fixed and hasattr(module, "random"):
            module.random = Fixed()
    return layer.to(dtype)


shared = functools.cache(build)  # for tests that change nothing of a layer


def draw(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@functools.cache
def _clear_rows(name, dtype):
    """Return normal inputs (8 b, i) that are well off from another choice."""
    rows = draw(100 * BATCH, I, dtype=dtype)
    return rows[definition.margin(build(name, dtype).train(), rows) > MARGIN][: 8 * BATCH]


def inputs(name, *shape, dtype=torch.float32):
    """Return inputs (..., i), by default (b, i), whose routing no rounding changes."""
    shape = shape or (BATCH,)
    n = torch.Size(shape).numel()
    return _clear_rows(name, dtype)[:n].clone().view(*shape, I)


def call(layer, mode, x):
    """Return the outputs of `layer` in one of MODES."""
    layer.train(mode == "train")
    with torch.set_grad_enabled(mode != "eval"):
        return layer(x)


def expected(layer, mode, x):
    """Return the outputs by definition, float64."""
    layer.train(mode == "train")
    with torch.no_grad():
        return definition.output(layer, x, hard=mode != "train")


@functools.cache
def defined(name, mode):
    """Return the outputs by definition of the layer `name` for its `inputs`, float64."""
    return expected(shared(name), mode, inputs(name))


def close(actual, wanted, tolerance=None):
    """Assert equal shapes, and values as near as the dtype allows, as a whole; NaN where NaN is."""
    assert actual.shape == wanted.shape
    tolerance = tolerance or TOLERANCE[actual.dtype]
    actual, wanted = actual.detach().double(), wanted.detach().double()
    assert actual.isnan().equal(wanted.isnan())
    difference = torch.where(actual == wanted, 0, actual - wanted).nan_to_num(0)
    assert difference.norm() <= tolerance * wanted.nan_to_num(0, 0, 0).norm().clamp_min(1e-6)


def check(layer, mode, x, tolerance=None):
    """Assert that a layer gives what its definition gives, and return its outputs."""
    out = call(layer, mode, x)
    close(out, expected(layer, mode, x), tolerance)
    return out


def one_line(error):
    """Return the message of a caught error, which must be one line."""
    message = str(error.value)
    assert message and "\n" not in message
    return message
