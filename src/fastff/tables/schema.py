"""Every table's columns, once: their names, types and keys, their units, and how they are printed.

What is written, read, verified, drawn, printed and claimed names its columns from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Dtype = Literal["text", "integer", "real"]
Role = Literal["name", "key", "given", "value"]
HUNDREDTHS = ("%", "points")  # units of what tables hold as fractions


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: in the files.
        dtype: of its values.
        role: a "name" is that of the whole table; a "key" tells rows apart; "given" is what
            follows from the config, the same on every machine; a "value" was measured.
        optional: whether a row may lack it: a run that failed has no scores, a node tree no
            node entropy, a tree over images no plane.
        title: in printed tables, without the unit; by default the name in words.
        unit: of the printed values; the files hold fractions of what is in percent.
        style: how numbers are printed: "fixed" is with `digits` after the point, "significant"
            with three significant digits, "p" as a p-value, "plain" as short as they are exact.
        digits: after the decimal point.
        signed: whether a plus sign is printed.

    """

    name: str
    dtype: Dtype = "real"
    role: Role = "value"
    optional: bool = False
    title: str = ""
    unit: str = ""
    style: Literal["plain", "fixed", "significant", "p"] = "plain"
    digits: int = 2
    signed: bool = False

    @property
    def words(self) -> str:
        """The title."""
        return self.title or self.name.replace("_", " ")

    @property
    def heading(self) -> str:
        """The title with the unit, which a title may end with."""
        named = not self.unit or self.words.endswith(self.unit)
        return self.words if named else f"{self.words} ({self.unit})"

    @property
    def scale(self) -> float:
        """What values are multiplied with to be in `unit`."""
        return 100.0 if self.unit in HUNDREDTHS else 1.0


@dataclass(frozen=True)
class Table:
    """A table in a file.

    Attributes:
        columns: in the order in which they are written.
        recent: names of columns that files of earlier versions lack.

    """

    columns: tuple[Column, ...]
    recent: tuple[str, ...] = ()

    @property
    def header(self) -> tuple[str, ...]:
        """The names of all columns."""
        return names(self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the columns that every file has."""
        return tuple(name for name in self.header if name not in self.recent)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the columns that tell a row from the others."""
        return names(column for column in self.columns if column.role == "key")

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the columns that follow from the config."""
        return names(column for column in self.columns if column.role == "given")

    @property
    def values(self) -> tuple[str, ...]:
        """The names of the measured columns that every file has."""
        found = names(column for column in self.columns if column.role == "value")
        return tuple(name for name in found if name not in self.recent)

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the columns of text."""
        return names(column for column in self.columns if column.dtype == "text")

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of the columns of numbers that every file has."""
        return tuple(name for name in self.required if name not in self.texts)

    @property
    def filled(self) -> tuple[str, ...]:
        """The names of the columns of numbers that no row lacks."""
        optional = names(column for column in self.columns if column.optional)
        return tuple(name for name in self.numbers if name not in optional)

    @property
    def nullable_dtypes(self) -> dict[str, str]:
        """The pandas dtypes of the columns of numbers that a row may lack."""
        dtypes = {"integer": "Int64", "real": "float64"}
        return {c.name: dtypes[c.dtype] for c in self.columns if c.optional and c.dtype in dtypes}


def names(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the names of columns."""
    return tuple(column.name for column in columns)


def _columns(dtype: Dtype, role: Role, *names: str) -> tuple[Column, ...]:
    """Return columns that say all with their names."""
    return tuple(Column(name, dtype, role) for name in names)


def _optional(*names: str) -> tuple[Column, ...]:
    """Return columns of measured numbers that rows may lack."""
    return tuple(Column(name, optional=True) for name in names)


def _score(name: str, title: str, unit: str = "%", digits: int = 2) -> Column:
    return Column(name, optional=True, title=title, unit=unit, style="fixed", digits=digits)


def _significant(name: str, title: str, unit: str = "") -> Column:
    return Column(name, title=title, unit=unit, style="significant")


# The tidy tables. A point of a grid: what a model doesn't have is 0, such as the depth of a
# feed-forward layer, the hidden units of a convolutional one, the region leak of one without tree.
_SHAPE = (
    Column("depth", "integer", "key"),
    Column("hidden_features", "integer", "key", title="hidden units"),
    Column("region_leak", "real", "key"),
)
_HEAD = (
    *_columns("text", "name", "experiment", "dataset"),
    Column("variant", "text", "key"),
    *_SHAPE,
    Column("n_experts", "integer", "given", title="experts"),
    Column("seed", "integer", "key"),
)
_SIZES = (
    Column("n_parameters", "integer", "given", title="parameters"),
    *_columns("integer", "given", "training_width", "inference_width"),
)
_LOSSES = (
    _score("train_loss", "training loss", "nats", digits=3),
    _score("validation_loss", "held-out loss", "nats", digits=3),
    _score("validation_loss_hard", "hard held-out loss", "nats", digits=3),
)
_ACCURACIES = (
    _score("accuracy_soft", "soft accuracy"),
    _score("accuracy_hard", "hard accuracy"),
)
_OTHER_ACCURACIES = (
    _score("validation_accuracy_soft", "soft held-out accuracy"),
    _score("validation_accuracy_hard", "hard held-out accuracy"),
    _score("train_accuracy_soft", "soft training accuracy"),
    _score("train_accuracy_hard", "hard training accuracy"),
)
# How the training samples spread over the experts of largest soft weight, as in training.
_CHOICES = (
    _score("train_choice_entropy", "entropy of soft train choices", "bits"),
    Column(
        "train_choice_experts",
        "integer",
        optional=True,
        title="experts of soft train choices",
        style="fixed",
    ),
)
_RUNS = (
    *_HEAD,
    *_SIZES,
    Column("epochs", "integer", "given", title="epochs at most"),
    Column("best_epoch", "integer", optional=True, style="fixed", digits=0),
    Column("batch_size", "integer", "given"),
    Column("learning_rate", "real", "given"),
    *_LOSSES,
    *_OTHER_ACCURACIES,
    *_ACCURACIES,
    *_CHOICES,
    # of the runs whose loss became NaN or infinite, which have no scores
    Column("failed_epoch", "integer", optional=True),
    Column("last_loss", optional=True, unit="nats"),
)
_EPOCH = (*_HEAD, Column("epoch", "integer", "key"))
TIDY: Mapping[str, Table] = {
    "runs": Table(_RUNS, recent=(*names(_CHOICES), "failed_epoch", "last_loss")),
    "epochs": Table((*_EPOCH, *_LOSSES, *_ACCURACIES)),
    "expert_counts": Table(
        (
            *_EPOCH,
            *_columns("integer", "key", "tree", "expert", "class"),
            Column("count", "integer"),
        )
    ),
    "gradients": Table(
        (
            *_HEAD,
            Column("step", "integer", "key"),
            Column("part", "text", "key"),
            Column("unit", "integer", "key"),
            *_optional("magnitude"),
        )
    ),
    "nodes": Table(
        (
            *_EPOCH,
            *_columns("integer", "key", "tree", "node"),
            Column("visits", "integer"),
            Column("entropy", optional=True, unit="nats"),
            *_optional("weight_x", "weight_y", "bias"),
        )
    ),
    "projections": Table(
        (
            *_EPOCH,
            Column("sample", "integer", "key"),
            *_columns("integer", "value", "class", "expert"),
            *_optional("x", "y"),
        )
    ),
}
# The tidy tables of a language model.
_BITS = _score("bits_per_byte", "loss, hard form", "bits per byte", digits=4)
_SOFT_BITS = _score("bits_per_byte_soft", "loss, soft form", "bits per byte", digits=4)
_ACTIVE = Column("active_parameters", "integer", "given", title="active parameters")
# shares of the experts, leaves or nodes of a layer
_VISITED = (
    Column("visited", unit="%", style="fixed"),
    Column("ever_visited", title="ever visited", unit="%", style="fixed"),
)
_STEP = (*_HEAD, Column("step", "integer", "key"))
LANGUAGE: Mapping[str, Table] = {
    "runs": Table(
        (
            *_HEAD,
            *_SIZES,
            _ACTIVE,
            *_columns("integer", "given", "steps", "batch_size"),
            Column("learning_rate", "real", "given"),
            _LOSSES[0],
            _BITS,
            _SOFT_BITS,
            # of the runs whose loss became NaN or infinite, which have no scores
            Column("failed_step", "integer", optional=True),
        )
    ),
    "steps": Table((*_STEP, _LOSSES[0], _BITS)),
    "usage": Table(
        (
            *_STEP,
            Column("layer", "integer", "key"),
            Column("entropy", unit="bits"),
            *_VISITED,
        )
    ),
    "generated": Table((*_HEAD, Column("text", "text"))),
}
BITS_PER_BYTE = (_BITS.name, _SOFT_BITS.name)
HEAD = names(_HEAD)  # what the tidy tables start with
RUN = names(column for column in _HEAD if column.role == "key")
SHAPE, SIZES = names(_SHAPE), names(_SIZES)
SCORES = names((*_LOSSES, *_ACCURACIES))
OTHER_SCORES = names(_OTHER_ACCURACIES)
CHOICES = names(_CHOICES)

# What is computed of the tidy tables. How evenly a run's samples spread over its experts:
_MEASURES = (
    Column("entropy", unit="bits", style="fixed"),
    Column("effective_experts", unit="experts", style="fixed"),
    Column("used_experts", unit="experts", style="fixed"),
)
MEASURES = names(_MEASURES)
# What a feed-forward layer has in common with a routed one, and the column that says it.
MATCHES = {
    "equal_parameters": "n_parameters",
    "equal_training_width": "training_width",
    "equal_inference_width": "inference_width",
}
_MATCHED = tuple(
    column
    for match in MATCHES
    for words in (match.replace("_", " "),)
    for column in (
        Column(f"{match}_units", "integer", "given", title=f"feed-forward units, {words}"),
        Column(match, title=f"feed-forward, {words}", unit="%", style="fixed"),
        Column(
            f"{match}_difference",
            title=f"difference, {words}",
            unit="points",
            style="fixed",
            signed=True,
        ),
    )
)
_COMPARED = (
    *_columns("text", "key", "treatment", "baseline", "metric", "measure"),
    Column("treatment_label", "text", "given", title="treatment"),
    Column("baseline_label", "text", "given", title="baseline"),
    Column("change", unit="%", style="fixed", signed=True),
    Column("t", style="fixed"),
    Column("p", style="p"),
    Column("mean_rank", style="fixed"),
    Column("rho", title="Spearman's rho", style="fixed"),
)
_COUNTS = (
    Column("n_better", "integer", title="better points"),
    Column("n_points", "integer", title="points"),
    Column("n_left_out", "integer", title="points left out"),
    Column("n_runs", "integer", title="runs"),
    Column("n_seeds", "integer", title="seeds"),
    Column("n_failed", "integer", title="failed"),
)

# The tables of benchmarks. A row of timings is a point that was timed, in one mode and process.
_LABEL = Column("label", "text", "given", title="variant")
_MEDIAN = Column("median_us", title="time", unit="µs")
_BATCH = Column("batch", "integer", "key")
PROCESS = "process"  # the column that tells the processes of a benchmark apart, from 0 on
_PEAK = Column("peak_bytes", "integer", optional=True)
_PROVENANCE = (
    *_columns("text", "given", "device_name", "driver", "torch", "clock"),
    Column("threads", "integer", "given"),
    Column("commit", "text", "given"),
)
TIMINGS = Table(
    (
        *_columns("text", "key", "case", "op", "variant"),
        _LABEL,
        *_columns("text", "key", "device", "dtype"),
        _BATCH,
        *_columns("integer", "key", "in_features", "hidden_features", "out_features"),
        *_columns("integer", "key", "depth", "n_experts", "top_k"),
        Column("mode", "text", "key"),
        Column(PROCESS, "integer", "key"),
        _MEDIAN,
        *_columns("real", "value", "q25_us", "q75_us"),
        *_columns("integer", "value", "bytes", "flops"),
        Column("roofline_us"),
        _PEAK,
        *_PROVENANCE,
    ),
    recent=(PROCESS,),
)
TIMED_SIZES = tuple(name for name in TIMINGS.numbers if name in (*TIMINGS.keys, *TIMINGS.given))
LANGUAGE_TIMES = Table(
    (
        *_columns("text", "key", "case", "op", "variant"),
        _LABEL,
        *_columns("text", "key", "device", "dtype"),
        _BATCH,
        Column("mode", "text", "key"),
        Column(PROCESS, "integer", "key"),
        _MEDIAN,
        *_columns("real", "value", "q25_us", "q75_us"),
        _PEAK,
        *_PROVENANCE,
    )
)
ENGINE = Table(
    (
        Column("variant", "text", "key"),
        _LABEL,
        *_columns("integer", "key", "depth", "hidden_features"),
        Column("side", "text", "key"),
        Column("workers", "integer", "key"),
        *_columns("integer", "given", "runs", "epochs"),
        *_columns("real", "value", "s_per_run_epoch", "s_q25", "s_q75"),
        _PEAK,
        Column("dataset", "text", "given"),
        Column("batch_size", "integer", "given"),
        Column("device", "text", "given"),
        *_PROVENANCE,
    )
)
_TIMES = (
    _BATCH,
    _MEDIAN,
    Column("peak_mib", title="peak memory", unit="MiB"),
    Column("width", "integer", "given", title="training width"),
    Column("gap_share", title="share of the gap closed", style="fixed"),
    _significant("plain_s", "plain loop", "s"),
    _significant("engine_s", "engine", "s"),
    _significant("treatment_us", "treatment", "µs"),
    _significant("baseline_us", "baseline", "µs"),
    _significant("over_roofline", "time over roofline"),
    _significant("ratio", "speed-up", "×"),
    _significant("ratio_low", "least"),
    _significant("ratio_high", "most"),
    _significant("plain_peak_mib", "plain loop, peak", "MiB"),
    _significant("engine_peak_mib", "engine, peak", "MiB"),
)

# The ledger of claims.
LEDGER = Table(
    (
        Column("claim", "text", "key"),
        *_columns("text", "given", "kind", "source", "short", "statement", "published"),
        *_optional("published_value"),
        *_columns("text", "given", "mark", "published_dataset", "dataset", "model", "form"),
        *_columns("text", "given", "experiment", "target", "device", "dtype", "batch"),
        *_columns("text", "given", "statistic", "expects"),
        *_optional("margin", "effect", "low", "high", "best_effect"),
        Column("unit", "text", "given"),
        Column("n", "integer"),
        *_optional("prediction_low", "prediction_high", "p_value", "p_holm"),
        *_columns("integer", "value", "n_shapes", "n_agree"),
        Column("exception", "text"),
        *_optional("study_t", "study_p"),
        *_columns("text", "value", "decided", "verdict", "reason", "rules_commit", "runs_commit"),
    )
)

# What is printed and drawn, by name. `<name>_mean`, `<name>_ci` and `<name>_best` are of `<name>`.
PRINTED: Mapping[str, Column] = {
    column.name: column
    for column in (
        *_RUNS,
        _BITS,
        _SOFT_BITS,
        _ACTIVE,
        *_VISITED,
        _LABEL,
        *_MEASURES,
        *_MATCHED,
        *_COMPARED,
        *_COUNTS,
        *_TIMES,
    )
}
