"""Gates, banks of experts, and the layers they make: ordinary modules for any model."""

from fastff.layers.build import build_experts, build_gate, build_layer
from fastff.layers.experts import Experts
from fastff.layers.gate import Gate
from fastff.layers.hypercube_gate import HypercubeGate
from fastff.layers.linear_gate import LinearGate
from fastff.layers.mixture import MixtureExperts
from fastff.layers.node_tree import NodeTree
from fastff.layers.noisy_top_k_gate import NoisyTopKGate
from fastff.layers.routed import RoutedLayer
from fastff.layers.soft_merged import SoftMergedExperts
from fastff.layers.tree_gate import TreeGate

__all__ = [
    "Experts",
    "Gate",
    "HypercubeGate",
    "LinearGate",
    "MixtureExperts",
    "NodeTree",
    "NoisyTopKGate",
    "RoutedLayer",
    "SoftMergedExperts",
    "TreeGate",
    "build_experts",
    "build_gate",
    "build_layer",
]
