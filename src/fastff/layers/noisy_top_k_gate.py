"""The noisy top-k gate, which spreads the load by noise and by two losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.layers.gate import (
    Routing,
    check_sizes,
    check_top_k,
    check_weights,
    route_top_k,
    softmax_top_k,
)
from fastff.layers.linear import linear, uniform_fan_in_
from fastff.layers.logit_gate import LogitGate
from fastff.layers.losses import importance, smooth_load, squared_variation


class NoisyTopKGate(LogitGate):
    """Softmax over the k largest of logits with learned Gaussian noise.

    H = x W_gᵀ + ε · softplus(x W_nᵀ),  p = softmax over the k largest of H, 0 elsewhere
    (Shazeer et al., arXiv 1701.06538, section 2.1 and appendix A). Without the noise in
    evaluation mode, which is also the hard form.

    Its loss is `importance_weight` · CV²(importance) + `load_weight` · CV²(load): the squared
    coefficients of variation over the experts of the summed weights, and of the smooth number of
    samples that an expert gets under the noise.

    Args:
        in_features: size of an input.
        n_experts: number of experts.
        top_k: number of experts kept, at most `n_experts`.
        importance_weight: of the importance loss, at least 0.
        load_weight: of the load loss, at least 0. The load is only defined for k < n.
        bias: whether logits have a bias; the noise has none.
        device: of the parameters.
        dtype: of the parameters.
        generator: draws the initial parameters, uniform in ±1/sqrt(in_features).

    """

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        *,
        top_k: int,
        importance_weight: float = 0.0,
        load_weight: float = 0.0,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_sizes(top_k=top_k)
        super().__init__(
            in_features, n_experts, n_logits=n_experts, n_active=top_k, n_trained=top_k,
            bias=bias, device=device, dtype=dtype,
        )  # fmt: skip
        check_top_k(top_k, n_experts, renormalise=True)
        check_weights(importance_weight=importance_weight, load_weight=load_weight)
        if load_weight > 0 and top_k == n_experts:
            raise ValueError(f"load_weight > 0 needs top_k below n_experts = {n_experts}")
        self.top_k = top_k
        self.importance_weight = importance_weight
        self.load_weight = load_weight
        self.noise_weight = nn.Parameter(torch.empty_like(self.weight))  # (e, i)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(in_features)."""
        super().reset_parameters(generator)
        uniform_fan_in_(self.noise_weight, self.in_features, generator)

    def route(self, x: Tensor, *, hard: bool, sparse: bool) -> Routing:
        """Return where inputs (..., i) go; the soft form has noise and losses in training mode."""
        clean = self.logits(x)
        if hard or not self.training:
            return route_top_k(clean, self.top_k, renormalise=True, sparse=sparse, loss=None)
        scale = F.softplus(linear(x, self.noise_weight))
        noisy = clean + scale * self.random.normal(clean)
        if self.importance_weight == self.load_weight == 0:
            return route_top_k(noisy, self.top_k, renormalise=True, sparse=sparse, loss=None)
        weights = softmax_top_k(noisy, self.top_k, renormalise=True)
        loss = self.importance_weight * importance(weights)
        if self.load_weight > 0:
            loss = loss + self.load_weight * squared_variation(
                smooth_load(clean, noisy, scale, self.top_k)
            )
        if not sparse:
            return Routing(weights, loss=loss)
        return route_top_k(noisy, self.top_k, renormalise=True, sparse=True, loss=loss)

    def extra_repr(self) -> str:
        """Return what describes the gate."""
        return f"{super().extra_repr()}, top_k={self.top_k}"
