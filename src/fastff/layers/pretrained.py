"""Weights of other packages."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fastff.layers.experts import Activation
from fastff.layers.fff import FFF

SHAPES = {
    "node_weights": "n, i", "node_biases": "n, 1", "w1s": "e, i, h", "b1s": "e, h",
    "w2s": "e, h, o", "b2s": "e, o",
}  # fmt: skip
IGNORED = ("depth", "node_usage", "leaf_usage")


def load_fastfeedforward(
    state_dict: Mapping[str, Tensor], *, activation: Activation = "relu"
) -> FFF:
    """Return a layer with the weights of an `FFF` of the PyPI package `fastfeedforward`.

    Its soft form is the package's training mode, its hard form the package's hard decisions
    (`use_hard_decisions=True`). The package's evaluation mode differs in two ways: it leaves the
    output biases `b2s` out, and goes right at a logit of exactly 0.

    Args:
        state_dict: of the package's layer: node_weights (n, i), node_biases (n, 1), w1s (e, i, h),
            b1s (e, h), w2s (e, h, o), b2s (e, o), for e = 2**depth leaves and n = e - 1 nodes in
            heap order. Counts of usage are left out.
        activation: of the hidden units, which a state_dict doesn't tell.

    Raises:
        ValueError: for a missing or unknown name, a wrong shape, and a tree of one leaf.

    """
    missing = [name for name in SHAPES if name not in state_dict]
    unknown = [name for name in state_dict if name not in SHAPES and name not in IGNORED]
    if missing or unknown:
        raise ValueError(
            f"no state_dict of fastfeedforward.FFF: {', '.join(missing) or 'nothing'} missing, "
            f"{', '.join(unknown) or 'nothing'} unknown"
        )
    w1s, w2s = state_dict["w1s"], state_dict["w2s"]
    if w1s.dim() != 3 or w2s.dim() != 3:
        raise ValueError(
            f"w1s has shape {tuple(w1s.shape)}, w2s {tuple(w2s.shape)}; allowed are (e, i, h) "
            "and (e, h, o)"
        )
    n_leaves, in_features, leaf_width = w1s.shape
    depth = n_leaves.bit_length() - 1
    if depth < 1 or n_leaves != 2**depth:
        raise ValueError(f"w1s has {n_leaves} leaves; allowed is a power of 2, at least 2")
    sizes = {"e": n_leaves, "n": n_leaves - 1, "i": in_features, "h": leaf_width, "1": 1}
    sizes["o"] = w2s.shape[-1]
    for name, letters in SHAPES.items():
        shape = tuple(sizes[letter] for letter in letters.split(", "))
        if state_dict[name].shape != shape:
            given = tuple(state_dict[name].shape)
            raise ValueError(f"{name} has shape {given}; allowed is {shape}, as w1s and w2s")
    layer = FFF(
        in_features, sizes["o"], depth=depth, leaf_width=leaf_width, activation=activation,
        device="meta", dtype=w1s.dtype,
    )  # fmt: skip
    ours = {
        "gate.weight": state_dict["node_weights"],
        "gate.bias": state_dict["node_biases"].squeeze(-1),
        "experts.w_in": w1s.mT,
        "experts.b_in": state_dict["b1s"],
        "experts.w_out": w2s,
        "experts.b_out": state_dict["b2s"],
    }
    layer.to_empty(device=w1s.device)
    layer.load_state_dict(ours)
    return layer
