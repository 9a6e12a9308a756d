"""The hypercube gate: as many logits as a tree has levels, and an expert at every corner."""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.layers.gate import Routing, check_depth, check_top_k, one_hot, route_top_k
from fastff.layers.logit_gate import LogitGate


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
