"""From a tidy table to what two machines can be asked to agree on: a row per run and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fastff.analysis.distribution import distribution_per_tree
from fastff.tables.schema import SHAPE, TIDY

POINT = ("variant", *SHAPE)


@dataclass(frozen=True)
class Samples:
    """Values of the runs of an experiment.

    Attributes:
        rows: a row per run and place; columns `seed`, `keys`, `exact` and `metrics`.
        keys: tell a grid point, and a place in its runs such as the epoch, from the others.
        exact: follow from the config, and must be the same for a key.
        metrics: vary with the seed.

    """

    rows: pd.DataFrame
    keys: tuple[str, ...]
    exact: tuple[str, ...]
    metrics: tuple[str, ...]


def samples_of(name: str, table: pd.DataFrame) -> Samples:
    """Return the values of a tidy table.

    Experts have no identity that two machines share, and a plane no direction: of the expert
    counts it is the entropy of the shares and the number of used experts that are compared, as
    means over trees, and of projections each class's spread around its centre and the distance of
    that from the centre of all.

    Args:
        name: of the table: `runs`, `epochs`, `expert_counts`, `gradients`, `nodes`, `projections`.
        table: as `fastff.tables.read` reads it.

    """
    return READERS[name](table)


def over_shapes(samples: Samples) -> Samples:
    """Return each run's means over the shapes of its variant, for variants of several shapes.

    A difference that all shapes of a variant share shows here first. The shape's keys say `all`.
    """
    keys = [key for key in samples.keys if key not in SHAPE]
    several = samples.rows.groupby(keys)[list(SHAPE)].transform("nunique").gt(1).any(axis=1)
    grouped = samples.rows[several].groupby([*keys, "seed"], sort=False)
    rows = grouped[list(samples.metrics)].mean().reset_index()
    varied = {key: samples.rows[key].nunique() > 1 for key in SHAPE}
    shape = {key: "all" if varied[key] else samples.rows[key].iloc[0] for key in SHAPE}
    rows = rows.assign(**shape)
    return Samples(rows, samples.keys, (), samples.metrics)


def _as_written(name: str) -> Callable[[pd.DataFrame], Samples]:
    """Return the reader of a table whose rows are compared as they are."""
    schema = TIDY[name]
    keys = tuple(key for key in schema.keys if key != "seed")
    exact = schema.given if name == "runs" else ()
    return lambda table: Samples(table, keys, exact, schema.values)


def _expert_counts(table: pd.DataFrame) -> Samples:
    keys = (*POINT, "epoch")
    metrics = ["entropy", "used_experts"]
    runs = distribution_per_tree(table).groupby([*keys, "seed"], sort=False)[metrics].mean()
    runs["samples"] = table.groupby([*keys, "seed"], sort=False)["count"].sum()
    return Samples(runs.reset_index(), keys, ("samples",), tuple(metrics))


def _projections(table: pd.DataFrame) -> Samples:
    keys = (*POINT, "epoch", "class")
    run = [*POINT, "epoch", "seed"]
    of_class = table.groupby([*keys, "seed"], sort=False)
    centres = of_class[["x", "y"]].transform("mean")
    away = table[["x", "y"]] - centres
    from_all = centres - table.groupby(run, sort=False)[["x", "y"]].transform("mean")
    rows = table[[*keys, "seed"]].assign(
        spread=(away**2).sum(axis=1, skipna=False), distance=np.hypot(from_all["x"], from_all["y"])
    )
    grouped = rows.groupby([*keys, "seed"], sort=False)
    values = grouped[["spread", "distance"]].mean()
    values["spread"] = np.sqrt(values["spread"])
    values["samples"] = grouped.size()
    return Samples(values.reset_index(), keys, ("samples",), ("spread", "distance"))


READERS: dict[str, Callable[[pd.DataFrame], Samples]] = {
    **{name: _as_written(name) for name in ("runs", "epochs", "gradients", "nodes")},
    "expert_counts": _expert_counts,
    "projections": _projections,
}
