"""Experts that are merged into one by their routing weights (SMEAR)."""

from __future__ import annotations

from torch import Tensor

from fastff.layers.experts import Experts


class SoftMergedExperts(Experts, has_kernels=True):
    """One expert per input, its weights the weighted mean of all: E(x) with W = Σ_e p_e W_e.

    Muqeeth et al., *Soft Merging of Experts with Adaptive Routing*, arXiv 2306.03745. With
    one-hot weights it is the chosen expert, which is what FastFF evaluated; with the soft
    weights it is what the SMEAR paper evaluated.

    No merged weight is ever stored, since (Σ p_e W_e) x = Σ p_e (W_e x): memory is O(b e h), not
    O(b e h i).
    """

    is_merged = True
    has_slopes = False  # the slope of merged hidden units would be nobody's

    def forward(self, x: Tensor, weights: Tensor, *, sparse: bool = False) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i) and routing weights (..., e)."""
        self.check(x, weights)
        p = weights.unsqueeze(-1)  # (..., e, 1)
        hidden = self.pre_activations(x)
        if sparse:
            hidden = hidden.masked_fill(p == 0, 0)
        merged = self.activate((p * hidden).sum(-2, keepdim=True))  # (..., 1, h)
        if sparse:
            merged = merged.where(p != 0, 0)
        return self.combine(p * merged, weights, sparse=sparse)
