"""From specs to models, and from models to a stack of them.

A gate, a bank of experts and a kind of model have their entries in the registries here, by spec.

A stack is one module that computes many models of the same structure at once, each with parameters
of its own. It is no ensemble: its runs are trained side by side, and reported one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from fastff.config.gates import (
    GateSpec,
    HypercubeGateSpec,
    LinearGateSpec,
    NoisyTopKGateSpec,
    TreeGateSpec,
)
from fastff.config.model import (
    BottleneckSpec,
    ConvolutionalSpec,
    ExpertsSpec,
    FeedForwardSpec,
    LayerSpec,
    LinearSpec,
    MixtureSpec,
    ModelSpec,
    NodeTreeSpec,
    RoutedSpec,
    SoftMergedSpec,
    StridedConvolutionalSpec,
    VisionTransformerSpec,
)
from fastff.layers import (
    Bottleneck,
    Convolutional,
    Experts,
    FeedForward,
    Gate,
    HypercubeGate,
    Layer,
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
from fastff.train.vision_transformer import VisionTransformer

if TYPE_CHECKING:
    from fastff.data.dataset import Dataset

M = TypeVar("M", bound=nn.Module)


GATES: dict[type[GateSpec], Callable[..., Gate]] = {
    LinearGateSpec: LinearGate,
    NoisyTopKGateSpec: NoisyTopKGate,
    HypercubeGateSpec: HypercubeGate,
    TreeGateSpec: TreeGate,
}
EXPERTS: dict[type[ExpertsSpec], type[Experts]] = {
    MixtureSpec: MixtureExperts,
    SoftMergedSpec: SoftMergedExperts,
}


@dataclass(frozen=True)
class Sizes:
    """What goes in and out; `image_shape` is (channels, height, width) of an input."""

    in_features: int
    out_features: int
    image_shape: tuple[int, int, int] | None = None

    @classmethod
    def of(cls, data: Dataset) -> Sizes:
        """Return those of a classifier of a dataset."""
        return cls(data.in_features, data.n_classes, data.image_shape)


def build_gate(
    spec: GateSpec, in_features: int, depth: int, *, generator: torch.Generator | None = None
) -> Gate:
    """Return the gate over 2**depth experts that `spec` describes."""
    options = spec.model_dump(exclude={"kind"})
    size = depth if spec.takes_depth else 2**depth
    return GATES[type(spec)](in_features, size, **options, generator=generator)


def build_experts(
    spec: ExpertsSpec,
    n_experts: int,
    in_features: int,
    hidden_features: int,
    out_features: int,
    *,
    generator: torch.Generator | None = None,
) -> Experts:
    """Return the bank of experts that `spec` describes."""
    options = spec.model_dump(exclude={"kind"})
    sizes = (n_experts, in_features, hidden_features, out_features)
    return EXPERTS[type(spec)](*sizes, **options, generator=generator)


def _routed(spec: RoutedSpec, sizes: Sizes, generator: torch.Generator | None) -> Layer:
    depth, width, _ = spec.shape
    gate = build_gate(spec.gate, sizes.in_features, depth, generator=generator)
    shape = (gate.n_experts, sizes.in_features, width, sizes.out_features)
    experts = build_experts(spec.experts, *shape, generator=generator)
    if spec.master_features is None:
        return RoutedLayer(gate, experts)
    shape = (1, sizes.in_features, spec.master_features, sizes.out_features)
    master = build_experts(spec.experts, *shape, generator=generator)
    return MasterLeafLayer(gate, experts, master)


def _feed_forward(spec: FeedForwardSpec, sizes: Sizes, generator: torch.Generator | None) -> Layer:
    shape = (sizes.in_features, spec.shape.hidden_features, sizes.out_features)
    return FeedForward(*shape, activation=spec.activation, bias=spec.bias, generator=generator)


def _node_tree(spec: NodeTreeSpec, sizes: Sizes, generator: torch.Generator | None) -> Layer:
    return NodeTree(
        sizes.in_features,
        sizes.out_features,
        levels=spec.shape.depth + spec.leaf_nodes,
        n_trees=spec.n_trees,
        leaf_nodes=spec.leaf_nodes,
        bias=spec.bias,
        activation=spec.activation,
        generator=generator,
    )


def _convolutional(
    spec: ConvolutionalSpec, sizes: Sizes, generator: torch.Generator | None
) -> Layer:
    if sizes.image_shape is None:
        raise ValueError("a convolutional model needs inputs that are images, not features")
    return Convolutional(sizes.image_shape, spec.channels, sizes.out_features, generator=generator)


def _strided_convolutional(
    spec: StridedConvolutionalSpec, sizes: Sizes, generator: torch.Generator | None
) -> Layer:
    if sizes.image_shape is None:
        raise ValueError("a convolutional model needs inputs that are images, not features")
    shape = (spec.hidden_features, sizes.out_features)
    return StridedConvolutional(sizes.image_shape, spec.channels, *shape, generator=generator)


def _linear(spec: LinearSpec, sizes: Sizes, generator: torch.Generator | None) -> Layer:
    shape = (sizes.in_features, sizes.out_features)
    return LinearLayer(*shape, bias=spec.bias, generator=generator)


def _bottleneck(spec: BottleneckSpec, sizes: Sizes, generator: torch.Generator | None) -> Layer:
    body = Sizes(sizes.in_features, spec.features, sizes.image_shape)
    head = Sizes(spec.features, sizes.out_features)
    return Bottleneck(
        build_model(spec.body, body, generator=generator),
        build_model(spec.head, head, generator=generator),
        activation=spec.activation,
    )


def _vision_transformer(
    spec: VisionTransformerSpec, sizes: Sizes, generator: torch.Generator | None
) -> Layer:
    if sizes.image_shape is None:
        raise ValueError("a vision transformer needs inputs that are images, not features")
    inner = Sizes(spec.width, spec.width)
    layers = [build_model(spec.feed_forward, inner) for _ in range(spec.n_blocks)]
    options = spec.model_dump(include={"patch", "width", "n_heads", "dropout"})
    return VisionTransformer(
        sizes.image_shape, layers, sizes.out_features, **options, generator=generator
    )


MODELS: dict[type[LayerSpec], Callable[..., Layer]] = {
    RoutedSpec: _routed,
    FeedForwardSpec: _feed_forward,
    NodeTreeSpec: _node_tree,
    ConvolutionalSpec: _convolutional,
    StridedConvolutionalSpec: _strided_convolutional,
    LinearSpec: _linear,
    BottleneckSpec: _bottleneck,
    VisionTransformerSpec: _vision_transformer,
}


def build_model(
    spec: ModelSpec, sizes: Sizes, *, generator: torch.Generator | None = None
) -> Layer:
    """Return the model that a spec describes, float32 on the CPU.

    Args:
        spec: what to build; it leaves nothing open.
        sizes: of inputs and outputs.
        generator: draws all initial parameters, a layer's gate before its experts, a bottleneck's
            body before its head.

    Raises:
        ValueError: where the spec leaves a size open.

    """
    return MODELS[type(spec)](spec, sizes, generator)


def count_parameters(model: nn.Module) -> int:
    """Return how many entries the parameters of a model have."""
    return sum(parameter.numel() for parameter in model.parameters())


def stack(modules: Sequence[M]) -> M:
    """Return one module that computes all of `modules`, which have the same structure.

    Every parameter of shape (...) becomes one of shape (r, ...). Layers work over leading
    dimensions of their parameters, so the result takes inputs (r, b, i), or (b, i) for all runs
    alike, and gives outputs (r, b, o). Buffers are constants: they are the first module's.

    Raises:
        ValueError: for a buffer in the modules' state, which may differ from run to run.

    """
    stacked = copy.deepcopy(modules[0])
    parts = [dict(module.named_parameters()) for module in modules]
    if buffers := [name for name in modules[0].state_dict() if name not in parts[0]]:
        raise ValueError(
            f"buffer {buffers[0]!r} would be one for all runs; allowed is a parameter, with "
            "requires_grad=False where it is fixed"
        )
    for name, parameter in parts[0].items():
        owner, _, leaf = name.rpartition(".")
        together = torch.stack([part[name].detach() for part in parts])
        in_stack = nn.Parameter(together, requires_grad=parameter.requires_grad)
        setattr(stacked.get_submodule(owner), leaf, in_stack)
    return stacked
