"""Gates, banks of experts, and the layers they make: ordinary modules for any model."""

from fastff.layers.dense import Convolutional, FeedForward, LinearLayer
from fastff.layers.experts import Experts, MixtureExperts, SoftMergedExperts
from fastff.layers.fff import FFF, load_fastfeedforward, set_hardening
from fastff.layers.gate import Gate
from fastff.layers.layer import Bottleneck, Layer
from fastff.layers.losses import aux_loss
from fastff.layers.moe import MoE
from fastff.layers.node_tree import NodeTree
from fastff.layers.routed import MasterLeafLayer, RoutedLayer
from fastff.layers.softmax_gates import HypercubeGate, LinearGate, NoisyTopKGate
from fastff.layers.strided_convolutional import StridedConvolutional
from fastff.layers.tree_gate import TreeGate

__all__ = [
    "FFF",
    "Bottleneck",
    "Convolutional",
    "Experts",
    "FeedForward",
    "Gate",
    "HypercubeGate",
    "Layer",
    "LinearGate",
    "LinearLayer",
    "MasterLeafLayer",
    "MixtureExperts",
    "MoE",
    "NodeTree",
    "NoisyTopKGate",
    "RoutedLayer",
    "SoftMergedExperts",
    "StridedConvolutional",
    "TreeGate",
    "aux_loss",
    "load_fastfeedforward",
    "set_hardening",
]
