"""Two result trees of the same code: the first and the last five seeds of the reference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "h100"
# Between them they have every kind of tidy table.
EXPERIMENTS = ("learned_transition", "tree_regions", "width_depth")
HALVES = {"left": range(5), "right": range(5, 10)}

Edit = Callable[[pd.DataFrame], pd.DataFrame]


def write_half(folder: Path, seeds: range) -> Path:
    """Write the runs of some seeds as an unpacked result tree, every number as it was."""
    for name in EXPERIMENTS:
        for source in sorted((REFERENCE / "tidy" / f"{name}_fashion_mnist").glob("*.csv.xz")):
            table = pd.read_csv(source, dtype=str, keep_default_na=False).assign(experiment=name)
            target = folder / "tidy" / name / source.name.removesuffix(".xz")
            target.parent.mkdir(parents=True, exist_ok=True)
            chosen = table["seed"].isin([str(seed) for seed in seeds])
            if "sample" in table:
                chosen &= table["sample"].str.len() < 3  # a hundred samples of each plane
            table[chosen].to_csv(target, index=False)
    return folder


def edited(tree: Path, target: Path, table: str, edit: Edit) -> Path:
    """Copy a table of a tree and change it; `table` is such as `tidy/node_tree/epochs`.

    The table of runs comes with it, since each of the others is read with that.
    """
    path = target / f"{table}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in (path.stem, "runs"):
        shutil.copy2((tree / f"{table}.csv").with_stem(name), path.with_stem(name))
    edit(pd.read_csv(path)).to_csv(path, index=False)
    return target
