"""From specs to layers: the registry by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from fastff.layers.experts import Experts
from fastff.layers.gate import Gate
from fastff.layers.hypercube_gate import HypercubeGate
from fastff.layers.linear_gate import LinearGate
from fastff.layers.mixture import MixtureExperts
from fastff.layers.noisy_top_k_gate import NoisyTopKGate
from fastff.layers.routed import RoutedLayer
from fastff.layers.soft_merged import SoftMergedExperts
from fastff.layers.tree_gate import TreeGate
from fastff.spec import (
    ExpertsSpec,
    GateSpec,
    HypercubeGateSpec,
    LinearGateSpec,
    MixtureSpec,
    NoisyTopKGateSpec,
    SoftMergedSpec,
    Spec,
    TreeGateSpec,
    Variant,
)

# by what they take beside in_features: a number of experts, or a depth
FLAT_GATES: dict[type[Spec], Callable[..., Gate]] = {
    LinearGateSpec: LinearGate,
    NoisyTopKGateSpec: NoisyTopKGate,
}
DEEP_GATES: dict[type[Spec], Callable[..., Gate]] = {
    HypercubeGateSpec: HypercubeGate,
    TreeGateSpec: TreeGate,
}
EXPERTS: dict[type[Spec], type[Experts]] = {
    MixtureSpec: MixtureExperts,
    SoftMergedSpec: SoftMergedExperts,
}


def build_gate(
    spec: GateSpec, in_features: int, depth: int, *, generator: torch.Generator | None = None
) -> Gate:
    """Return the gate over 2**depth experts that `spec` describes."""
    options = spec.model_dump(exclude={"kind"})
    if type(spec) in FLAT_GATES:
        return FLAT_GATES[type(spec)](in_features, 2**depth, **options, generator=generator)
    return DEEP_GATES[type(spec)](in_features, depth, **options, generator=generator)


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


def build_layer(
    variant: Variant,
    *,
    in_features: int,
    hidden_features: int,
    out_features: int,
    depth: int,
    generator: torch.Generator | None = None,
) -> RoutedLayer:
    """Return the layer of 2**depth experts that `variant` describes, float32 on the CPU.

    Args:
        variant: a gate and a bank of experts.
        in_features: size of an input.
        hidden_features: hidden units of one expert.
        out_features: size of an output.
        depth: of the tree; for other gates too, the number of experts is 2**depth.
        generator: draws all initial parameters, first the gate's, then the experts'.

    """
    gate = build_gate(variant.gate, in_features, depth, generator=generator)
    experts = build_experts(
        variant.experts,
        gate.n_experts,
        in_features,
        hidden_features,
        out_features,
        generator=generator,
    )
    return RoutedLayer(gate, experts)
