"""Trees without leaves: every node on an input's path is a neuron that adds to the output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.layers.experts import ACTIVATIONS
from fastff.layers.linear import linear, uniform_fan_in
from fastff.layers.tree import path_mask


class NodeTree(nn.Module):
    """Sum over parallel trees and the nodes j on each tree's path of a(z_j) v_j, z_j = <w_j, x>.

    The path starts at the root and goes right iff z_j > 0. With activation "gelu" and
    `levels` = d + 1 it is UltraFastBERT's layer of depth d (Belcak & Wattenhofer, *Exponentially
    Faster Language Modelling*, arXiv 2311.10770); with "linear" and `levels` = d it is FastFF's
    "FFF v2", whose nodes weigh v_j by z_j.

    Training and inference use the same path; its choice gets no gradient, a and v do.

    Args:
        in_features: size of an input.
        out_features: size of an output.
        levels: nodes on a path, at least 1; a tree has 2**levels - 1 nodes.
        n_trees: number of parallel trees, at least 1.
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
        n_nodes = 2**levels - 1
        self.w_in = uniform_fan_in(
            n_trees, n_nodes, in_features, fan_in=in_features, generator=generator
        )
        self.w_out = uniform_fan_in(
            n_trees, n_nodes, out_features, fan_in=n_trees * levels, generator=generator
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i)."""
        z = linear(x, self.w_in.flatten(-3, -2)).unflatten(-1, self.w_in.shape[-3:-1])
        visited = ACTIVATIONS[self.activation](z) * path_mask(z.detach())  # (..., b, t, n)
        out: Tensor = visited.flatten(-2) @ self.w_out.flatten(-3, -2)
        return out
