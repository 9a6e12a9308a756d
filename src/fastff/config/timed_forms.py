"""The forms that benchmarks can time, and their labels in figures."""

from __future__ import annotations

from collections.abc import Mapping

TIMED_FORMS: Mapping[str, Mapping[str, str]] = {
    "gate": {
        "product": "tree, product",
        "log": "tree, log",
        "transition": "tree, transition matrix",
        "descent": "hard descent, step by step",
        "descent_fused": "hard descent, kernel",
        "linear": "linear (MoE)",
    },
    "experts": {
        "experts_sequential": "loop over experts",
        "experts_gathered": "gathered weights, batched",
        "experts_dense": "all experts, weighted",
        "experts_fused": "chosen experts, kernel",
    },
    "layer": {
        "dense": "feed-forward",
        "moe_gathered": "MoE, gathered weights",
        "moe_grouped": "MoE, torch's grouped product",
        "moe_top1": "MoE, kernel",
        "fff_package": "FFF, paper's package",
        "fff_gathered": "FFF, step by step",
        "fff": "FFF, kernel",
        "node_tree_gathered": "node tree, step by step",
        "node_tree": "node tree, kernel",
    },
    "train_step": {
        "dense": "feed-forward",
        "node_tree": "node tree, kernel",
        "fff": "FFF, kernel",
    },
}
