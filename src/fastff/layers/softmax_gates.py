"""Gates that take a softmax of linear logits: one an expert, or their signs at its corner."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.layers.gate import LogitGate, Routing, one_hot, route_top_k, softmax_top_k
from fastff.layers.linear import linear, uniform_fan_in_
from fastff.layers.losses import importance, load_balance, smooth_load, squared_variation
from fastff.layers.options import check_depth, check_sizes, check_top_k, check_weights


class LinearGate(LogitGate):
    """Softmax over one linear logit per expert.

    - Dense: p = softmax(W x).
    - Top-k renormalised: p = softmax over the k largest logits only, 0 elsewhere (Shazeer et al.,
      arXiv 1701.06538, without the noise). With k = 1 the weight is the constant 1, so the gate
      gets no gradient.
    - Top-k Switch: the k largest entries of the full softmax, 0 elsewhere (Fedus et al., arXiv
      2101.03961): the gate does learn.

    The hard form of the dense gate is one-hot at the largest logit. A top-k gate infers with its
    soft form, which is sparse already.

    Args:
        in_features: size of an input.
        n_experts: number of experts.
        top_k: number of experts kept, at most `n_experts`; None keeps all.
        renormalise: softmax over the kept logits only. Needs `top_k`.
        balance_weight: of the Switch loss n Σ_e f_e P_e, see `losses.load_balance`.
        bias: whether logits have a bias.
        logit_activation: "linear", or "relu" of the logits, as the FastFF study had on MNIST.
        device: of the parameters.
        dtype: of the parameters.
        generator: draws the initial parameters, uniform in ±1/sqrt(in_features).

    """

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        *,
        top_k: int | None = None,
        renormalise: bool = False,
        balance_weight: float = 0.0,
        bias: bool = False,
        logit_activation: str = "linear",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            in_features, n_experts, n_logits=n_experts, n_active=top_k or 1, n_trained=top_k,
            bias=bias, logit_activation=logit_activation, device=device, dtype=dtype,
        )  # fmt: skip
        check_top_k(top_k, n_experts, renormalise=renormalise)
        check_weights(balance_weight=balance_weight)
        self.top_k = top_k
        self.renormalise = renormalise
        self.balance_weight = balance_weight
        self.reset_parameters(generator)

    def route(self, x: Tensor, *, hard: bool, sparse: bool) -> Routing:
        """Return where inputs (..., i) go; dense weights sum to 1, for Switch to at most 1.

        In training mode the soft form has the balance loss, of each batch (..., b, i).
        """
        logits = self.activated_logits(x)
        if self.top_k is None and hard:
            best = logits.argmax(-1, keepdim=sparse)
            if sparse:
                return Routing(expert=best)
            return Routing(one_hot(best, self.n_experts, like=x))
        loss = None
        if self.training and not hard and self.balance_weight > 0:
            expert = logits.topk(self.top_k or 1, dim=-1).indices
            loss = self.balance_weight * load_balance(logits.softmax(-1), expert)
        return route_top_k(
            logits, self.top_k, renormalise=self.renormalise, sparse=sparse, loss=loss
        )

    def extra_repr(self) -> str:
        """Return what describes the gate."""
        return f"{super().extra_repr()}, top_k={self.top_k}, renormalise={self.renormalise}"


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


class HypercubeGate(LogitGate):
    """Softmax over the 2**depth sums of ± logits, an expert per pattern of signs (FastFF, 2024).

    z = W x with `depth` logits; expert k scores Σ_j s_kj z_j, where s_kj is +1 where the j-th of
    the `depth` binary digits of k, most significant first, is 1, and -1 elsewhere. The softmax
    factorises: p_k = Π_j sigmoid(2 s_kj z_j). A tree whose nodes share their logit within a level.
    The hard form is one-hot at the corner of the logits' signs, 1 iff z > 0.

    Args:
        in_features: size of an input.
        depth: number of logits, at least 1.
        top_k: number of experts kept in the soft form; None keeps all.
        renormalise: softmax over the kept scores only. Needs `top_k`.
        bias: whether logits have a bias.
        logit_activation: "linear", or "relu" of the logits, as the FastFF study had on MNIST.
        device: of the parameters.
        dtype: of the parameters.
        generator: draws the initial parameters, uniform in ±1/sqrt(in_features).

    """

    signs: Tensor

    def __init__(
        self,
        in_features: int,
        depth: int,
        *,
        top_k: int | None = None,
        renormalise: bool = False,
        bias: bool = False,
        logit_activation: str = "linear",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_depth(depth)
        super().__init__(
            in_features, 2**depth, n_logits=depth, n_trained=top_k, bias=bias,
            logit_activation=logit_activation, device=device, dtype=dtype,
        )  # fmt: skip
        check_top_k(top_k, 2**depth, renormalise=renormalise)
        self.depth = depth
        self.top_k = top_k
        self.renormalise = renormalise
        self.register_constants(device)
        self.reset_parameters(generator)

    def route(self, x: Tensor, *, hard: bool, sparse: bool) -> Routing:
        """Return where inputs (..., i) go; soft weights sum to 1 without `top_k`.

        The hard form is the corner of the logits' signs.
        """
        z = self.activated_logits(x)
        if not hard:
            scores = z @ self.constant("signs", like=z).mT
            return route_top_k(
                scores, self.top_k, renormalise=self.renormalise, sparse=sparse, loss=None
            )
        places = 2 ** torch.arange(self.depth - 1, -1, -1, device=x.device)
        corner = ((z > 0) * places).sum(-1)
        if sparse:
            return Routing(expert=corner.unsqueeze(-1))
        return Routing(one_hot(corner, self.n_experts, like=x))

    def extra_repr(self) -> str:
        """Return what describes the gate."""
        return f"{super().extra_repr()}, top_k={self.top_k}, renormalise={self.renormalise}"

    def constants(self, device: torch.device) -> dict[str, Tensor]:
        """Return the "signs" of the logits in each expert's score, (e, d)."""
        return {"signs": 2.0 * corners(self.depth, device) - 1}


def corners(depth: int, device: torch.device | None = None) -> Tensor:
    """Return the binary digits of 0..2**depth - 1, most significant first, (2**depth, depth)."""
    places = torch.arange(depth - 1, -1, -1, device=device)
    return (torch.arange(2**depth, device=device).unsqueeze(-1) >> places) & 1
