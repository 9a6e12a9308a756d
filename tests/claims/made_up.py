"""Small runs and measurements whose statistics can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastff.claims.spec import BootstrapSpec, CrossingSpec, PairedSpec, SlopeSpec, SpeedupSpec

BOOTSTRAP = BootstrapSpec(resamples=2000)


def runs_of(variant: str, values: np.ndarray, widths=None, depth=1, leaks=None) -> pd.DataFrame:
    """Return runs of accuracies (n_points, n_seeds); a point is a width, or a region leak."""
    n_points, n_seeds = values.shape
    widths = widths or [2 ** (2 + place) for place in range(n_points)]
    leaks = leaks or [0.0] * n_points
    rows = [
        {
            "dataset": "mnist5k", "variant": variant, "depth": depth,
            "hidden_features": widths[place], "region_leak": leaks[place], "seed": seed,
            "training_width": 2**depth * widths[place], "accuracy_hard": values[place, seed],
        }
        for place in range(n_points)
        for seed in range(n_seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def both_sides(treatment: np.ndarray, baseline: np.ndarray) -> pd.DataFrame:
    """Return runs of the variants `new` and `old`."""
    return pd.concat([runs_of("new", treatment), runs_of("old", baseline)], ignore_index=True)


def paired(kind="difference", over="points", **more) -> PairedSpec:
    values = {"kind": kind, "metric": "accuracy_hard", "over": over}
    values["pairs"] = [{"treatment": "new", "baseline": "old"}]
    return PairedSpec.model_validate(values | more)


def slope(**more) -> SlopeSpec:
    values = {"kind": "slope", "metric": "accuracy_hard", "variant": "new", "over": "seeds"}
    return SlopeSpec.model_validate(values | {"along": "hidden_features"} | more)


def timed(variant: str, times: dict[int, float], spread: float = 0.0, **more) -> list[dict]:
    """Return rows of a benchmark: a median by depth, with quartiles at that relative distance."""
    row = {
        "case": "gates", "op": "gate", "variant": variant, "label": variant, "device": "cuda",
        "dtype": "float32", "mode": "graph", "batch": 32, "in_features": 1024,
        "hidden_features": 0, "out_features": 0, "top_k": 1, "device_name": "A GPU", "driver": "1",
        "torch": "2.11", "clock": "events", "threads": 1, "commit": "0123abcd",
        "bytes": 1, "flops": 1, "roofline_us": 0.1, "peak_bytes": 1,
    }  # fmt: skip
    return [
        row
        | {"depth": depth, "n_experts": 2**depth, "median_us": median}
        | {"q25_us": (1 - spread) * median, "q75_us": (1 + spread) * median}
        | more
        for depth, median in times.items()
    ]


def speedup(**more) -> SpeedupSpec:
    values = {"kind": "speedup", "treatment": "fast", "baseline": "slow", "along": "depth"}
    return SpeedupSpec.model_validate(values | more)


def crossing(**more) -> CrossingSpec:
    values = {"kind": "crossing", "treatment": "fast", "baseline": "slow", "along": "depth"}
    return CrossingSpec.model_validate(values | more)
