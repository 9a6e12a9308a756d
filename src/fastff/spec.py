"""What a layer and a training job are, as validated, frozen values.

These models are all that config files can say about a layer or a run, and all that the engine
reads. The module imports no torch, so that a workflow can validate a config in a moment.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fastff.data.names import DATASET_NAMES

MAX_DEPTH = 20
NAME_PATTERN = r"^[a-z][a-z0-9_]*$"

T = TypeVar("T")

Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(min_length=1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
NodeActivation = Literal["logsigmoid", "softplus", "relu", "linear"]
ExpertActivation = Literal["relu", "gelu", "selu", "linear"]


class Spec(BaseModel):
    """A frozen value that refuses unknown keys, wrong types and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_mapping(cls, value: Any) -> Any:
        """Say which keys there are for an unknown one, and take YAML's lists as tuples."""
        if not isinstance(value, dict):
            return value
        for key in value:
            if key not in cls.model_fields:
                raise ValueError(unknown(f"key {key!r}", key, cls.model_fields))
        return {key: tuple(x) if isinstance(x, list) else x for key, x in value.items()}


def _check_renormalise(gate: LinearGateSpec | HypercubeGateSpec | TreeGateSpec) -> None:
    if gate.renormalise and gate.top_k is None:
        raise ValueError("renormalise = true has no meaning without top_k; set top_k too")


class LinearGateSpec(Spec):
    """Softmax over one logit per expert: the gate of a mixture of experts.

    `top_k` keeps the k best experts; `renormalise` chooses between a softmax over the selected
    logits only (with k = 1 a constant weight of 1) and the selected entries of the full softmax
    (Switch).
    """

    kind: Literal["linear"] = "linear"
    top_k: int | None = Field(default=None, ge=1)
    renormalise: bool = False

    @model_validator(mode="after")
    def _check_renormalise(self) -> LinearGateSpec:
        _check_renormalise(self)
        return self


class NoisyTopKGateSpec(Spec):
    """The linear gate with learned noise and renormalised top-k, and its two balancing losses."""

    kind: Literal["noisy_top_k"] = "noisy_top_k"
    top_k: int = Field(ge=1)
    importance_weight: float = Field(default=0.0, ge=0)
    load_weight: float = Field(default=0.0, ge=0)


class HypercubeGateSpec(Spec):
    """One logit per level and an expert per pattern of their signs; `top_k` as in the linear."""

    kind: Literal["hypercube"] = "hypercube"
    top_k: int | None = Field(default=None, ge=1)
    renormalise: bool = False

    @model_validator(mode="after")
    def _check_renormalise(self) -> HypercubeGateSpec:
        _check_renormalise(self)
        return self


class TreeGateSpec(Spec):
    """A binary tree of 2**depth leaves, every node one linear logit: the gate of an FFF.

    `form` names how the leaf probabilities are computed. Only the transition forms read
    `node_activation`; the others are the product of sigmoids by definition. `top_k` keeps the
    best leaves in the soft form; region leak, hardening and hard training are the paper's.
    """

    kind: Literal["tree"] = "tree"
    form: Literal["product", "log", "transition", "learned_transition"] = "log"
    node_activation: NodeActivation = "logsigmoid"
    top_k: int | None = Field(default=None, ge=1)
    renormalise: bool = False
    region_leak: float = Field(default=0.0, ge=0, le=1)
    hardening_weight: float = Field(default=0.0, ge=0)
    hard_training: bool = False

    @model_validator(mode="after")
    def _check_combination(self) -> TreeGateSpec:
        _check_renormalise(self)
        if "transition" not in self.form and self.node_activation != "logsigmoid":
            raise ValueError(
                f"node_activation = {self.node_activation!r} needs form = 'transition'; "
                f"the {self.form} form is 'logsigmoid' by definition"
            )
        if self.hard_training and (self.top_k is not None or self.hardening_weight > 0):
            raise ValueError(
                "hard_training = true takes one leaf and gives its nodes no gradient, so that "
                "neither top_k nor hardening_weight has a meaning with it"
            )
        return self


class MixtureSpec(Spec):
    """Experts run on their own; the output is the weighted sum of their outputs."""

    kind: Literal["mixture"] = "mixture"
    activation: ExpertActivation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)


class SoftMergedSpec(Spec):
    """Experts are merged by their routing weights into one expert per input (SMEAR)."""

    kind: Literal["soft_merged"] = "soft_merged"
    activation: ExpertActivation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)


GateSpec = Annotated[
    LinearGateSpec | NoisyTopKGateSpec | HypercubeGateSpec | TreeGateSpec,
    Field(discriminator="kind"),
]
ExpertsSpec = Annotated[MixtureSpec | SoftMergedSpec, Field(discriminator="kind")]


class Variant(Spec):
    """A named combination of a gate and an expert bank. Depth and width come from the grid."""

    name: Name
    label: str = Field(min_length=1, max_length=60)
    gate: GateSpec
    experts: ExpertsSpec


class Recipe(Spec):
    """How a run is trained: AdamW under a one-cycle schedule (the study's recipe).

    Attributes:
        epochs: passes over the training data.
        batch_size: samples per step. The last, incomplete batch of an epoch is left out; the
            order changes every epoch, so no sample is left out for good.
        learning_rate: the peak of the schedule.
        betas: AdamW's decay rates. The first is overwritten by the momentum cycle.
        warm_up: share of the steps in which the rate rises.
        start_divisor: the first rate is `learning_rate / start_divisor`.
        end_divisor: the last rate is `learning_rate / end_divisor`.
        momentum: highest and lowest first beta; it falls while the rate rises.

    """

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    learning_rate: float = Field(gt=0, le=10)
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = Field(default=1e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    start_divisor: float = Field(default=25.0, ge=1)
    end_divisor: float = Field(default=1e5, ge=1)
    momentum: tuple[float, float] = (0.95, 0.85)

    @field_validator("betas", "momentum")
    @classmethod
    def _check_rates(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= rate < 1 for rate in value):
            raise ValueError("both numbers must be at least 0 and below 1")
        return value


class Shape(NamedTuple):
    """The size of a layer: 2**depth experts of `hidden_features` units each."""

    depth: int
    hidden_features: int


class Grid(Spec):
    """The shapes of an experiment: every depth with every number of hidden units.

    A layer of depth d has 2**d experts, whichever its gate.
    """

    depth: tuple[Annotated[int, Field(ge=1, le=MAX_DEPTH)], ...] = Field(min_length=1)
    hidden_features: tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...] = Field(min_length=1)

    @field_validator("depth", "hidden_features")
    @classmethod
    def _check_unique(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return require_unique(value)

    def shapes(self) -> list[Shape]:
        """Return every shape, depth first."""
        return [Shape(d, h) for d in self.depth for h in self.hidden_features]


class TrainSpec(Spec):
    """One training job: a variant over a grid of shapes and a list of seeds."""

    experiment: Name
    dataset: Literal[DATASET_NAMES]  # type: ignore[valid-type]
    variant: Variant
    grid: Grid
    seeds: Seeds
    recipe: Recipe

    @model_validator(mode="after")
    def _check_top_k(self) -> TrainSpec:
        gate, fewest = self.variant.gate, 2 ** min(self.grid.depth)
        where = f"depth {min(self.grid.depth)} has only {fewest} experts"
        if gate.top_k is not None and gate.top_k > fewest:
            raise ValueError(f"variant {self.variant.name!r} has top_k = {gate.top_k}, but {where}")
        if isinstance(gate, NoisyTopKGateSpec) and gate.load_weight > 0 and gate.top_k == fewest:
            raise ValueError(
                f"variant {self.variant.name!r}: load_weight > 0 needs an expert that is left "
                f"out, but top_k = {gate.top_k} and {where}"
            )
        return self


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return the message for a name that is none of `allowed`, with the likeliest one meant."""
    allowed = list(allowed)
    close = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ";"
    return f"unknown {what}{hint} allowed: {', '.join(allowed)}"


def require_unique(values: tuple[T, ...]) -> tuple[T, ...]:
    """Return `values`, or raise ValueError naming the entries given more than once."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"given more than once: {', '.join(repeated)}")
    return values
