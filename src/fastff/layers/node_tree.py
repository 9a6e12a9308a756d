"""Trees without leaves: every node on an input's path is a neuron that adds to the output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.kernels.activations import ACTIVATIONS
from fastff.kernels.check import check_inputs
from fastff.kernels.dispatch import Form, form_for
from fastff.kernels.functions import run_node_tree
from fastff.kernels.reference import TreeArguments
from fastff.layers.gate import one_hot
from fastff.layers.layer import Layer
from fastff.layers.linear import linear, nonzero_product, parameter, uniform_fan_in_
from fastff.layers.options import (
    MAX_DEPTH,
    PRELU_SLOPE,
    Activation,
    check_dtype,
    check_sizes,
    named_activation,
)
from fastff.layers.tree import descend, path_mask


class NodeTree(Layer):
    """Sum over parallel trees and the nodes j on each tree's path of a(z_j) v_j.

    z_j = <w_j, x> + b_j; the path starts at the root and goes right iff z_j > 0. With activation
    "gelu" and `levels` = d + 1 it is UltraFastBERT's layer of depth d (Belcak & Wattenhofer,
    *Exponentially Faster Language Modelling*, arXiv 2311.10770); with "linear", no bias and
    `levels` = d it is FastFF's "FFF v2", whose nodes weigh v_j by z_j.

    Training and inference use the same path; its choice gets no gradient, the nodes on it do.
    Kernels compute these alone; in a dtype or on a device without kernels, and for an activation
    that learns or is one's own, all nodes are computed.

    Args:
        in_features: size of an input.
        out_features: size of an output.
        levels: nodes on a path, at least 1; a tree has 2**levels - 1 nodes.
        n_trees: number of parallel trees, at least 1.
        bias: whether nodes have a bias; outputs have none.
        leaf_nodes: whether the nodes of the last level stand in the leaves' places, and so decide
            nothing; only what counts as a leaf depends on it.
        activation: "gelu", "relu", "selu", "linear", "prelu", whose one slope (1,) all nodes learn
            together, or a function of tensors.
        device: of the parameters.
        dtype: of the parameters.
        generator: draws the initial parameters: `w_in` (t, n, i) and `b_in` (t, n) uniform in
            ±1/sqrt(in_features), `w_out` (t, n, o) in ±1/sqrt(visited nodes).

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        levels: int,
        n_trees: int = 1,
        bias: bool = True,
        leaf_nodes: bool = True,
        activation: Activation = "gelu",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(
            in_features=in_features, out_features=out_features, levels=levels, n_trees=n_trees
        )
        if levels > MAX_DEPTH:
            raise ValueError(f"levels = {levels}: must be at most {MAX_DEPTH}")
        check_dtype(dtype)
        self.activation, self.own_activation = named_activation(activation, [*ACTIVATIONS, "prelu"])
        self.in_features = in_features
        self.out_features = out_features
        self.levels = levels
        self.n_trees = n_trees
        self.n_experts = 2 ** (levels - leaf_nodes)
        n_nodes = 2**levels - 1
        self.training_width, self.inference_width = n_trees * n_nodes, n_trees * levels

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.w_in = empty(n_trees, n_nodes, in_features)
        self.w_out = empty(n_trees, n_nodes, out_features)
        self.b_in = empty(n_trees, n_nodes) if bias else None
        self.slope = empty(1) if activation == "prelu" else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(fan_in); the slope starts at 0.25."""
        uniform_fan_in_(self.w_in, self.in_features, generator)
        uniform_fan_in_(self.w_out, self.n_trees * self.levels, generator)
        if self.b_in is not None:
            uniform_fan_in_(self.b_in, self.in_features, generator)
        if self.slope is not None:
            nn.init.constant_(self.slope, PRELU_SLOPE)

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i); both forms are the same."""
        w_in = parameter(self, "w_in")
        if w_in.dim() != 3:
            return self._sum_paths(self.node_logits(x))
        is_fixed = self.own_activation is None and self.slope is None
        if is_fixed and type(self).node_logits is NodeTree.node_logits:
            w_out, b_in = parameter(self, "w_out"), parameter(self, "b_in")
            form = form_for(x, w_in, w_out, b_in)
            if form is not Form.PLAIN:
                arguments = TreeArguments(x, w_in, w_out, self.activation, b_in)
                return run_node_tree(form, arguments)
        return self._sum_paths(self.node_logits(x))

    def leaf(self, x: Tensor) -> Tensor:
        """Return the leaf (..., t), int64, that each input (..., i) reaches in each tree."""
        return descend(self.node_logits(x)[..., : self.n_experts - 1])

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs, twice (2, ..., b, o), and the leaves reached (..., b, t, e)."""
        z = self.node_logits(x)
        outputs = self._sum_paths(z)
        leaf = descend(z[..., : self.n_experts - 1])
        return outputs.expand(2, *outputs.shape), one_hot(leaf, self.n_experts, like=x)

    def node_logits(self, x: Tensor) -> Tensor:
        """Return the node logits (..., b, t, n)."""
        if self.w_in.dim() == 3:
            check_inputs(x, self.w_in, self.in_features)
        z: Tensor = linear(x, self.w_in.flatten(-3, -2)).unflatten(-1, self.w_in.shape[-3:-1])
        if self.b_in is None:
            return z
        return z + (self.b_in if self.b_in.dim() == 2 else self.b_in.unsqueeze(-3))

    def node_weights(self) -> tuple[Tensor, Tensor | None]:
        """Return the nodes' weights (..., t, n, i) and biases (..., t, n), None without."""
        return self.w_in, self.b_in

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "node_in" and "node_out", a unit per node, the same one of all trees."""
        return {"node_in": (self.w_in, 1), "node_out": (self.w_out, 1)}

    def extra_repr(self) -> str:
        """Return what describes the layer."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"levels={self.levels}, n_trees={self.n_trees}, activation={self.activation!r}, "
            f"bias={self.b_in is not None}"
        )

    def _sum_paths(self, z: Tensor) -> Tensor:
        """Return the outputs (..., o) for node logits (..., t, n)."""
        mask = path_mask(z.detach())
        hidden = self._activate(z)
        if self.w_out.dim() != 3:
            visited = hidden * mask
            stacked: Tensor = visited.flatten(-2) @ self.w_out.flatten(-3, -2)
            return stacked
        is_visited = mask != 0
        visited = hidden.masked_fill(~is_visited, 0)
        return nonzero_product(
            visited.flatten(-2), is_visited.flatten(-2), self.w_out.flatten(0, 1)
        )

    def _activate(self, z: Tensor) -> Tensor:
        """Return a(z) of node logits (..., t, n)."""
        if self.slope is None:
            return (self.own_activation or ACTIVATIONS[self.activation])(z)
        slope = self.slope if self.slope.dim() == 1 else self.slope[..., None, None]  # (r, 1, 1, 1)
        return torch.where(z > 0, z, slope * z)
