"""What banks of experts there are, each by its kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fastff.spec.base import Spec

FixedActivation = Literal["relu", "gelu", "selu", "linear"]
ExpertActivation = Literal[FixedActivation, "prelu"]


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


ExpertsSpec = Annotated[MixtureSpec | SoftMergedSpec, Field(discriminator="kind")]
