"""What a model is, and what sizes of it an experiment goes through.

A model is a routed, feed-forward or node-only layer, alone or around a bottleneck. `train/build.py`
says which class computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from fastff.config.base import Line, Name, Spec, Unique, any_of
from fastff.config.gates import GateSpec

MAX_DEPTH = 20
SIZES = ("depth", "hidden_features")  # that a model can leave open
MAX_BYTES = 2**42  # of a run: more than any machine has
MAX_UNITS = 2**22  # of a model: with 784 inputs they take 13 GB

Depth = Annotated[int, Field(ge=1, le=MAX_DEPTH)]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(ge=0, le=1)]
Depths = Annotated[tuple[Depth, ...], Field(min_length=1), Unique]
Widths = Annotated[tuple[Width, ...], Field(min_length=1), Unique]
Rates = Annotated[tuple[Rate, ...], Field(min_length=1), Unique]
FixedActivation = Literal["relu", "gelu", "selu", "linear"]
ExpertActivation = Literal[FixedActivation, "prelu"]


class Point(NamedTuple):
    """A point of a grid: 2**depth experts of `hidden_features` units each, and a region leak.

    As a model sees it, what the model doesn't have is 0: the depth of a feed-forward layer, the
    hidden units of a convolutional network, the region leak of a layer without a tree.
    """

    depth: int
    hidden_features: int
    region_leak: float = 0.0

    @property
    def n_experts(self) -> int:
        """As many as the depth gives; 1 without a depth."""
        return int(2**self.depth)


class GridPoint(NamedTuple):
    """A point as the grid says it: without `region_leak`, every tree keeps its own."""

    depth: int
    hidden_features: int
    region_leak: float | None = None


class Shape(Spec):
    """A single point's training width and hidden units of an expert."""

    training_width: Width
    hidden_features: Width

    @property
    def depth(self) -> int:
        """The depth of so many experts. Raises ValueError where no tree has as many."""
        n_experts, rest = divmod(self.training_width, self.hidden_features)
        depth = n_experts.bit_length() - 1
        if rest or n_experts != 2**depth or not 1 <= depth <= MAX_DEPTH:
            raise ValueError(
                f"training_width = {self.training_width} with hidden_features = "
                f"{self.hidden_features}: the one must be a power of 2 times the other, at least "
                f"2 and at most 2**{MAX_DEPTH} times"
            )
        return depth

    @model_validator(mode="after")
    def _check_depth(self) -> Shape:
        self.depth  # noqa: B018
        return self


class Grid(Spec):
    """Every depth with every number of hidden units, and with every region leak if there are any.

    A layer of depth d has 2**d experts, whichever its gate. In place of `depth`, `training_width`
    can say how many hidden units all experts have together: 2**depth · hidden_features.

    Attributes:
        also: points beside these.

    """

    depth: Depths | None = None
    training_width: Widths | None = None
    hidden_features: Widths
    region_leak: Rates | None = None
    also: tuple[Shape, ...] = ()

    @model_validator(mode="after")
    def _check_depths(self) -> Grid:
        if (self.depth is None) == (self.training_width is None):
            raise ValueError("one of depth and training_width is needed, and only one")
        self.points()
        return self

    def points(self) -> list[GridPoint]:
        """Return every point, depth or training width first, then those of `also`."""
        if self.depth is not None:
            shapes = [(depth, width) for depth in self.depth for width in self.hidden_features]
        else:
            shapes = [
                (Shape(training_width=total, hidden_features=width).depth, width)
                for total in self.training_width or ()
                for width in self.hidden_features
            ]
        shapes += [(shape.depth, shape.hidden_features) for shape in self.also]
        return [
            GridPoint(depth, hidden_features, leak)
            for depth, hidden_features in dict.fromkeys(shapes)
            for leak in self.region_leak or (None,)
        ]


class GridChange(Spec):
    """What a single variant's grid has in place of the experiment's."""

    depth: Depths | None = None
    training_width: Widths | None = None
    hidden_features: Widths | None = None
    region_leak: Rates | None = None
    also: tuple[Shape, ...] | None = None

    def applied(self, grid: Grid) -> Grid:
        """Return the grid with these values in place of its own.

        A depth takes the place of training widths too, and these that of a depth.
        """
        values = grid.model_dump()
        if self.depth is not None or self.training_width is not None:
            values |= {"depth": None, "training_width": None}
        return Grid(**(values | self.model_dump(exclude_none=True)))


ExpertBias = bool | Literal["hidden", "output"]


class ExpertsSpec(Spec):
    """A bank of experts. Its fields beside `kind` are the arguments of its class.

    `bias` gives one to hidden units and outputs, or to "hidden" units or the "output" alone.
    `output_activation` is of every expert's outputs; that of a merged one is of the merged outputs.
    """

    kind: str


class MixtureSpec(ExpertsSpec):
    """Experts run on their own; the output is the weighted sum of their outputs."""

    kind: Literal["mixture"] = "mixture"
    activation: ExpertActivation = "relu"
    output_activation: FixedActivation = "linear"
    bias: ExpertBias = False
    dropout: float = Field(default=0.0, ge=0, lt=1)


class SoftMergedSpec(ExpertsSpec):
    """Experts are merged by their routing weights into one expert per input (SMEAR)."""

    kind: Literal["soft_merged"] = "soft_merged"
    activation: FixedActivation = "relu"
    output_activation: FixedActivation = "linear"
    bias: ExpertBias = False
    dropout: float = Field(default=0.0, ge=0, lt=1)


if TYPE_CHECKING:
    AnyGateSpec = GateSpec
    AnyExpertsSpec = ExpertsSpec
else:
    AnyGateSpec = any_of(GateSpec)
    AnyExpertsSpec = any_of(ExpertsSpec)


class LayerSpec(Spec):
    """A layer, or two around a bottleneck; sizes that are None are open, and the grid has them."""

    kind: str

    @property
    def parts(self) -> tuple[LayerSpec, ...]:
        """The layers, first to last."""
        return (self,)

    @property
    def shape(self) -> Point:
        """The point of the grid at which this model is, as the tidy tables name it.

        Raises:
            ValueError: where a size is left open.

        """
        depth, hidden_features = (getattr(self, size, 0) for size in SIZES)
        if depth is None or hidden_features is None:
            raise ValueError(f"{self.kind}: a size is open, which `resolved` takes from the grid")
        return Point(depth, hidden_features)

    def resolved(self, point: GridPoint | Point) -> Self:
        """Return the model with all that it leaves open taken from a point of the grid."""
        sizes = {size for size in SIZES if getattr(self, size, 0) is None}
        return self.model_copy(update={size: getattr(point, size) for size in sizes})

    def with_gates(self, **options: float | None) -> Self:
        """Return the model with other options for the gates that have them.

        Raises:
            pydantic.ValidationError: where a gate can't have them.

        """
        return self

    @property
    def widths(self) -> tuple[int, ...]:
        """How many values there are of a sample between inputs and outputs, layer by layer."""
        return ()


class RoutedSpec(LayerSpec):
    """A gate over a bank of 2**depth experts: an FFF with a tree gate, an MoE with a linear one.

    `depth` and `hidden_features` come from the grid, unless they are given here. With
    `master_features` there is one more expert, of so many hidden units, that every input visits;
    a learned share of the output is its own (load-balanced FFF, arXiv 2405.16836).
    """

    kind: Literal["routed"] = "routed"
    gate: AnyGateSpec
    experts: AnyExpertsSpec
    depth: Depth | None = None
    hidden_features: Width | None = None
    master_features: Width | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The hidden units of all experts."""
        return (2**self.shape.depth * self.shape.hidden_features + (self.master_features or 0),)

    @property
    def shape(self) -> Point:
        """The point of the grid at which this model is, with the region leak of its gate."""
        return super().shape._replace(region_leak=getattr(self.gate, "region_leak", 0.0))

    def resolved(self, point: GridPoint | Point) -> Self:
        """Return the model with its sizes and the gate's region leak of a point of the grid."""
        return super().resolved(point).with_gates(region_leak=point.region_leak)

    def with_gates(self, **options: float | None) -> Self:
        """Return the model with other options for its gate, if it has them."""
        return self.model_copy(update={"gate": self.gate.changed(**options)})


class FeedForwardSpec(LayerSpec):
    """A layer with one hidden layer: what the routed ones are compared with.

    `bias` is as an expert's.
    """

    kind: Literal["feed_forward"] = "feed_forward"
    activation: ExpertActivation = "relu"
    bias: ExpertBias = False
    hidden_features: Width | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The hidden units."""
        return (self.shape.hidden_features,)


class NodeTreeSpec(LayerSpec):
    """Parallel trees without leaves, whose nodes are neurons.

    With `leaf_nodes` the tree of depth d has d + 1 levels, its last nodes in the leaves' places
    (UltraFastBERT); without, d levels ("FFF v2" has the activation "linear" as well). `bias` is of
    the nodes; outputs have none. All nodes learn one slope of "prelu" together.
    """

    hidden_features: ClassVar[int] = 1  # of a node

    kind: Literal["node_tree"] = "node_tree"
    leaf_nodes: bool = True
    n_trees: int = Field(default=1, ge=1, le=100_000)
    activation: ExpertActivation = "gelu"
    bias: bool = False
    depth: Depth | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The nodes of all trees."""
        return (self.n_trees * 2 ** (self.shape.depth + self.leaf_nodes),)


class ConvolutionalSpec(LayerSpec):
    """A small convolutional network: 3 x 3 convolutions, ReLU and 2 x 2 max-pooling, then linear.

    `channels` are those of each convolution's output.
    """

    kind: Literal["convolutional"] = "convolutional"
    channels: tuple[Width, ...] = Field(default=(8, 16), min_length=1, max_length=4)

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels."""
        return self.channels


class StridedConvolutionalSpec(LayerSpec):
    """The study's convolutional network: 3 x 3 convolutions of stride 2, then a hidden layer.

    All with PReLU and biases. `channels` are those of each convolution's output.
    """

    kind: Literal["strided_convolutional"] = "strided_convolutional"
    channels: tuple[Width, ...] = Field(default=(4, 8, 16, 16), min_length=1, max_length=8)
    hidden_features: Width = 256

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels, and the hidden units."""
        return (*self.channels, self.hidden_features)


class LinearSpec(LayerSpec):
    """A linear map, by default without bias."""

    kind: Literal["linear"] = "linear"
    bias: bool = False


PartSpec = Annotated[
    RoutedSpec
    | FeedForwardSpec
    | NodeTreeSpec
    | ConvolutionalSpec
    | StridedConvolutionalSpec
    | LinearSpec,
    Field(discriminator="kind"),
]


class BottleneckSpec(LayerSpec):
    """A model in two parts with few features between them, to be looked at: 2 are a plane.

    `activation` is of the features; "prelu" learns one slope for all of them.

    What is recorded and counted of routing is that of the part that routes: `body`, or `head`
    where the body doesn't.
    """

    kind: Literal["bottleneck"] = "bottleneck"
    body: PartSpec
    head: PartSpec = LinearSpec()
    features: int = Field(default=2, ge=1, le=1_000_000)
    activation: Literal["linear", "relu", "prelu"] = "linear"

    @field_validator("head")
    @classmethod
    def _check_head(cls, value: PartSpec) -> PartSpec:
        if isinstance(value, ConvolutionalSpec | StridedConvolutionalSpec):
            raise ValueError(f"the head sees features, not images: it can't be {value.kind!r}")
        return value

    @property
    def routed(self) -> PartSpec:
        """The part whose routing counts, and that the grid's sizes are for."""
        routes = isinstance(self.head, RoutedSpec | NodeTreeSpec)
        return self.head if routes and self.body.kind not in ("routed", "node_tree") else self.body

    @property
    def widths(self) -> tuple[int, ...]:
        """Those of the body, the features, and those of the head."""
        return (*self.body.widths, self.features, *self.head.widths)

    @property
    def parts(self) -> tuple[LayerSpec, ...]:
        """Body and head."""
        return (self.body, self.head)

    @property
    def shape(self) -> Point:
        """That of the part that routes."""
        return self.routed.shape

    def resolved(self, point: GridPoint | Point) -> Self:
        """Return the model with both parts resolved at the shape of the part that routes."""
        shape = self.routed.resolved(point).shape
        return self._with_parts(self.body.resolved(shape), self.head.resolved(shape))

    def with_gates(self, **options: float | None) -> Self:
        """Return the model with other options for the gates of both parts that have them."""
        return self._with_parts(self.body.with_gates(**options), self.head.with_gates(**options))

    def _with_parts(self, body: PartSpec, head: PartSpec) -> Self:
        return self.model_copy(update={"body": body, "head": head})


class VisionTransformerSpec(LayerSpec):
    """A vision transformer, each of whose feed-forward layers is `feed_forward`.

    An image is cut into patches of `patch` pixels a side, each a token of `width` features.
    `dropout` is of the tokens before the first block. What is recorded and counted of routing is
    that of the class token in the last block.
    """

    kind: Literal["vision_transformer"] = "vision_transformer"
    feed_forward: Annotated[RoutedSpec | FeedForwardSpec, Field(discriminator="kind")]
    n_blocks: int = Field(default=4, ge=1, le=100)
    patch: int = Field(default=4, ge=1, le=1024)
    width: Width = 128
    n_heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.n_heads:
            raise ValueError(f"n_heads = {self.n_heads}: must divide width = {self.width}")
        return self

    @property
    def routed(self) -> RoutedSpec | FeedForwardSpec:
        """The part that the grid's sizes are for."""
        return self.feed_forward

    @property
    def parts(self) -> tuple[LayerSpec, ...]:
        """The feed-forward layer."""
        return (self.feed_forward,)

    @property
    def shape(self) -> Point:
        """That of a feed-forward layer."""
        return self.feed_forward.shape

    def resolved(self, point: GridPoint | Point) -> Self:
        """Return the model with its feed-forward layers resolved."""
        return self.model_copy(update={"feed_forward": self.feed_forward.resolved(point)})

    def with_gates(self, **options: float | None) -> Self:
        """Return the model with other options for its gates, if they have them."""
        changed = self.feed_forward.with_gates(**options)
        return self.model_copy(update={"feed_forward": changed})


ModelSpec = Annotated[
    RoutedSpec
    | FeedForwardSpec
    | NodeTreeSpec
    | ConvolutionalSpec
    | StridedConvolutionalSpec
    | LinearSpec
    | BottleneckSpec
    | VisionTransformerSpec,
    Field(discriminator="kind"),
]


def check_bytes(widths: Sequence[int], batch: int) -> None:
    """Raise ValueError for a training that needs more memory than any machine has.

    That is, in float32, weights, gradients and Adam's two moments between layers of `widths`
    values, and all of these values for a batch, forward and backward.
    """
    n_parameters = sum(one * other for one, other in pairwise(widths))
    n_bytes = 4 * (4 * n_parameters + 2 * batch * sum(widths))
    if n_bytes > MAX_BYTES:
        shown = " x ".join(f"{width:,}" for width in widths)
        raise ValueError(
            f"layers of {shown} values with batches of {batch:,} take some "
            f"{n_bytes / 2**30:,.0f} GiB; at most {MAX_BYTES / 2**30:,.0f} are allowed"
        )


class Variant(Spec):
    """A named model. Sizes that it leaves open come from the grid."""

    name: Name
    label: Line = Field(min_length=1, max_length=60)
    model: ModelSpec

    def models(self, grid: Grid) -> list[ModelSpec]:
        """Return the models at the points of a grid, each once and with nothing left open.

        Raises:
            pydantic.ValidationError: where a gate can't have a point's region leak.

        """
        models: dict[Point, ModelSpec] = {}
        for point in grid.points():
            model = self.model.resolved(point)
            models.setdefault(model.shape, model)
        return list(models.values())

    def check_models(self, grid: Grid) -> None:
        """Raise ValueError for a grid where models are too large, or have too few experts."""
        models = self.models(grid)
        for depth, hidden_features, _ in (model.shape for model in models):
            if (n_units := 2**depth * hidden_features) > MAX_UNITS:
                raise ValueError(
                    f"variant {self.name!r}: grid.depth {depth} with grid.hidden_features "
                    f"{hidden_features} makes {n_units:,} hidden units; at most {MAX_UNITS:,} are "
                    "allowed"
                )
        for part in min(models, key=lambda model: model.shape.depth).parts:
            if isinstance(part, RoutedSpec):
                try:
                    part.gate.check_experts(part.shape.n_experts)
                except ValueError as error:
                    at = f"variant {self.name!r} at depth {part.depth}"
                    raise ValueError(f"{at}: {error}") from None

    def check_bytes(self, grid: Grid, in_features: int, out_features: int, batch: int) -> None:
        """Raise ValueError where a run of the grid would need more memory than any machine has."""
        for model in self.models(grid):
            try:
                check_bytes((in_features, *model.widths, out_features), batch)
            except ValueError as error:
                raise ValueError(f"variant {self.name!r}: {error}") from None

    @property
    def has_tree(self) -> bool:
        """Whether it has a tree, whose nodes can be recorded."""
        return any(
            isinstance(part, NodeTreeSpec) or (isinstance(part, RoutedSpec) and part.gate.has_tree)
            for part in self.model.parts
        )

    def with_gates(self, **options: float) -> Variant:
        """Return the variant with other options for all its gates that have them.

        Raises:
            pydantic.ValidationError: where a gate can't have them.

        """
        return self.model_copy(update={"model": self.model.with_gates(**options)})
