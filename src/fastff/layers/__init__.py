"""Gates, banks of experts, and the layers they make: ordinary modules for any model."""

from fastff.layers.bottleneck import Bottleneck
from fastff.layers.convolutional import Convolutional
from fastff.layers.experts import Experts
from fastff.layers.feed_forward import FeedForward
from fastff.layers.fff import FFF, set_hardening
from fastff.layers.gate import Gate
from fastff.layers.hypercube_gate import HypercubeGate
from fastff.layers.layer import Layer
from fastff.layers.linear_gate import LinearGate
from fastff.layers.linear_layer import LinearLayer
from fastff.layers.losses import aux_loss
from fastff.layers.mixture import MixtureExperts
from fastff.layers.moe import MoE
from fastff.layers.node_tree import NodeTree
from fastff.layers.noisy_top_k_gate import NoisyTopKGate
from fastff.layers.pretrained import load_fastfeedforward
from fastff.layers.routed import MasterLeafLayer, RoutedLayer
from fastff.layers.soft_merged import SoftMergedExperts
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
