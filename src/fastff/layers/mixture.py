"""Experts whose outputs are mixed: the sparse or dense mixture of experts, and the FFF's leaves."""

from __future__ import annotations

from torch import Tensor

from fastff.layers.experts import Experts


class MixtureExperts(Experts):
    """Weighted sum of the experts' outputs, y = Σ_e p_e E_e(x).

    The weights scale the hidden units, so that the sum over experts and hidden units is one
    matrix product and no expert's output is stored: memory is O(b e h).
    """

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i) and routing weights (..., b, e)."""
        hidden = self.activate(self.pre_activations(x))  # (..., b, e, h)
        return self.combine(weights.unsqueeze(-1) * hidden, weights)
