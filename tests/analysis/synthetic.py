"""Tidy tables of made-up runs, of the shape that real experiments write: the same every time."""

from pathlib import Path

import numpy as np
import pandas as pd

from fastff.zoo import ZOO

N_CLASSES = 10
N_SAMPLES = 1000


def synthetic_tables(
    variants: tuple[str, ...],
    depths: tuple[int, ...] = (1, 2),
    widths: tuple[int, ...] = (8, 16),
    seeds: tuple[int, ...] = (0, 1, 2),
    *,
    experiment: str = "trial",
    n_epochs: int = 2,
) -> dict[str, pd.DataFrame]:
    """Return runs, epochs and expert_counts. Accuracy rises with the width and the variant."""
    random = np.random.default_rng(11)
    runs, epochs, counts = [], [], []
    for place, variant in enumerate(variants):
        for depth in depths:
            for width in widths:
                for seed in seeds:
                    label = ZOO[variant].label if variant in ZOO else f"Mine, {variant}"
                    run = {
                        "experiment": experiment,
                        "dataset": "mnist5k",
                        "variant": variant,
                        "label": label,
                        "depth": depth,
                        "hidden_features": width,
                        "n_experts": 2**depth,
                        "seed": seed,
                    }
                    level = 0.75 + 0.02 * place + 0.02 * np.log2(width) - 0.03 * depth
                    for epoch in range(1, n_epochs + 1):
                        accuracy = level - 0.1 / epoch + 0.02 * random.standard_normal()
                        scores = {
                            "train_loss": 0.8 - 0.6 * accuracy,
                            "validation_loss": 1.0 - 0.6 * accuracy,
                            "validation_loss_hard": 1.3 - 0.6 * accuracy,
                            "accuracy_soft": min(accuracy + 0.03, 1.0),
                            "accuracy_hard": accuracy,
                        }
                        epochs.append(run | {"epoch": epoch} | scores)
                    recipe = {"epochs": n_epochs, "batch_size": 128, "learning_rate": 8e-4}
                    size = {"n_parameters": 794 * width * 2**depth}
                    runs.append(run | size | recipe | scores)
                    # narrower experts share the samples more evenly
                    weights = random.dirichlet(np.full(2**depth, 8 / width))
                    for class_ in range(N_CLASSES):
                        tilt = weights * random.gamma(0.5, size=2**depth) + 1e-9
                        samples = random.multinomial(N_SAMPLES // N_CLASSES, tilt / tilt.sum())
                        counts += [
                            run | {"epoch": n_epochs, "expert": e, "class": class_, "count": int(n)}
                            for e, n in enumerate(samples)
                        ]
    tables = {"runs": runs, "epochs": epochs, "expert_counts": counts}
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def synthetic_gradients(runs: pd.DataFrame, n_windows: int = 20) -> pd.DataFrame:
    """Return a gradients table for the runs: falling curves; the last unit of each part gets 0."""
    columns = ["experiment", "dataset", "variant", "label", "depth", "hidden_features",
               "n_experts", "seed"]  # fmt: skip
    rows = [
        run
        | {
            "step": 10 * (window + 1),
            "part": part,
            "unit": unit,
            "magnitude": 0.0 if unit == run["n_experts"] - 1 else 0.01 / (1 + window) ** unit,
        }
        for run in runs[columns].to_dict("records")
        for part in ("gate", "expert_in", "expert_out")
        for window in range(n_windows)
        for unit in range(run["n_experts"])
    ]
    return pd.DataFrame(rows)


def write_tidy(tables: dict[str, pd.DataFrame], folder: Path) -> Path:
    """Write the tables as the pipeline does, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder
