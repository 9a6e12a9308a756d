"""What banks of experts there are, each by its kind; `train/build.py` says which class it is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fastff.config.base import Spec

FixedActivation = Literal["relu", "gelu", "selu", "linear"]
ExpertActivation = Literal[FixedActivation, "prelu"]


class ExpertsSpec(Spec):
    """A bank of experts. Its fields beside `kind` are the arguments of its class."""

    kind: str


class MixtureSpec(ExpertsSpec):
    """Experts run on their own; the output is the weighted sum of their outputs."""

    kind: Literal["mixture"] = "mixture"
    activation: ExpertActivation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)


class SoftMergedSpec(ExpertsSpec):
    """Experts are merged by their routing weights into one expert per input (SMEAR)."""

    kind: Literal["soft_merged"] = "soft_merged"
    activation: FixedActivation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
