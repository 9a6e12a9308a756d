"""The linear gate of a mixture of experts: dense, top-k renormalised, or top-k Switch."""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.layers.gate import Routing, check_top_k, check_weights, one_hot, route_top_k
from fastff.layers.logit_gate import LogitGate
from fastff.layers.losses import load_balance


class LinearGate(LogitGate):
    """Softmax over one linear logit per expert.

    Dense:              p = softmax(W x)
    Top-k renormalised: p = softmax over the k largest logits only, 0 elsewhere (Shazeer et al.,
                        arXiv 1701.06538, without the noise). With k = 1 the weight is the
                        constant 1, so the gate gets no gradient.
    Top-k Switch:       the k largest entries of the full softmax, 0 elsewhere (Fedus et al.,
                        arXiv 2101.03961): the gate does learn.

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
