"""What a layer and a training job are, as validated, frozen values.

These models are all that config files can say about a layer or a run, and all that the engine
reads. The package imports no torch, so that a workflow can validate a config in a moment.
"""

from fastff.spec.base import NAME_PATTERN, Name, Spec, require_unique, unknown
from fastff.spec.job import MAX_DEPTH, Grid, Recipe, Recording, Seeds, Shape, TrainSpec
from fastff.spec.layer import (
    ExpertsSpec,
    GateSpec,
    HypercubeGateSpec,
    LinearGateSpec,
    MixtureSpec,
    NodeActivation,
    NoisyTopKGateSpec,
    SoftMergedSpec,
    TreeGateSpec,
    Variant,
)

__all__ = [
    "MAX_DEPTH",
    "NAME_PATTERN",
    "ExpertsSpec",
    "GateSpec",
    "Grid",
    "HypercubeGateSpec",
    "LinearGateSpec",
    "MixtureSpec",
    "Name",
    "NodeActivation",
    "NoisyTopKGateSpec",
    "Recipe",
    "Recording",
    "Seeds",
    "Shape",
    "SoftMergedSpec",
    "Spec",
    "TrainSpec",
    "TreeGateSpec",
    "Variant",
    "require_unique",
    "unknown",
]
