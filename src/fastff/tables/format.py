"""How a number is printed in a table: its unit, its digits, and a dash where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

DASH = "–"


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Attributes:
        heading: what stands above it, with the unit.
        digits: after the decimal point.
        scale: what the values are multiplied with.
        signed: whether a plus sign is printed.

    """

    heading: str
    digits: int = 2
    scale: float = 1.0
    signed: bool = False

    def show(self, value: float) -> str:
        """Return the value as text; NaN is a dash."""
        if math.isnan(value):
            return DASH
        sign = "+" if self.signed else ""
        return f"{value * self.scale:{sign}.{self.digits}f}"

    def show_interval(self, mean: float, half_width: float) -> str:
        """Return `mean ± half width`, a dash for either that is NaN."""
        if math.isnan(mean):
            return DASH
        width = DASH if math.isnan(half_width) else f"{half_width * self.scale:.{self.digits}f}"
        return f"{self.show(mean)} ± {width}"


def show_p(value: float) -> str:
    """Return a p-value with two significant digits, and never as 0."""
    if math.isnan(value):
        return DASH
    return "<0.0001" if value < 1e-4 else f"{value:#.2g}" if value < 0.1 else f"{value:.2f}"


def show_digits(value: float) -> str:
    """Return a number with three significant digits, and NaN as a dash."""
    return DASH if math.isnan(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def show_rate(value: float) -> str:
    """Return a number as short as it is exact, and NaN as a dash."""
    return DASH if math.isnan(value) else f"{value:g}"


COLUMNS: Mapping[str, Column] = {
    "train_loss": Column("train loss (nats)", digits=3),
    "validation_loss": Column("validation loss (nats)", digits=3),
    "validation_loss_hard": Column("hard validation loss (nats)", digits=3),
    "accuracy_hard": Column("hard accuracy (%)", scale=100),
    "accuracy_soft": Column("soft accuracy (%)", scale=100),
    "validation_accuracy_hard": Column("hard validation accuracy (%)", scale=100),
    "validation_accuracy_soft": Column("soft validation accuracy (%)", scale=100),
    "train_accuracy_hard": Column("hard train accuracy (%)", scale=100),
    "train_accuracy_soft": Column("soft train accuracy (%)", scale=100),
    "equal_parameters": Column("MLP, equal parameters (%)", scale=100),
    "equal_training_width": Column("MLP, equal training width (%)", scale=100),
    "equal_inference_width": Column("MLP, equal inference width (%)", scale=100),
    "equal_parameters_difference": Column(
        "difference, equal parameters (points)", scale=100, signed=True
    ),
    "equal_training_width_difference": Column(
        "difference, equal training width (points)", scale=100, signed=True
    ),
    "equal_inference_width_difference": Column(
        "difference, equal inference width (points)", scale=100, signed=True
    ),
    "change": Column("change (%)", scale=100, signed=True),
    "entropy": Column("entropy (bits)"),
    "effective_experts": Column("effective experts"),
    "used_experts": Column("used experts"),
    "mean_rank": Column("mean rank"),
    "t": Column("t"),
    "rho": Column("Spearman's rho"),
}
OTHER: Mapping[str, Callable[[float], str]] = {
    "p": show_p,
    **dict.fromkeys(("plain_s", "engine_s", "ratio", "ratio_low", "ratio_high"), show_digits),
    **dict.fromkeys(("plain_peak_mib", "engine_peak_mib"), show_digits),
    **dict.fromkeys(("treatment_us", "baseline_us", "over_roofline"), show_digits),
}
HEADINGS: Mapping[str, str] = {
    "label": "variant",
    "treatment_label": "treatment",
    "baseline_label": "baseline",
    "hidden_features": "hidden units",
    "region_leak": "region leak",
    "training_width": "training width",
    "inference_width": "inference width",
    "equal_parameters_units": "MLP's units, equal parameters",
    "equal_training_width_units": "MLP's units, equal training width",
    "equal_inference_width_units": "MLP's units, equal inference width",
    "n_experts": "experts",
    "n_parameters": "parameters",
    "n_seeds": "seeds",
    "n_failed": "failed",
    "n_left_out": "points left out",
    "n_better": "better points",
    "n_points": "points",
    "n_runs": "runs",
    "plain_s": "plain loop (s)",
    "engine_s": "engine (s)",
    "treatment_us": "treatment (µs)",
    "baseline_us": "baseline (µs)",
    "over_roofline": "treatment over its roofline",
    "width": "training width",
    "ratio": "times less",
    "ratio_low": "least",
    "ratio_high": "most",
    "plain_peak_mib": "plain loop, peak (MiB)",
    "engine_peak_mib": "engine, peak (MiB)",
}
# A printed table shows labels, and the reader knows which experiment it is of.
HIDDEN: Mapping[str, str] = {
    "experiment": "",
    "variant": "label",
    "treatment": "treatment_label",
    "baseline": "baseline_label",
}
METRICS: Mapping[str, str] = {
    "accuracy_hard": "hard accuracy",
    "accuracy_soft": "soft accuracy",
}
