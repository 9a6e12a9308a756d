"""What gates and banks of experts there are, each by its kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fastff.spec.base import Spec

NodeActivation = Literal["logsigmoid", "softplus", "relu", "linear"]
FixedActivation = Literal["relu", "gelu", "selu", "linear"]
ExpertActivation = Literal[FixedActivation, "prelu"]


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
    best leaves in the soft form; region leak, hardening and hard training are the paper's. `bias`
    gives every node a threshold of its own, without which a plane is cut through its origin only.
    """

    kind: Literal["tree"] = "tree"
    form: Literal["product", "log", "transition", "learned_transition"] = "log"
    node_activation: NodeActivation = "logsigmoid"
    bias: bool = False
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
    activation: FixedActivation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)


GateSpec = Annotated[
    LinearGateSpec | NoisyTopKGateSpec | HypercubeGateSpec | TreeGateSpec,
    Field(discriminator="kind"),
]
ExpertsSpec = Annotated[MixtureSpec | SoftMergedSpec, Field(discriminator="kind")]
