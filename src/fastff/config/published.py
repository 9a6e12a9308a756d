"""The models as published, by the names that config files give them.

As `presets.PRESETS`, for the experiments that repeat a publication: the FastFF study on MNIST, the
FFF paper's tables, and the load-balanced FFF. Every bias is one that the published model has.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from fastff.config.gates import (
    GateSpec,
    HypercubeGateSpec,
    LinearGateSpec,
    NoisyTopKGateSpec,
    TreeGateSpec,
)
from fastff.config.model import (
    BottleneckSpec,
    FeedForwardSpec,
    LinearSpec,
    MixtureSpec,
    ModelSpec,
    NodeTreeSpec,
    PartSpec,
    RoutedSpec,
    StridedConvolutionalSpec,
    Variant,
)

BIASED = MixtureSpec(bias=True)
RELU_OUTPUTS = MixtureSpec(bias=True, output_activation="relu")
GELU_OUTPUTS = MixtureSpec(bias=True, activation="gelu", output_activation="gelu")
HEAD = LinearSpec(bias=True)
HardeningReduction = Literal["sum", "batch_mean", "mean"]
HARDENING_WEIGHTS = (0.1, 1.0, 3.0, 10.0)


def _variant(name: str, label: str, model: ModelSpec) -> Variant:
    return Variant(name=name, label=label, model=model)


def _routed(name: str, label: str, gate: GateSpec, **options: Any) -> Variant:
    return _variant(name, label, RoutedSpec(gate=gate, **{"experts": BIASED} | options))


def _to_plane(name: str, label: str, body: PartSpec) -> Variant:
    """Return a model whose two features get a PReLU and a linear head with biases."""
    return _variant(name, label, BottleneckSpec(body=body, head=HEAD, activation="prelu"))


def _tree(**options: Any) -> TreeGateSpec:
    """Return the gate of the FFF paper's package: products of sigmoids, nodes with biases."""
    package: dict[str, Any] = {"form": "product", "bias": True}
    return TreeGateSpec(**package | options)


def _hardened() -> list[Variant]:
    """Return FFFs by weight and reduction of the hardening loss."""
    found = [_routed("hardening_0", "FFF, no hardening", _tree())]
    for reduction in get_args(HardeningReduction):
        for weight in HARDENING_WEIGHTS:
            text = f"{weight:g}"
            gate = _tree(hardening_weight=weight, hardening_reduction=reduction)
            name = f"hardening_{reduction}_{text.replace('.', '_')}"
            found.append(_routed(name, f"{reduction.replace('_', ' ')}, {text}", gate))
    return found


_TOP_2: dict[str, Any] = {"top_k": 2, "renormalise": True}

_VARIANTS = [
    # FastFF study on MNIST
    _variant("study_mlp", "feed-forward, 256", FeedForwardSpec(bias=True)),
    _routed("study_fff_product", "FFF, product form", _tree()),
    _routed("study_fff_leak01", "FFF, region leak 0.01", _tree(region_leak=0.01)),
    _routed("study_fff_leak30", "FFF, region leak 0.3", _tree(region_leak=0.3)),
    _routed("study_fff_log", "FFF, log-sigmoid", _tree(form="log")),
    _routed("study_moe", "MoE", LinearGateSpec()),
    _routed("study_moe_relu", "MoE, ReLU logits", LinearGateSpec(logit_activation="relu")),
    _routed(
        "study_hypercube", "hypercube, ReLU logits", HypercubeGateSpec(logit_activation="relu")
    ),
    _routed(
        "study_fff_top2",
        "FFF, top-2",
        TreeGateSpec(form="transition", **_TOP_2),
        experts=MixtureSpec(),
    ),
    _variant(
        "study_node_tree",
        "node tree, linear",
        NodeTreeSpec(leaf_nodes=False, activation="linear"),
    ),
    _routed(
        "study_learned_transition",
        "FFF, top-2, learned transition",
        TreeGateSpec(form="learned_transition", transition_start="uniform", **_TOP_2),
        experts=MixtureSpec(),
    ),
    # As the commits have them that first stored their values.
    _routed(
        "study_fff_log_relu_outputs",
        "FFF, log form, ReLU outputs",
        _tree(form="log"),
        experts=RELU_OUTPUTS,
    ),
    _routed(
        "study_moe_relu_outputs",
        "MoE, ReLU logits, outputs",
        LinearGateSpec(logit_activation="relu"),
        experts=RELU_OUTPUTS,
    ),
    _routed(
        "study_hypercube_relu_outputs",
        "hypercube, ReLU logits, outputs",
        HypercubeGateSpec(logit_activation="relu"),
        experts=RELU_OUTPUTS,
    ),
    _routed(
        "study_moe_small_relu_outputs",
        "MoE, 4 x 64, ReLU logits, outputs",
        LinearGateSpec(logit_activation="relu"),
        experts=RELU_OUTPUTS,
    ),
    _routed(
        "study_fff_small_relu_outputs",
        "FFF, 4 x 64, ReLU logits, outputs",
        TreeGateSpec(logit_activation="relu"),
        experts=RELU_OUTPUTS,
    ),
    _routed(
        "study_fff_64_relu_outputs",
        "own FFF, 4 x 64, ReLU outputs",
        _tree(form="log"),
        experts=RELU_OUTPUTS,
    ),
    _routed(
        "study_fff_64_gelu_outputs",
        "own FFF, 4 x 64, GELU outputs, node dropout",
        _tree(form="log", logit_dropout=0.2),
        experts=GELU_OUTPUTS,
    ),
    _routed(
        "study_fff_64_gelu",
        "package's FFF, 4 x 64, GELU",
        _tree(),
        experts=MixtureSpec(bias=True, activation="gelu"),
    ),
    _routed("study_moe_small", "MoE, 4 x 64", LinearGateSpec(logit_activation="relu")),
    _routed("study_fff_small", "FFF, 4 x 64", _tree(form="log")),
    _to_plane(
        "study_mlp_to_plane",
        "feed-forward to a plane",
        FeedForwardSpec(hidden_features=256, activation="prelu", bias=True),
    ),
    _to_plane("study_fff_to_plane", "FFF to a plane", RoutedSpec(gate=_tree(), experts=BIASED)),
    _to_plane(
        "study_node_trees_to_plane",
        "8 node trees to a plane",
        NodeTreeSpec(n_trees=8, activation="prelu", bias=True),
    ),
    _to_plane("study_cnn_to_plane", "CNN to a plane", StridedConvolutionalSpec()),
    _variant(
        "study_fff_on_plane",
        "FFF on a plane",
        BottleneckSpec(
            body=FeedForwardSpec(hidden_features=64, bias=True),
            head=RoutedSpec(gate=_tree(region_leak=0.3), experts=BIASED),
            activation="relu",
        ),
    ),
    _variant(
        "study_node_trees", "32 node trees", NodeTreeSpec(n_trees=32, activation="prelu", bias=True)
    ),
    # FFF paper, Tables 1 and 2. Its hardening loss is a sum over the batch and the nodes, added to
    # the prediction loss. We divide both by the batch.
    _routed("paper_fff", "FFF", _tree(hardening_weight=3.0)),
    # Two other readings: hardening by the mean over batch and nodes, which is the package's, and
    # leaves without biases.
    _routed(
        "paper_fff_mean",
        "FFF, mean entropy",
        _tree(hardening_weight=3.0, hardening_reduction="mean"),
    ),
    _routed(
        "paper_fff_unbiased",
        "FFF, leaves without biases",
        _tree(hardening_weight=3.0),
        experts=MixtureSpec(),
    ),
    _routed("paper_fff_table2", "FFF, leaves of 32", _tree(hardening_weight=3.0)),
    _routed(
        "paper_moe",
        "MoE, noisy top-2",
        NoisyTopKGateSpec(top_k=2, importance_weight=0.1, load_weight=0.1),
    ),
    _variant("paper_mlp", "feed-forward", FeedForwardSpec(bias=True)),
    # Load-balanced FFF; its recipe has the weights of the losses.
    _routed("plain_fff", "FFF", _tree()),
    _routed("hardened_fff", "FFF, hardened", _tree(hardening_reduction="mean")),
    _routed("balanced_fff", "FFF, balanced", _tree(hardening_reduction="mean")),
    _routed(
        "master_leaf_fff",
        "FFF, balanced, master leaf",
        _tree(hardening_reduction="mean"),
        master_features=8,
    ),
    *_hardened(),
]

PUBLISHED: dict[str, Variant] = {variant.name: variant for variant in _VARIANTS}
