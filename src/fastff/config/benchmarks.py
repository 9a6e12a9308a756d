"""What benchmarks measure: the training engine, or single operations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from fastff.config.base import Line, Name, Spec, Unique, require_unique, unknown
from fastff.config.model import MAX_DEPTH, FixedActivation, Grid, Variant, Width, check_bytes
from fastff.config.recipe import Recipe
from fastff.config.timed_forms import TIMED_FORMS
from fastff.data.names import DATASET_NAMES, DATASET_SIZES

Op = Literal["gate", "experts", "layer", "train_step"]
Mode = Literal["eager", "compiled", "graph"]
TimedDtype = Literal["float32", "tf32", "bfloat16", "float16"]
TimedDepth = Annotated[int, Field(ge=0, le=MAX_DEPTH)]
Modes = Annotated[tuple[Mode, ...], Field(min_length=1), Unique]
Dtypes = Annotated[tuple[TimedDtype, ...], Field(min_length=1), Unique]
Batch = Annotated[int, Field(ge=1, le=1_000_000)]


class TimedVariant(Spec):
    """One form of the operation.

    Attributes:
        name: tells its rows from the others' of the case.
        form: a key of TIMED_FORMS, of the case's operation.
        label: in figures; by default the form's.
        hidden_features: of it alone, in place of the case's. A feed-forward layer has as many
            hidden units as all experts of the point together, unless they are given here.
        dtypes: of it alone, some of the case's.
        modes: of it alone, some of the case's.

    """

    name: Name
    form: Name
    label: Line | Literal[""] = Field(default="", max_length=60)
    hidden_features: Width | None = None
    dtypes: Dtypes | None = None
    modes: Modes | None = None


def _resolve(value: Any) -> Any:
    """Return the variant that a form's name alone stands for."""
    return {"name": value, "form": value} if isinstance(value, str) else value


class TimingCase(Spec):
    """Forms of one operation, at every size, dtype and mode, on one kind of device.

    Attributes:
        device: "cuda" cases are left out where there is no CUDA device.
        op: "gate" times routing weights or the leaf, "experts" the experts at a given choice,
            "layer" both, "train_step" a layer's forward and backward pass.
        variants: names of forms, or variants defined in place.
        in_features: size of an input.
        out_features: size of an output; a gate's is its number of experts.
        batch: numbers of inputs.
        depth: 2**depth experts each.
        hidden_features: of one expert; "depth" is as many as the point's depth.
        top_k: "one" expert per input, or "all".
        activation: of hidden units.
        dtypes: "tf32" is float32 whose matrix products round their factors to TF32.
        modes: "eager" calls, a function under torch.compile, or a replayed CUDA graph.

    """

    device: Literal["cpu", "cuda"]
    op: Op
    variants: tuple[Annotated[TimedVariant, BeforeValidator(_resolve)], ...] = Field(min_length=1)
    in_features: Width
    out_features: Width | None = None
    batch: Annotated[tuple[Batch, ...], Field(min_length=1), Unique]
    depth: Annotated[tuple[TimedDepth, ...], Field(min_length=1), Unique]
    hidden_features: tuple[Width, ...] | Literal["depth"] = (1,)
    top_k: Literal["one", "all"] = "one"
    activation: FixedActivation = "relu"
    dtypes: Dtypes = ("float32",)
    modes: Modes = ("eager",)

    @model_validator(mode="after")
    def _check_variants(self) -> TimingCase:
        require_unique(tuple(variant.name for variant in self.variants))
        forms = TIMED_FORMS[self.op]
        for variant in self.variants:
            if variant.form not in forms:
                raise ValueError(
                    unknown(f"form {variant.form!r} of op {self.op}", variant.form, forms)
                )
            for key in ("dtypes", "modes"):
                for value in getattr(variant, key) or ():
                    if value not in getattr(self, key):
                        raise ValueError(f"{variant.name}.{key}: {value} is none of the case's")
        return self

    @model_validator(mode="after")
    def _check_device(self) -> TimingCase:
        if self.device == "cpu":
            for key, value in (("dtypes", "tf32"), ("modes", "graph")):
                if value in getattr(self, key):
                    raise ValueError(f"{key}: {value} needs device = cuda")
        if self.op != "gate" and self.out_features is None:
            raise ValueError(f"out_features is missing; op {self.op} needs it")
        if 0 in self.depth and self.op != "experts":
            raise ValueError(f"depth = 0: op {self.op} needs at least 1")
        return self

    @model_validator(mode="after")
    def _check_bytes(self) -> TimingCase:
        outputs = self.out_features or 1
        for depth in self.depth:
            for width in self.widths(depth):
                check_bytes((self.in_features, 2**depth * width, outputs), max(self.batch))
        return self

    def widths(self, depth: int) -> tuple[int, ...]:
        """Return the hidden units of one expert at a depth."""
        return (depth,) if self.hidden_features == "depth" else self.hidden_features


class TimingBenchmarkSpec(Spec):
    """Cases to time.

    Attributes:
        cases: by name.
        processes: in how many processes all cases are timed, one after another. The samples of one
            share what it happens to get, such as addresses; only others tell how much that matters.
        threads: CPU threads of torch and of the kernels.
        repeats: samples of every point, taken in turn with the point's other variants.
        seconds: that a sample goes on for, unless one call takes longer.

    """

    kind: Literal["timing"] = "timing"
    cases: dict[Name, TimingCase] = Field(min_length=1)
    processes: int = Field(default=1, ge=1, le=100)
    threads: int = Field(default=1, ge=1, le=1024)
    repeats: int = Field(default=15, ge=1, le=1000)
    seconds: float = Field(default=0.01, gt=0, le=10)


class EngineBenchmarkSpec(Spec):
    """The training engine against the plain way: time of one run and epoch, and peak memory.

    Attributes:
        variants: what is trained, at every point of `grid`.
        recipe: its `epochs` are the engine's; the plain way trains one.
        runs: how many runs the engine trains at once, on every core or in every stream.
        workers: how many processes load the plain way's samples; one measurement for each.
        repeats: how often each side is measured, in turn.

    """

    kind: Literal["engine"] = "engine"
    dataset: Literal[DATASET_NAMES]  # type: ignore[valid-type]
    variants: tuple[Variant, ...] = Field(min_length=1)
    grid: Grid
    recipe: Recipe
    runs: int = Field(default=10, ge=1, le=10_000)
    workers: tuple[int, ...] = Field(default=(0, 8), min_length=1)
    repeats: int = Field(default=5, ge=1, le=1000)

    @model_validator(mode="after")
    def _check_workers(self) -> EngineBenchmarkSpec:
        for workers in self.workers:
            if not 0 <= workers <= 256:
                raise ValueError(f"workers = {workers}: must be between 0 and 256")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> EngineBenchmarkSpec:
        size = DATASET_SIZES[self.dataset]
        self.recipe.check_dataset(size.n_train, self.dataset)
        for variant in self.variants:
            variant.check_models(self.grid)
            variant.check_bytes(self.grid, *size.features, self.recipe.batch_size)
        return self
