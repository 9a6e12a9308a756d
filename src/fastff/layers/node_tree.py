"""Trees without leaves: every node on an input's path is a neuron that adds to the output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.kernels import dispatch
from fastff.layers.experts import ACTIVATIONS
from fastff.layers.gate import one_hot
from fastff.layers.layer import Layer
from fastff.layers.linear import linear, uniform_fan_in
from fastff.layers.parameter import parameter
from fastff.layers.tree import descend, path_mask


class NodeTree(Layer):
    """Sum over parallel trees and the nodes j on each tree's path of a(z_j) v_j, z_j = <w_j, x>.

    The path starts at the root and goes right iff z_j > 0. With activation "gelu" and
    `levels` = d + 1 it is UltraFastBERT's layer of depth d (Belcak & Wattenhofer, *Exponentially
    Faster Language Modelling*, arXiv 2311.10770); with "linear" and `levels` = d it is FastFF's
    "FFF v2", whose nodes weigh v_j by z_j.

    Training and inference use the same path; its choice gets no gradient, a and v do. In
    evaluation mode without gradients, kernels compute the visited nodes alone.

    Args:
        in_features: size of an input.
        out_features: size of an output.
        levels: nodes on a path, at least 1; a tree has 2**levels - 1 nodes.
        n_trees: number of parallel trees, at least 1.
        leaf_nodes: whether the nodes of the last level stand in the leaves' places, and so decide
            nothing; only what counts as a leaf depends on it.
        activation: "gelu", "relu", "selu" or "linear".
        generator: draws the initial parameters: `w_in` (t, n, i) uniform in
            ±1/sqrt(in_features), `w_out` (t, n, o) in ±1/sqrt(visited nodes).

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        levels: int,
        n_trees: int = 1,
        leaf_nodes: bool = True,
        activation: str = "gelu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, size in {"levels": levels, "n_trees": n_trees}.items():
            if size < 1:
                raise ValueError(f"{name} = {size}: must be at least 1")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation = {activation!r}: allowed are {', '.join(ACTIVATIONS)}")
        self.levels = levels
        self.activation = activation
        self.n_trees = n_trees
        self.n_experts = 2 ** (levels - leaf_nodes)
        n_nodes = 2**levels - 1
        self.training_width, self.inference_width = n_trees * n_nodes, n_trees * levels
        self.w_in = uniform_fan_in(
            n_trees, n_nodes, in_features, fan_in=in_features, generator=generator
        )
        self.w_out = uniform_fan_in(
            n_trees, n_nodes, out_features, fan_in=n_trees * levels, generator=generator
        )

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        w_in = parameter(self, "w_in")
        if dispatch.applies(self, x, w_in, dims=3):
            return dispatch.node_tree(x, w_in, parameter(self, "w_out"), self.activation)
        return self._sum_paths(self.node_logits(x))

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs, twice (2, ..., b, o), and the leaves reached (..., b, t, e)."""
        z = self.node_logits(x)
        outputs = self._sum_paths(z)
        leaf = descend(z[..., : self.n_experts - 1])
        return outputs.expand(2, *outputs.shape), one_hot(leaf, self.n_experts, like=x)

    def node_logits(self, x: Tensor) -> Tensor:
        """Return the node logits (..., b, t, n)."""
        z: Tensor = linear(x, self.w_in.flatten(-3, -2)).unflatten(-1, self.w_in.shape[-3:-1])
        return z

    def node_weights(self) -> tuple[Tensor, None]:
        """Return the nodes' weights (..., t, n, i); they have no bias."""
        return self.w_in, None

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "node_in" and "node_out", a unit per node, the same one of all trees."""
        return {"node_in": (self.w_in, 1), "node_out": (self.w_out, 1)}

    def _sum_paths(self, z: Tensor) -> Tensor:
        visited = ACTIVATIONS[self.activation](z) * path_mask(z.detach())  # (..., b, t, n)
        out: Tensor = visited.flatten(-2) @ self.w_out.flatten(-3, -2)
        return out
