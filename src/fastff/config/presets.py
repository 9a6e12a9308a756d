"""The variants that config files can name.

To add one: an entry here, and where its gate, experts or model are new, their spec in `config/` and
their class in `layers/`. A config can also define a variant in place, with the same fields.
"""

from __future__ import annotations

from typing import get_args

from fastff.config.display import displayed
from fastff.config.gates import (
    GateSpec,
    HypercubeGateSpec,
    LinearGateSpec,
    NodeActivation,
    NoisyTopKGateSpec,
    TreeGateSpec,
)
from fastff.config.model import (
    BottleneckSpec,
    ConvolutionalSpec,
    ExpertsSpec,
    FeedForwardSpec,
    MixtureSpec,
    ModelSpec,
    NodeTreeSpec,
    RoutedSpec,
    SoftMergedSpec,
    Variant,
)

MIXTURE, SOFT_MERGED = MixtureSpec(), SoftMergedSpec()
WIDE = FeedForwardSpec(hidden_features=256)  # the study's feed-forward network


def _variant(name: str, label: str, model: ModelSpec) -> Variant:
    return Variant(name=name, label=label, model=model)


def _routed(name: str, label: str, gate: GateSpec, experts: ExpertsSpec = MIXTURE) -> Variant:
    return _variant(name, label, RoutedSpec(gate=gate, experts=experts))


def _tree_variants(activation: NodeActivation) -> list[Variant]:
    """Return the two FFFs of the study for one node activation, in the transition form."""
    gate = TreeGateSpec(form="transition", node_activation=activation)
    label = f"FFF, {displayed(activation)}"
    return [
        _routed(f"fff_mixture_{activation}", label, gate),
        _routed(f"fff_soft_merged_{activation}", f"{label}, merged", gate, SOFT_MERGED),
    ]


_VARIANTS = [
    _routed("moe_mixture", "MoE", LinearGateSpec()),
    _routed("moe_soft_merged", "MoE, merged", LinearGateSpec(), SOFT_MERGED),
    _routed(
        "moe_top1_renormalised",
        "MoE, top-1, renormalised",
        LinearGateSpec(top_k=1, renormalise=True),
    ),
    _routed("moe_top1_switch", "MoE, top-1, Switch", LinearGateSpec(top_k=1)),
    *(variant for name in get_args(NodeActivation) for variant in _tree_variants(name)),
    _routed("hypercube_mixture", "hypercube", HypercubeGateSpec()),
    _routed(
        "moe_noisy_top2",
        "MoE, noisy top-2",
        NoisyTopKGateSpec(top_k=2, importance_weight=0.1),
    ),
    _routed(
        "fff_mixture_learned_transition_top2",
        "FFF, top-2, learned transition",
        TreeGateSpec(form="learned_transition", top_k=2),
    ),
    *(_routed(f"fff_mixture_top{k}", f"FFF, top-{k}", TreeGateSpec(top_k=k)) for k in (1, 2, 4, 8)),
    _routed("fff_mixture_product", "FFF, product form", TreeGateSpec(form="product")),
    _routed("fff_mixture_log", "FFF, log-sigmoid", TreeGateSpec(form="log")),
    _routed(
        "fff_mixture_leak30",
        "FFF, region leak 0.3",
        TreeGateSpec(form="product", region_leak=0.3),
    ),
    *(
        _variant(
            f"mlp_{activation}",
            f"feed-forward, {displayed(activation)}",
            FeedForwardSpec(activation=activation),
        )
        for activation in ("relu", "selu", "gelu", "prelu")
    ),
    _variant("node_tree_gelu", "node tree, GELU", NodeTreeSpec()),
    _variant(
        "node_tree_linear", "node tree, linear", NodeTreeSpec(leaf_nodes=False, activation="linear")
    ),
    _variant("node_trees_32", "32 node trees", NodeTreeSpec(n_trees=32)),
    _variant("mlp_to_plane", "feed-forward", BottleneckSpec(body=WIDE)),
    _variant(
        "fff_to_plane",
        "FFF",
        BottleneckSpec(body=RoutedSpec(gate=TreeGateSpec(), experts=MIXTURE)),
    ),
    _variant("node_trees_to_plane", "8 node trees", BottleneckSpec(body=NodeTreeSpec(n_trees=8))),
    _variant("cnn_to_plane", "CNN", BottleneckSpec(body=ConvolutionalSpec())),
    _variant(
        "fff_on_plane",
        "FFF on a plane",
        BottleneckSpec(body=WIDE, head=RoutedSpec(gate=TreeGateSpec(bias=True), experts=MIXTURE)),
    ),
]

PRESETS: dict[str, Variant] = {variant.name: variant for variant in _VARIANTS}
