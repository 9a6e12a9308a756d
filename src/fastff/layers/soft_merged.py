"""Experts that are merged into one by their routing weights (SMEAR)."""

from __future__ import annotations

from torch import Tensor

from fastff.layers.experts import Experts


class SoftMergedExperts(Experts):
    """One expert per input, its weights the weighted mean of all: E(x) with W = Σ_e p_e W_e.

    Muqeeth et al., *Soft Merging of Experts with Adaptive Routing*, arXiv 2306.03745. With
    one-hot weights it is the chosen expert, which is what FastFF evaluated; with the soft
    weights it is what the SMEAR paper evaluated.

    No merged weight is ever stored, since (Σ p_e W_e) x = Σ p_e (W_e x): memory is O(b e h), not
    O(b e h i).
    """

    has_slopes = False  # the slope of merged hidden units would be nobody's

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i) and routing weights (..., b, e)."""
        p = weights.unsqueeze(-1)  # (..., b, e, 1)
        merged = self.activate(
            (p * self.pre_activations(x)).sum(-2, keepdim=True)
        )  # (..., b, 1, h)
        return self.combine(p * merged, weights)
