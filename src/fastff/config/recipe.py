"""How a run is trained: optimiser, schedule, split and stopping."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fastff.config.base import Spec

Rate = Annotated[float, Field(ge=0, lt=1)]
Metric = Literal["train_loss", "validation_loss", "accuracy_soft", "accuracy_hard"]


class AdamWSpec(Spec):
    """AdamW. A one-cycle schedule moves the first of `betas`."""

    kind: Literal["adamw"] = "adamw"
    betas: tuple[Rate, Rate] = (0.9, 0.99)
    epsilon: float = Field(default=1e-5, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


class SgdSpec(Spec):
    """Stochastic gradient descent, by default with momentum, which a one-cycle schedule moves."""

    kind: Literal["sgd"] = "sgd"
    momentum: Rate = 0.9
    weight_decay: float = Field(default=0.0, ge=0)


class OneCycleSpec(Spec):
    """One cosine cycle over all steps.

    Attributes:
        warm_up: share of the steps in which the rate rises.
        start_divisor: the first rate is `learning_rate / start_divisor`.
        end_divisor: the last rate is `learning_rate / end_divisor`.
        momentum: highest and lowest momentum or first beta; it falls while the rate rises.

    """

    kind: Literal["one_cycle"] = "one_cycle"
    warm_up: float = Field(default=0.25, gt=0, lt=1)
    start_divisor: float = Field(default=25.0, ge=1)
    end_divisor: float = Field(default=1e5, ge=1)
    momentum: tuple[Rate, Rate] = (0.95, 0.85)


class ConstantSpec(Spec):
    """The same learning rate throughout."""

    kind: Literal["constant"] = "constant"


class PlateauSpec(Spec):
    """The learning rate falls by `factor` after `patience` epochs in which `metric` got no better.

    For every run on its own.
    """

    kind: Literal["plateau"] = "plateau"
    metric: Metric = "accuracy_hard"
    patience: int = Field(default=10, ge=1)
    factor: float = Field(default=0.5, gt=0, lt=1)


class EarlyStoppingSpec(Spec):
    """A run ends after `patience` epochs in which `metric` got no better, with its best epoch.

    By "train_loss", the mean loss of an epoch's steps, it is trained until it stops improving.
    """

    metric: Metric = "accuracy_hard"
    patience: int = Field(ge=1)


class AugmentationSpec(Spec):
    """Random changes of the training images, anew in every step and for each sample on its own.

    Attributes:
        flips: which of these mirror every other image.
        rotate: by so many degrees at most, to either side.
        translate: by such a share of height and width at most.
        scale: by a factor between 1 - scale and 1 + scale.

    """

    flips: tuple[Literal["horizontal", "vertical"], ...] = ()
    rotate: float = Field(default=0.0, ge=0, le=180)
    translate: float = Field(default=0.0, ge=0, le=1)
    scale: float = Field(default=0.0, ge=0, lt=1)


class PhaseSpec(Spec):
    """Epochs in which the losses of all trees have weights of their own.

    Attributes:
        epochs: how many.
        hardening_weight: where it isn't given, in any phase, it is the recipe's or the tree's.
        balance_weight: likewise.

    """

    epochs: int = Field(ge=1, le=100_000)
    hardening_weight: float | None = Field(default=None, ge=0)
    balance_weight: float | None = Field(default=None, ge=0)

    def tree_options(self) -> dict[str, float]:
        """Return the options that this phase sets for all tree gates."""
        return self.model_dump(exclude={"epochs"}, exclude_none=True)


OptimiserSpec = Annotated[AdamWSpec | SgdSpec, Field(discriminator="kind")]
ScheduleSpec = Annotated[OneCycleSpec | ConstantSpec | PlateauSpec, Field(discriminator="kind")]


class Recipe(Spec):
    """How a run is trained; by default AdamW under one cosine cycle, the study's recipe.

    Attributes:
        epochs: passes over the training data, at most.
        batch_size: samples per step. The last, incomplete batch of an epoch is left out; the
            order changes every epoch, so no sample is left out for good.
        learning_rate: the highest of the schedule.
        optimiser: AdamW or SGD with momentum.
        schedule: of the learning rate.
        region_leak: of all trees, in place of their own; a grid's goes before it.
        hardening_weight: of all trees, in place of their own.
        balance_weight: of all trees, in place of their own.
        phases: parts of the training, one after another, in which trees have other weights of
            these losses; together as long as `epochs`.
        train_samples: how many of the training samples are used; all by default.
        validation_samples: how many of them are kept aside. Without any, the dataset's test part
            is what is looked at after every epoch, as in the study.
        augmentation: none by default.
        early_stopping: none by default.
        select_on_test: whether early stopping and a plateau schedule may look at the test part, as
            some published results did; by default they need samples that are kept aside.

    """

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    learning_rate: float = Field(gt=0, le=10)
    optimiser: OptimiserSpec = AdamWSpec()
    schedule: ScheduleSpec = OneCycleSpec()
    region_leak: float | None = Field(default=None, ge=0, le=1)
    hardening_weight: float | None = Field(default=None, ge=0)
    balance_weight: float | None = Field(default=None, ge=0)
    phases: tuple[PhaseSpec, ...] = ()
    train_samples: int | None = Field(default=None, ge=1)
    validation_samples: int = Field(default=0, ge=0)
    augmentation: AugmentationSpec | None = None
    early_stopping: EarlyStoppingSpec | None = None
    select_on_test: bool = False

    @field_validator("schedule")
    @classmethod
    def _check_order(cls, value: ScheduleSpec) -> ScheduleSpec:
        if isinstance(value, OneCycleSpec) and value.momentum[0] < value.momentum[1]:
            raise ValueError("momentum: the highest comes first, then the lowest")
        return value

    @model_validator(mode="after")
    def _check_combination(self) -> Recipe:
        schedule = self.schedule if isinstance(self.schedule, PlateauSpec) else None
        by_validation = any(
            spec is not None and spec.metric != "train_loss"
            for spec in (self.early_stopping, schedule)
        )
        if by_validation and self.validation_samples == 0 and not self.select_on_test:
            raise ValueError(
                "validation_samples = 0: early stopping, or a plateau schedule by another metric "
                "than 'train_loss', needs samples kept aside, or it would choose by the test part; "
                "select_on_test = true says that it is to"
            )
        if self.select_on_test and not (by_validation and self.validation_samples == 0):
            raise ValueError(
                "select_on_test = true has a meaning only with early stopping, or a plateau "
                "schedule, by another metric than 'train_loss', and without validation_samples"
            )
        if self.early_stopping is not None and isinstance(self.schedule, OneCycleSpec):
            raise ValueError(
                "early_stopping has no meaning with schedule.kind = 'one_cycle', whose rate is "
                "planned to the last epoch; allowed with it are 'constant' and 'plateau'"
            )
        return self

    @model_validator(mode="after")
    def _check_phases(self) -> Recipe:
        together = sum(phase.epochs for phase in self.phases)
        if self.phases and together != self.epochs:
            raise ValueError(
                f"phases: they have {together} epochs together, but epochs = {self.epochs}; both "
                "must be the same"
            )
        if len({tuple(phase.tree_options()) for phase in self.phases}) > 1:
            raise ValueError(
                "phases: each must give the same weights: hardening_weight, balance_weight, or both"
            )
        return self

    def n_train(self, n_all: int, dataset: str) -> int:
        """Return how many of a dataset's training samples are trained on.

        Raises:
            ValueError: where there are too few of them for this recipe, or for one batch.

        """
        n_train = self.train_samples or n_all - self.validation_samples
        if not 1 <= n_train <= n_all - self.validation_samples:
            raise ValueError(
                f"recipe: train_samples = {self.train_samples} and validation_samples = "
                f"{self.validation_samples}: at most the {n_all} training samples of {dataset} "
                "are allowed together, and one of them must be left to train on"
            )
        if n_train < self.batch_size:
            raise ValueError(
                f"recipe: batch_size = {self.batch_size}: at most the {n_train} training samples "
                f"of {dataset} are allowed"
            )
        return n_train

    def check_steps(self, n_steps: int) -> None:
        """Raise ValueError where the warm-up of a cycle of steps would end within the first."""
        spec = self.schedule
        if isinstance(spec, OneCycleSpec) and spec.warm_up * n_steps <= 1:
            raise ValueError(
                f"recipe: {n_steps} steps with warm_up = {spec.warm_up} leave no step to warm up; "
                f"more than {1 / spec.warm_up:g} steps are needed: raise epochs or lower batch_size"
            )

    def check_dataset(self, n_all: int, dataset: str) -> None:
        """Raise ValueError where this recipe asks for more samples or steps than there are."""
        n_train = self.n_train(n_all, dataset)
        self.check_steps(self.epochs * (n_train // self.batch_size))

    def tree_options(self) -> dict[str, float]:
        """Return the options that this recipe sets for all tree gates."""
        names = ("region_leak", "hardening_weight", "balance_weight")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}

    def phase_of(self, epoch: int) -> PhaseSpec | None:
        """Return the phase that an epoch, counted from 1, is in; None without phases."""
        last = 0
        for phase in self.phases:
            last += phase.epochs
            if epoch <= last:
                return phase
        return None
