"""The fast feed-forward layer, ready to take the place of a feed-forward block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastff.layers.experts import MixtureExperts
from fastff.layers.linear import wide
from fastff.layers.options import Activation, check_depth, check_sizes, check_weights
from fastff.layers.routed import MasterLeafLayer, count
from fastff.layers.tree import node_entropies
from fastff.layers.tree_gate import TreeGate

# of a layer's state_dict in the PyPI package fastfeedforward
SHAPES = {
    "node_weights": "n, i", "node_biases": "n, 1", "w1s": "e, i, h", "b1s": "e, h",
    "w2s": "e, h, o", "b2s": "e, o",
}  # fmt: skip
IGNORED = ("depth", "node_usage", "leaf_usage")


class FFF(MasterLeafLayer):
    """A fast feed-forward layer: a binary tree routes every input to one of 2**depth small MLPs.

    In training mode all leaves are mixed by the probabilities of their paths, in evaluation mode
    an input goes right at node j iff z_j = <w_j, x> + b_j > 0, and to one leaf (Belcak &
    Wattenhofer, *Fast Feedforward Networks*, arXiv 2308.14711). Cost at inference grows with
    depth + leaf_width, not with the 2**depth * leaf_width hidden units of all leaves.

    Its own losses are kept for `aux_loss`, which adds them up over a model. In a transformer
    block, with inputs of any leading dimensions::

        class Block(torch.nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norms = torch.nn.ModuleList([torch.nn.LayerNorm(width) for _ in range(2)])
                self.attention = torch.nn.MultiheadAttention(width, 4, batch_first=True)
                self.fff = FFF(width, width, depth=4, leaf_width=32, hardening=0.1, balance=0.01)

            def forward(self, x):
                h = self.norms[0](x)
                x = x + self.attention(h, h, h, need_weights=False)[0]
                return x + self.fff(self.norms[1](x))

        model = Block(64)
        loss = model(torch.randn(8, 16, 64)).square().mean() + aux_loss(model)
        loss.backward()

    Args:
        in_features: size of an input.
        out_features: size of an output.
        depth: of the tree, at least 1.
        leaf_width: hidden units of one leaf.
        bias: whether nodes, hidden units and outputs have a bias.
        activation: of hidden units: "relu", "gelu", "selu", "linear", "prelu", or a function of
            tensors.
        hardening: weight of the batch mean of the summed node entropies, which makes decisions
            firm; see `set_hardening` for a schedule.
        balance: weight of the load-balancing loss of Charalampopoulos et al., arXiv 2405.16836:
            2^d / b² Σ_leaf (summed soft weight · hard count).
        region_leak: in training mode, the probability with which a node's two sides are swapped.
        hard_training: train each leaf on the inputs that the tree sends there; nodes don't learn.
        dropout: in training mode, the probability with which a hidden unit is left out.
        master_leaf_width: hidden units of a leaf that every input visits, 0 for none. The output
            is then k · tree + (1 - k) · master, k = sigmoid(`mix`), a learned number that starts
            at 0 (Charalampopoulos et al., arXiv 2405.16836).
        device: of the parameters.
        dtype: of the parameters.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in).

    Raises:
        ValueError: for a size, probability, weight or activation that is not allowed.

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        depth: int,
        leaf_width: int,
        bias: bool = True,
        activation: Activation = "relu",
        hardening: float = 0.0,
        balance: float = 0.0,
        region_leak: float = 0.0,
        hard_training: bool = False,
        dropout: float = 0.0,
        master_leaf_width: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_sizes(in_features=in_features, out_features=out_features, leaf_width=leaf_width)
        if master_leaf_width != 0:
            check_sizes(master_leaf_width=master_leaf_width)
        check_depth(depth)
        check_weights(hardening=hardening, balance=balance)
        if hard_training and hardening + balance > 0:
            raise ValueError(
                "hard_training = True gives nodes no gradient: hardening and balance have no "
                "meaning with it"
            )
        options: dict[str, Any] = {
            "activation": activation, "dropout": dropout, "bias": bias,
            "device": device, "dtype": dtype, "generator": generator,
        }  # fmt: skip
        gate = TreeGate(
            in_features, depth, bias=bias, region_leak=region_leak, hardening_weight=hardening,
            balance_weight=balance, hard_training=hard_training, device=device, dtype=dtype,
            generator=generator,
        )  # fmt: skip
        experts = MixtureExperts(2**depth, in_features, leaf_width, out_features, **options)
        master = None
        if master_leaf_width:
            master = MixtureExperts(1, in_features, master_leaf_width, out_features, **options)
        super().__init__(gate, experts, master)
        self.depth = depth
        self.leaf_width = leaf_width
        self.master_leaf_width = master_leaf_width

    def leaf(self, x: Tensor) -> Tensor:
        """Return the leaf (...), int64, that each input (..., i) is routed to."""
        return self._tree.leaf(x)

    def usage(self, x: Tensor) -> Tensor:
        """Return how many of the inputs (..., i) go to each leaf, (e,), int64."""
        return count(self.leaf(x), self.n_experts)

    def entropies(self, x: Tensor) -> Tensor:
        """Return each node's mean entropy in nats over inputs (..., i), (n,); 0 where firm."""
        z = self._tree.logits(x)
        entropies = node_entropies(wide(z)).reshape(-1, z.shape[-1])
        mean: Tensor = entropies.sum(0) / max(len(entropies), 1)
        return mean

    def extra_repr(self) -> str:
        """Return what describes the layer."""
        master = f", master_leaf_width={self.master_leaf_width}" if self.master_leaf_width else ""
        return (
            f"{self.in_features}, {self.out_features}, depth={self.depth}, "
            f"leaf_width={self.leaf_width}{master}"
        )

    @property
    def _tree(self) -> TreeGate:
        if not isinstance(self.gate, TreeGate):
            kind = type(self.gate).__name__
            raise TypeError(f"gate: a {kind}; allowed is a TreeGate, whose leaves these are")
        return self.gate


def set_hardening(model: nn.Module, weight: float) -> None:
    """Set the weight of the hardening loss of all trees in a model, for a schedule of one's own.

    A linear warm-up, for example::

        for step, (x, y) in enumerate(batches):
            set_hardening(model, 0.1 * min(step / 1000, 1))

    It becomes a tensor that later calls fill, so that a compiled model is compiled anew the first
    time at most.

    Raises:
        ValueError: for a weight that is negative or not finite, and for a model without trees.

    """
    check_weights(weight=weight)
    gates = [module for module in model.modules() if isinstance(module, TreeGate)]
    if not gates:
        raise ValueError("the model has no TreeGate: set_hardening is for FFF layers")
    if any(gate.hard_training for gate in gates):
        raise ValueError("hard_training = True gives nodes no gradient: it has no hardening")
    for gate in gates:
        gate.set_hardening(weight)


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
