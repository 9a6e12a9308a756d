"""Experts whose outputs are mixed: the sparse or dense mixture of experts, and the FFF's leaves."""

from __future__ import annotations

from torch import Tensor

from fastff.layers.experts import Experts


class MixtureExperts(Experts, has_kernels=True):
    """Weighted sum of the experts' outputs, y = Σ_e p_e E_e(x).

    The weights scale the hidden units, so that the sum over experts and hidden units is one
    matrix product and no expert's output is stored: memory is O(b e h).
    """

    def forward(self, x: Tensor, weights: Tensor, *, sparse: bool = False) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i) and routing weights (..., e)."""
        self.check(x, weights)
        hidden = self.activate(self.pre_activations(x))  # (..., e, h)
        p = weights.unsqueeze(-1)
        if sparse:
            hidden = hidden.masked_fill(p == 0, 0)
        return self.combine(p * hidden, weights, sparse=sparse)
