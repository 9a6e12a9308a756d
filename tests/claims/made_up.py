"""Small runs and measurements whose statistics can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fastff.claims.file import CrossingSpec, Direction, PairedSpec, SlopeSpec, SpeedupSpec

HIGHER = Direction(kind="higher")


def runs_of(variant: str, values: np.ndarray, widths=None, depth=1, leaks=None) -> pd.DataFrame:
    """Return runs of accuracies (n_shapes, n_seeds); a shape is a width, or a region leak."""
    n_shapes, n_seeds = values.shape
    widths = widths or [2 ** (2 + place) for place in range(n_shapes)]
    leaks = leaks or [0.0] * n_shapes
    rows = [
        {
            "dataset": "mnist5k", "variant": variant, "depth": depth,
            "hidden_features": widths[place], "region_leak": leaks[place], "seed": seed,
            "training_width": 2**depth * widths[place], "accuracy_hard": values[place, seed],
            "accuracy_soft": values[place, seed] + 0.01,
        }
        for place in range(n_shapes)
        for seed in range(n_seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def both_sides(treatment: np.ndarray, baseline: np.ndarray) -> pd.DataFrame:
    """Return runs of the variants `new` and `old`."""
    return pd.concat([runs_of("new", treatment), runs_of("old", baseline)], ignore_index=True)


def paired(kind="difference", **more) -> PairedSpec:
    values = {"kind": kind, "metric": "accuracy_hard"}
    values["pairs"] = [{"treatment": "new", "baseline": "old"}]
    return PairedSpec.model_validate(values | more)


def slope(**more) -> SlopeSpec:
    values = {"kind": "slope", "metric": "accuracy_hard", "variant": "new"}
    return SlopeSpec.model_validate(values | {"along": "hidden_features"} | more)


def timed(variant: str, times: Mapping[int, float], noise=(1.0, 1.01, 0.99), **more) -> list[dict]:
    """Return rows of a benchmark by depth, of as many processes as there are factors of noise."""
    row = {
        "case": "gates", "op": "gate", "variant": variant, "label": variant, "device": "cuda",
        "dtype": "float32", "mode": "graph", "batch": 32, "in_features": 1024,
        "hidden_features": 0, "out_features": 0, "top_k": 1, "device_name": "A GPU", "driver": "1",
        "torch": "2.11", "clock": "events", "threads": 1, "commit": "0123abcd",
        "bytes": 1, "flops": 1, "roofline_us": 0.1, "peak_bytes": 1,
    }  # fmt: skip
    return [
        row
        | {"depth": depth, "n_experts": 2**depth, "median_us": factor * median}
        | {"q25_us": factor * median, "q75_us": factor * median, "process": process}
        | more
        for depth, median in times.items()
        for process, factor in enumerate(noise)
    ]


def speedup(at=(3,), **more) -> SpeedupSpec:
    return SpeedupSpec.model_validate({"kind": "speedup", "at": at} | _sides() | more)


def crossing(last=4, **more) -> CrossingSpec:
    return CrossingSpec.model_validate({"kind": "crossing", "last": last} | _sides() | more)


def _sides() -> dict:
    sides = {side: {"variant": side, "mode": "graph"} for side in ("fast", "slow")}
    return {
        "treatment": sides["fast"],
        "baseline": sides["slow"],
        "along": "depth",
        "where": {"case": "gates"},
    }
