"""What every layer can do, whether it routes its inputs or not, and two layers in a row."""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from fastff.layers.options import PRELU_SLOPE

FEATURE_ACTIVATIONS = ("linear", "relu", "prelu")  # between the parts of a bottleneck


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

    def soft_weights(self, x: Tensor) -> Tensor | None:
        """Return the soft form's weights (..., b, e) of the experts, or None without a gate."""
        return None

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


class Bottleneck(Layer):
    """head(a(body(x))): the body's outputs, the features, are few enough to look at.

    Routing, nodes and units are those of `routed`, the part that routes.

    Args:
        body: from inputs to features.
        head: from features to outputs.
        activation: a of the features: "linear", "relu", or "prelu", which learns one slope (1,)
            for all of them that starts at 0.25.

    Raises:
        ValueError: for another activation.

    """

    def __init__(self, body: Layer, head: Layer, *, activation: str = "linear") -> None:
        super().__init__()
        if activation not in FEATURE_ACTIVATIONS:
            allowed = ", ".join(FEATURE_ACTIVATIONS)
            raise ValueError(f"activation = {activation!r}: allowed are {allowed}")
        self.body = body
        self.head = head
        self.activation = activation
        self.slope = None
        if activation == "prelu":
            self.slope = nn.Parameter(torch.full((1,), PRELU_SLOPE))
        self.n_trees, self.n_experts = self.routed.n_trees, self.routed.n_experts
        self.training_width = body.training_width + head.training_width
        self.inference_width = body.inference_width + head.inference_width

    @property
    def routed(self) -> Layer:
        """The part whose routing counts: the body, or the head where only the head routes."""
        return self.head if self.head.n_experts > 1 and self.body.n_experts == 1 else self.body

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i)."""
        out: Tensor = self.head(self.features(x, hard=hard), hard=hard)
        return out

    def features(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return what the head gets, (..., b, f), of inputs (..., b, i)."""
        return self._activate(self.body(x, hard=hard))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, those of the body before the head's."""
        self.body.reset_parameters(generator)
        self.head.reset_parameters(generator)
        if self.slope is not None:
            nn.init.constant_(self.slope, PRELU_SLOPE)

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft form's outputs (..., b, o), and the sum of the parts' own losses."""
        features, loss = self.body.soft_with_loss(x)
        outputs, more = self.head.soft_with_loss(self._activate(features))
        if loss is None or more is None:
            return outputs, more if loss is None else loss
        return outputs, loss + more

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both forms' outputs (2, ..., b, o), and the hard routing (..., b, t, e)."""
        features, routing = self.body.soft_and_hard(x)
        features = self._activate(features)
        soft = self.head(features[0], hard=False)
        (_, hard), of_head = self.head.soft_and_hard(features[1])
        return torch.stack([soft, hard]), routing if self.routed is self.body else of_head

    def soft_weights(self, x: Tensor) -> Tensor | None:
        """Return the weights of the part that routes, on the soft form's features."""
        return self.routed.soft_weights(self._seen(x, hard=False))

    def node_logits(self, x: Tensor) -> Tensor | None:
        """Return the node logits of the part that routes, on the hard form's features."""
        return self.routed.node_logits(self._seen(x, hard=True))

    def node_weights(self) -> tuple[Tensor, Tensor | None] | None:
        """Return the node weights and biases of the part that routes."""
        return self.routed.node_weights()

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return the units of the part that routes."""
        return self.routed.units()

    def _seen(self, x: Tensor, *, hard: bool) -> Tensor:
        """Return what the part that routes gets of inputs (..., b, i): these, or the features."""
        return x if self.routed is self.body else self.features(x, hard=hard)

    def _activate(self, features: Tensor) -> Tensor:
        """Return a(features), of features (..., b, f)."""
        if self.activation == "relu":
            return features.relu()
        if self.slope is None:
            return features
        slope = self.slope if self.slope.dim() == 1 else self.slope.unsqueeze(-2)  # (r, 1, 1)
        return torch.where(features > 0, features, slope * features)
