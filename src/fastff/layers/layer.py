"""What every layer can do, whether it routes its inputs or not."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn


class Layer(nn.Module, abc.ABC):
    """A layer with a soft form, which training differentiates, and a hard form, for inference.

    Layers that don't route their inputs have one form and one expert; trees without leaves are
    several trees with one form.

    Attributes:
        n_trees: how many routing decisions an input gets.
        n_experts: among how many experts (leaves) each of them chooses.
        training_width: hidden units of the whole layer.
        inference_width: hidden units that one input passes at inference.

    """

    n_trees: int = 1
    n_experts: int = 1
    training_width: int = 0
    inference_width: int = 0

    @abc.abstractmethod
    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i).

        `hard` chooses the form; by default soft in training mode, hard in evaluation mode.
        """

    @abc.abstractmethod
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew."""

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft form's outputs (..., b, o), and the layer's own loss (...), if any."""
        return self(x, hard=False), None

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both forms' outputs (2, ..., b, o), and the hard routing (..., b, t, e).

        An entry of the routing is not 0 where the hard form sends the input to that expert.
        """
        outputs: Tensor = self(x)
        routing = torch.ones(*outputs.shape[:-1], 1, 1, dtype=x.dtype, device=x.device)
        return outputs.expand(2, *outputs.shape), routing

    def node_logits(self, x: Tensor) -> Tensor | None:
        """Return the node logits (..., b, t, n) of the layer's trees, or None without any."""
        return None

    def node_weights(self) -> tuple[Tensor, Tensor | None] | None:
        """Return the nodes' weights (..., t, n, i) and biases (..., t, n), or None without trees.

        The biases are None where the nodes have none.
        """
        return None

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return the parameters whose gradients can be told apart by unit, by part.

        Beside each stands which of its dimensions, behind any leading ones, counts its units.
        """
        return {}
