"""What gates there are, each by its kind.

A gate's spec stands here, and `train/build.py` says which class computes it: docs/add_a_gate.md.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from fastff.config.base import Spec

NodeActivation = Literal["logsigmoid", "softplus", "relu", "linear"]
LogitActivation = Literal["linear", "relu"]


class GateSpec(Spec):
    """A gate over 2**depth experts. Its fields beside `kind` are the arguments of its class.

    A gate that has a `region_leak`, a `hardening_weight` or a `balance_weight` takes those of grids
    and recipes.

    Attributes:
        takes_depth: whether its class is built for a depth, not for a number of experts.
        has_tree: whether it has nodes, which can be recorded.

    """

    takes_depth: ClassVar[bool] = False
    has_tree: ClassVar[bool] = False

    kind: str

    def check_experts(self, n_experts: int) -> None:
        """Raise ValueError where the gate can't route to so few experts; by default never."""

    def changed(self, **options: float | None) -> Self:
        """Return the gate with those of `options` that it has, but for None.

        Raises:
            pydantic.ValidationError: where it can't have them.

        """
        own = {
            key: value
            for key, value in options.items()
            if value is not None and key in type(self).model_fields
        }
        return type(self)(**(self.model_dump() | own)) if own else self

    def drawn_as(self) -> GateSpec:
        """Return the gate whose colour this one has in figures: one of the same weights."""
        return self


class TopKGateSpec(GateSpec):
    """A gate that can keep the `top_k` best experts.

    `renormalise` chooses between a softmax over the selected logits only (with k = 1 a constant
    weight of 1) and the selected entries of the full softmax (Switch).
    """

    top_k: int | None = Field(default=None, ge=1)
    renormalise: bool = False

    @model_validator(mode="after")
    def _check_renormalise(self) -> Self:
        if self.renormalise and self.top_k is None:
            raise ValueError("renormalise = true has no meaning without top_k; set top_k too")
        return self

    def check_experts(self, n_experts: int) -> None:
        """Raise ValueError for more experts than there are."""
        _check_top_k(self.top_k, n_experts)


class LinearGateSpec(TopKGateSpec):
    """Softmax over one logit per expert: the gate of a mixture of experts.

    `balance_weight` is of the Switch loss (arXiv 2101.03961).
    """

    kind: Literal["linear"] = "linear"
    bias: bool = False
    logit_activation: LogitActivation = "linear"
    balance_weight: float = Field(default=0.0, ge=0)


class NoisyTopKGateSpec(GateSpec):
    """The linear gate with learned noise and renormalised top-k, and its two balancing losses."""

    kind: Literal["noisy_top_k"] = "noisy_top_k"
    top_k: int = Field(ge=1)
    importance_weight: float = Field(default=0.0, ge=0)
    load_weight: float = Field(default=0.0, ge=0)

    def check_experts(self, n_experts: int) -> None:
        """Raise ValueError for more experts than there are, and for a load that is always even."""
        _check_top_k(self.top_k, n_experts)
        if self.load_weight > 0 and self.top_k == n_experts:
            raise ValueError(
                "load_weight > 0 needs an expert that is left out, but top_k = "
                f"{self.top_k} of {n_experts} experts"
            )


class HypercubeGateSpec(TopKGateSpec):
    """One logit per level and an expert per pattern of their signs."""

    takes_depth: ClassVar[bool] = True

    kind: Literal["hypercube"] = "hypercube"
    bias: bool = False
    logit_activation: LogitActivation = "linear"


class TreeGateSpec(TopKGateSpec):
    """A binary tree of 2**depth leaves, every node one linear logit: the gate of an FFF.

    `form` names how the leaf probabilities are computed. Only the transition forms read
    `node_activation`; the others are the product of sigmoids by definition. `transition_start` is
    that of the learned transition's weights: ones on the paths, or uniform. `top_k` keeps the best
    leaves in the soft form; region leak, hardening and hard training are the paper's;
    `straight_through` trains the hard form's values by the soft form's gradient. The entropies
    that hardening penalises are summed over the batch and the nodes, or over the nodes with a mean
    over the batch, or their mean is taken. `balance_weight` is of the load-balancing loss. `bias`
    gives every node a threshold of its own, without which a plane is cut through its origin only.
    `logit_activation` is of the node logits, and `logit_dropout` leaves some out in training.
    """

    takes_depth: ClassVar[bool] = True
    has_tree: ClassVar[bool] = True

    kind: Literal["tree"] = "tree"
    form: Literal["product", "log", "transition", "learned_transition"] = "log"
    node_activation: NodeActivation = "logsigmoid"
    transition_start: Literal["paths", "uniform"] = "paths"
    bias: bool = False
    logit_activation: LogitActivation = "linear"
    logit_dropout: float = Field(default=0.0, ge=0, lt=1)
    region_leak: float = Field(default=0.0, ge=0, le=1)
    hardening_weight: float = Field(default=0.0, ge=0)
    hardening_reduction: Literal["sum", "batch_mean", "mean"] = "batch_mean"
    balance_weight: float = Field(default=0.0, ge=0)
    hard_training: bool = False
    straight_through: bool = False

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if "transition" not in self.form and self.node_activation != "logsigmoid":
            raise ValueError(
                f"node_activation = {self.node_activation!r} needs form = 'transition'; "
                f"the {self.form} form is 'logsigmoid' by definition"
            )
        if self.form != "learned_transition" and self.transition_start != "paths":
            raise ValueError(
                f"transition_start = {self.transition_start!r} needs form = 'learned_transition'"
            )
        penalty = self.hardening_weight + self.balance_weight
        if self.hard_training and (self.top_k is not None or penalty > 0):
            raise ValueError(
                "hard_training = true takes one leaf and gives its nodes no gradient, so that "
                "neither top_k nor hardening_weight nor balance_weight has a meaning with it"
            )
        if self.straight_through and (self.top_k is not None or self.hard_training):
            raise ValueError(
                "straight_through = true has the gradient of all leaves: it takes neither top_k "
                "nor hard_training"
            )
        return self

    def drawn_as(self) -> GateSpec:
        """Return the gate in its log form where the forms compute the same weights."""
        if self.form == "learned_transition":
            return self
        form = "log" if self.node_activation == "logsigmoid" else self.form
        return self.model_copy(update={"form": form, "bias": False})


def _check_top_k(top_k: int | None, n_experts: int) -> None:
    if top_k is not None and top_k > n_experts:
        raise ValueError(f"top_k = {top_k}, but there are only {n_experts} experts")
