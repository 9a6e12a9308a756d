"""The variants that config files can name.

To add one: an entry here, and where its gate or experts are new, their spec in `spec/layer.py` and
their class in `layers/`. A config can also define a variant in place, with the same fields.
"""

from __future__ import annotations

from typing import get_args

from fastff.spec import (
    HypercubeGateSpec,
    LinearGateSpec,
    MixtureSpec,
    NodeActivation,
    NoisyTopKGateSpec,
    SoftMergedSpec,
    TreeGateSpec,
    Variant,
)

MIXTURE, SOFT_MERGED = MixtureSpec(), SoftMergedSpec()


def _tree_variants(activation: NodeActivation) -> list[Variant]:
    """Return the two FFFs of the study for one node activation, in the transition form."""
    gate = TreeGateSpec(form="transition", node_activation=activation)
    return [
        Variant(
            name=f"fff_mixture_{activation}",
            label=f"FFF, mixture, {activation}",
            gate=gate,
            experts=MIXTURE,
        ),
        Variant(
            name=f"fff_soft_merged_{activation}",
            label=f"FFF, soft-merged, {activation}",
            gate=gate,
            experts=SOFT_MERGED,
        ),
    ]


_OTHER_VARIANTS = [
    Variant(
        name="hypercube_mixture",
        label="hypercube, mixture",
        gate=HypercubeGateSpec(),
        experts=MIXTURE,
    ),
    Variant(
        name="moe_noisy_top2",
        label="MoE, noisy top-2",
        gate=NoisyTopKGateSpec(top_k=2, importance_weight=0.1),
        experts=MIXTURE,
    ),
    Variant(
        name="fff_mixture_learned_transition_top2",
        label="FFF, top-2, learned transition",
        gate=TreeGateSpec(form="learned_transition", top_k=2),
        experts=MIXTURE,
    ),
    *(
        Variant(
            name=f"fff_mixture_top{k}",
            label=f"FFF, top-{k}",
            gate=TreeGateSpec(top_k=k),
            experts=MIXTURE,
        )
        for k in (1, 2, 4, 8)
    ),
]
_LINEAR_VARIANTS = [
    Variant(name="moe_mixture", label="MoE, mixture", gate=LinearGateSpec(), experts=MIXTURE),
    Variant(
        name="moe_soft_merged", label="MoE, soft-merged", gate=LinearGateSpec(), experts=SOFT_MERGED
    ),
    Variant(
        name="moe_top1_renormalised",
        label="MoE, top-1, renormalised",
        gate=LinearGateSpec(top_k=1, renormalise=True),
        experts=MIXTURE,
    ),
    Variant(
        name="moe_top1_switch",
        label="MoE, top-1, Switch",
        gate=LinearGateSpec(top_k=1),
        experts=MIXTURE,
    ),
]

ZOO: dict[str, Variant] = {
    variant.name: variant
    for variant in [
        *_LINEAR_VARIANTS,
        *(variant for name in get_args(NodeActivation) for variant in _tree_variants(name)),
        *_OTHER_VARIANTS,
    ]
}
