"""The feed-forward layer of a decoder's block, from its spec, and how its inputs are routed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.config.language import AnyLayerSpec, HashSpec
from fastff.kernels import chosen_experts
from fastff.layers import Layer, MixtureExperts, NodeTree, RoutedLayer
from fastff.train.build import Sizes, build_model, count_parameters

VOCABULARY = 256  # bytes


class HashRouted(nn.Module):
    """Experts chosen by the token alone, as a table says that is drawn once (Roller et al.).

    *Hash Layers for Large Sparse Models*, arXiv 2106.04426: a control for learned routing. The
    table spreads the 256 tokens evenly over the experts.

    Args:
        features: size of inputs and outputs.
        spec: of the experts; it leaves nothing open.
        generator: draws the table (256,) and the initial parameters.

    """

    table: Tensor

    def __init__(self, features: int, spec: HashSpec, generator: torch.Generator | None) -> None:
        super().__init__()
        depth, hidden_features, _ = spec.shape
        self.n_experts = 2**depth
        table = torch.randperm(VOCABULARY, generator=generator) % self.n_experts
        self.register_buffer("table", table)
        self.experts = MixtureExperts(
            *(self.n_experts, features, hidden_features, features),
            activation=spec.activation,
            bias=spec.bias,
            generator=generator,
        )
        self.training_width = self.n_experts * hidden_features
        self.inference_width = hidden_features

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return the outputs (..., i) of inputs (..., i) and their tokens (...), int64."""
        bank = self.experts
        return chosen_experts(
            *(x, self.table[tokens].unsqueeze(-1), bank.w_in, bank.w_out, bank.activation),
            b_in=bank.b_in,
            b_out=bank.b_out,
        )


def build_feed_forward(
    spec: AnyLayerSpec, features: int, generator: torch.Generator | None = None
) -> Layer | HashRouted:
    """Return the layer from `features` to as many that a spec describes, float32 on the CPU."""
    if isinstance(spec, HashSpec):
        return HashRouted(features, spec, generator)
    return build_model(spec, Sizes(features, features), generator=generator)


@torch.no_grad()
def visits(layer: Layer | HashRouted | None, x: Tensor, tokens: Tensor) -> Tensor | None:
    """Return how often the hard form of a layer reaches each of its parts, (t, e), int64.

    The parts are the experts or leaves, and of t node trees the leaf-level nodes; None for a layer
    that doesn't choose.

    Args:
        layer: on the inputs' device.
        x: inputs (b, i).
        tokens: that they stand for, (b,).

    """
    if isinstance(layer, HashRouted):
        chosen = layer.table[tokens].unsqueeze(-1)
    elif isinstance(layer, NodeTree):
        chosen = layer.leaf(x)
        # a tree's leaves in a row of their own
        offset = layer.n_experts * torch.arange(layer.n_trees, device=x.device)
        counts = torch.bincount(
            (chosen + offset).flatten(), minlength=chosen.shape[1] * layer.n_experts
        )
        return counts.view(layer.n_trees, layer.n_experts)
    elif isinstance(layer, RoutedLayer):
        weights: Tensor = layer.gate(x, hard=True)
        return (weights != 0).sum(0, keepdim=True)
    else:
        return None
    return torch.bincount(chosen.flatten(), minlength=layer.n_experts).view(1, -1)


def visited_parts(layer: nn.Module, counts: Tensor) -> tuple[int, int]:
    """Return how many parts of a layer were visited, and how many there are, of counts (t, e).

    Of a node tree these are its nodes: with a leaf all nodes above it.
    """
    reached = counts > 0
    n_visited, n_parts = int(reached.sum()), reached.numel()
    if isinstance(layer, NodeTree):
        while reached.shape[1] > 1:
            reached = reached.unflatten(1, (-1, 2)).any(-1)
            n_visited, n_parts = n_visited + int(reached.sum()), n_parts + reached.numel()
    return n_visited, n_parts


def active_parameters(layer: Layer | HashRouted | None) -> int:
    """Return how many parameters the hard form uses for one input: those on its way."""
    if layer is None:
        return 0
    if isinstance(layer, NodeTree):
        of_node = count_parameters(layer) // (layer.n_trees * ((1 << layer.levels) - 1))
        return layer.n_trees * layer.levels * of_node
    if not isinstance(layer, RoutedLayer | HashRouted):
        return count_parameters(layer)
    of_expert = count_parameters(layer.experts) // layer.n_experts
    n_active = layer.inference_width // layer.experts.hidden_features
    active = n_active * of_expert
    if isinstance(layer, RoutedLayer):
        of_gate: int = count_parameters(layer.gate)
        nodes = layer.gate.node_weights()
        if nodes is not None:  # a tree's: one node a level
            n_nodes = nodes[0].shape[-2]
            of_gate = of_gate // n_nodes * n_nodes.bit_length()
        active += of_gate
    return active
