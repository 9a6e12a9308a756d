"""What a model and a training job are, as validated, frozen values.

These are all that config files can say about a model or a run, and all that the engine reads. The
package imports no torch, so that a workflow can validate a config in a moment.
"""

from fastff.spec.base import (
    FOLDER_PATTERN,
    NAME_PATTERN,
    Folder,
    Name,
    Spec,
    require_unique,
    unknown,
)
from fastff.spec.gates import (
    GateSpec,
    HypercubeGateSpec,
    LinearGateSpec,
    NodeActivation,
    NoisyTopKGateSpec,
    TreeGateSpec,
)
from fastff.spec.grid import MAX_DEPTH, Grid, GridChange, GridPoint, Point
from fastff.spec.job import Recording, Seeds, Sized, TrainSpec
from fastff.spec.layer import ExpertsSpec, MixtureSpec, SoftMergedSpec
from fastff.spec.model import (
    BottleneckSpec,
    ConvolutionalSpec,
    FeedForwardSpec,
    LinearSpec,
    ModelSpec,
    NodeTreeSpec,
    PartSpec,
    RoutedSpec,
    Variant,
)
from fastff.spec.recipe import (
    AdamWSpec,
    ConstantSpec,
    EarlyStoppingSpec,
    OneCycleSpec,
    PlateauSpec,
    Recipe,
    SgdSpec,
)

__all__ = [
    "FOLDER_PATTERN",
    "MAX_DEPTH",
    "NAME_PATTERN",
    "AdamWSpec",
    "BottleneckSpec",
    "ConstantSpec",
    "ConvolutionalSpec",
    "EarlyStoppingSpec",
    "ExpertsSpec",
    "FeedForwardSpec",
    "Folder",
    "GateSpec",
    "Grid",
    "GridChange",
    "GridPoint",
    "HypercubeGateSpec",
    "LinearGateSpec",
    "LinearSpec",
    "MixtureSpec",
    "ModelSpec",
    "Name",
    "NodeActivation",
    "NodeTreeSpec",
    "NoisyTopKGateSpec",
    "OneCycleSpec",
    "PartSpec",
    "PlateauSpec",
    "Point",
    "Recipe",
    "Recording",
    "RoutedSpec",
    "Seeds",
    "SgdSpec",
    "Sized",
    "SoftMergedSpec",
    "Spec",
    "TrainSpec",
    "TreeGateSpec",
    "Variant",
    "require_unique",
    "unknown",
]
