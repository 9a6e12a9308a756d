"""The noisy top-k gate, which spreads the load by noise and by two losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.layers.gate import Gate, check_top_k, softmax_top_k
from fastff.layers.linear import linear, uniform_fan_in


class NoisyTopKGate(Gate):
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
        generator: draws the initial weights, uniform in ±1/sqrt(in_features).

    """

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        *,
        top_k: int,
        importance_weight: float = 0.0,
        load_weight: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, n_experts, n_active=top_k)
        check_top_k(top_k, n_experts, renormalise=True)
        if load_weight > 0 and top_k == n_experts:
            raise ValueError(f"load_weight > 0 needs top_k below n_experts = {n_experts}")
        self.top_k = top_k
        self.importance_weight = importance_weight
        self.load_weight = load_weight

        def draw() -> torch.nn.Parameter:
            return uniform_fan_in(n_experts, in_features, fan_in=in_features, generator=generator)

        self.weight = draw()  # (e, i)
        self.noise_weight = draw()  # (e, i)

    def soft(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e), with noise in training mode; rows sum to 1."""
        return self.soft_with_loss(x)[0]

    def hard(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e) without noise."""
        return softmax_top_k(linear(x, self.weight), self.top_k, renormalise=True)

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft weights, and in training mode the weighted losses (...)."""
        clean = linear(x, self.weight)
        if not self.training:
            return softmax_top_k(clean, self.top_k, renormalise=True), None
        scale = F.softplus(linear(x, self.noise_weight))
        noisy = clean + scale * self.random.normal(clean)
        weights = softmax_top_k(noisy, self.top_k, renormalise=True)
        loss = self.importance_weight * squared_variation(weights.sum(-2))
        if self.load_weight > 0:
            loss = loss + self.load_weight * squared_variation(
                smooth_load(clean, noisy, scale, self.top_k)
            )
        return weights, loss


def squared_variation(values: Tensor) -> Tensor:
    """Return the squared coefficient of variation over the last dimension, (...) of (..., e)."""
    return values.var(-1, correction=0) / (values.mean(-1) ** 2 + 1e-10)


def smooth_load(clean: Tensor, noisy: Tensor, scale: Tensor, top_k: int) -> Tensor:
    """Return the expected number of samples per expert under fresh noise, (..., e).

    P(x, e) = Φ((clean_e - threshold_e) / scale_e), with the k-th largest of the *other* experts'
    noisy logits as threshold, summed over the batch (appendix A of the paper).

    Args:
        clean: logits without noise, (..., b, e).
        noisy: logits with noise.
        scale: standard deviation of the noise.
        top_k: number of experts kept, below e.

    """
    best = noisy.topk(top_k + 1, dim=-1).values
    last_in, first_out = best[..., top_k - 1 : top_k], best[..., top_k:]
    # among the others, the k-th largest is the first left out for an expert that is in
    threshold = torch.where(noisy >= last_in, first_out, last_in)
    probability: Tensor = torch.special.ndtr((clean - threshold) / scale)
    return probability.sum(-2)
