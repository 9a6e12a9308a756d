"""The mixture of experts, ready to take the place of a feed-forward block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastff.layers.experts import MixtureExperts
from fastff.layers.gate import LogitGate
from fastff.layers.linear import wide
from fastff.layers.options import Activation, check_sizes, check_weights
from fastff.layers.routed import RoutedLayer, count
from fastff.layers.softmax_gates import LinearGate, NoisyTopKGate


class MoE(RoutedLayer):
    """A mixture of experts: a linear router sends every input to `top_k` of the small MLPs.

    An expert's weight is its entry of the softmax over all router logits (Switch Transformers,
    Fedus et al., arXiv 2101.03961), so that the router learns whose outputs to trust. With
    `renormalise` it is that of a softmax over the chosen alone (Shazeer et al., arXiv 1701.06538).
    For `top_k` = 1 that is the constant 1: then the router gets no gradient from the outputs and
    never learns from them.

    Its own losses are kept for `fastff.aux_loss`, which adds them up over a model::

        moe = MoE(768, 768, n_experts=16, expert_width=1024, top_k=2, balance=0.01)
        loss = criterion(moe(x), y) + aux_loss(moe)

    Args:
        in_features: size of an input.
        out_features: size of an output.
        n_experts: number of experts.
        expert_width: hidden units of one expert.
        top_k: number of experts that an input goes to; None mixes all in training and takes the
            likeliest at inference.
        renormalise: whether the weights of the chosen sum to 1. Always so for a noisy router.
        bias: whether router, hidden units and outputs have a bias.
        activation: of hidden units: "relu", "gelu", "selu", "linear", "prelu", or a function of
            tensors.
        balance: weight of the Switch loss n Σ_e f_e P_e, the share of choices times the mean
            weight; 1 for an even load.
        noisy: whether the router has learned noise in training mode (Shazeer et al.).
        importance: weight of CV² of the summed weights, for a noisy router.
        load: weight of CV² of the smooth number of inputs, for a noisy router.
        dropout: in training mode, the probability with which a hidden unit is left out.
        device: of the parameters.
        dtype: of the parameters.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in).

    Raises:
        ValueError: for a size, weight, activation or combination that is not allowed.

    """

    gate: LogitGate

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        n_experts: int,
        expert_width: int,
        top_k: int | None = 1,
        renormalise: bool = False,
        bias: bool = True,
        activation: Activation = "relu",
        balance: float = 0.0,
        noisy: bool = False,
        importance: float = 0.0,
        load: float = 0.0,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_sizes(
            in_features=in_features, out_features=out_features, n_experts=n_experts,
            expert_width=expert_width,
        )  # fmt: skip
        if top_k is not None:
            check_sizes(top_k=top_k)
        check_weights(balance=balance, importance=importance, load=load)
        drawn: dict[str, Any] = {
            "bias": bias,
            "device": device,
            "dtype": dtype,
            "generator": generator,
        }
        gate: LogitGate
        if noisy:
            if top_k is None or balance > 0:
                raise ValueError(
                    f"noisy = True needs a top_k and no balance, but top_k = {top_k} and balance = "
                    f"{balance}; its losses are importance and load"
                )
            if load > 0 and top_k == n_experts:
                raise ValueError(f"load = {load}: needs top_k below n_experts = {n_experts}")
            gate = NoisyTopKGate(
                in_features, n_experts, top_k=top_k, importance_weight=importance,
                load_weight=load, **drawn,
            )  # fmt: skip
        elif importance + load > 0:
            raise ValueError(f"importance = {importance}, load = {load}: need noisy = True")
        else:
            gate = LinearGate(
                in_features, n_experts, top_k=top_k, renormalise=renormalise,
                balance_weight=balance, **drawn,
            )  # fmt: skip
        experts = MixtureExperts(
            n_experts, in_features, expert_width, out_features, activation=activation,
            dropout=dropout, **drawn,
        )  # fmt: skip
        super().__init__(gate, experts)
        self.expert_width = expert_width
        self.top_k = top_k

    def chosen(self, x: Tensor) -> Tensor:
        """Return the experts that inference takes for inputs (..., i), (..., k), int64."""
        expert = self.gate.route(x, hard=True, sparse=True).expert
        assert expert is not None
        return expert

    def usage(self, x: Tensor) -> Tensor:
        """Return how many of the inputs (..., i) go to each expert, (e,), int64."""
        return count(self.chosen(x), self.n_experts)

    def entropies(self, x: Tensor) -> Tensor:
        """Return the routing distribution's mean entropy in nats over inputs (..., i), a number.

        From 0, where the router is sure, to log(n_experts).
        """
        p = wide(self.gate.logits(x)).softmax(-1)
        entropies = torch.special.entr(p).sum(-1)
        mean: Tensor = entropies.sum() / max(entropies.numel(), 1)
        return mean

    def extra_repr(self) -> str:
        """Return what describes the layer."""
        return (
            f"{self.in_features}, {self.out_features}, n_experts={self.n_experts}, "
            f"expert_width={self.expert_width}, top_k={self.top_k}"
        )
