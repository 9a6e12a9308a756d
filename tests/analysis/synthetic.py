"""Tidy tables of made-up runs, of the shape that real experiments write: the same every time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fastff.config.job import TrainSpec
from fastff.config.load import Experiment
from fastff.config.model import BottleneckSpec, NodeTreeSpec, RoutedSpec
from fastff.config.presets import PRESETS
from fastff.tables.schema import HEAD, TIDY

LABELS = {name: variant.label for name, variant in PRESETS.items()}
N_CLASSES = 10
N_SAMPLES = 1000
N_PROJECTED = 200


@dataclass(frozen=True)
class Head:
    """One run's key, and what made-up numbers need to know of it."""

    run: dict
    place: int  # of its variant
    n_trees: int = 1
    routes: bool = True

    @property
    def depth(self) -> int:
        return self.run["depth"]

    @property
    def width(self) -> int:
        return self.run["hidden_features"]

    @property
    def random(self) -> np.random.Generator:
        return np.random.default_rng([self.place, self.depth, self.width, self.run["seed"]])


def synthetic_tables(
    variants: tuple[str, ...],
    depths: tuple[int, ...] = (1, 2),
    widths: tuple[int, ...] = (8, 16),
    seeds: tuple[int, ...] = (0, 1, 2),
    *,
    experiment: str = "trial",
    n_epochs: int = 2,
    leaks: tuple[float, ...] = (0.0,),
) -> dict[str, pd.DataFrame]:
    """Return runs, epochs and expert_counts of a full grid."""
    heads = [
        Head(run_of(experiment, variant, (depth, width, leak), seed), place)
        for place, variant in enumerate(variants)
        for depth in depths
        for width in widths
        for leak in leaks
        for seed in seeds
    ]
    return {
        "runs": pd.DataFrame([row for head in heads for row in runs_of(head, n_epochs)]),
        "epochs": pd.DataFrame([row for head in heads for row in epochs_of(head, n_epochs)]),
        "expert_counts": pd.DataFrame([row for h in heads for row in counts_of(h, [n_epochs])]),
    }


def run_of(experiment: str, variant: str, point: tuple[int, int, float], seed: int) -> dict:
    depth, width, leak = point
    return {
        "experiment": experiment,
        "dataset": "mnist5k",
        "variant": variant,
        "label": LABELS.get(variant, variant),
        "depth": depth,
        "hidden_features": width,
        "region_leak": leak,
        "n_experts": 2**depth,
        "seed": seed,
    }


def synthetic_experiment(
    specs: list[TrainSpec], block: Experiment, *, n_epochs: int = 4
) -> dict[str, pd.DataFrame]:
    """Return all tables of an experiment: its variants, grids, seeds and what it records."""
    rows: dict[str, list] = {name: [] for name in TIDY}
    every = [0, *range(1, n_epochs)]
    for place, spec in enumerate(specs):
        model = spec.variant.model
        part = model.routed if isinstance(model, BottleneckSpec) else model
        routes = isinstance(part, RoutedSpec | NodeTreeSpec)
        points = [model.shape for model in spec.variant.models(spec.grid)]
        for point in [*points, *equal_sizes(spec)]:
            for seed in spec.seeds:
                run = run_of(spec.experiment, spec.variant.name, tuple(point), seed)
                head = Head(run, place, getattr(part, "n_trees", 1), routes)
                rows["runs"] += runs_of(head, n_epochs)
                rows["epochs"] += epochs_of(head, n_epochs)
                if routes:
                    recorded = every if "expert_counts" in block.record else []
                    rows["expert_counts"] += counts_of(head, [*recorded, n_epochs])
                if "gradients" in block.record:
                    rows["gradients"] += gradients_of(head)
                planes = {
                    epoch: Plane(head, epoch / n_epochs) for epoch in {0, n_epochs // 2, n_epochs}
                }
                if "projections" in block.record:
                    for epoch, plane in planes.items():
                        rows["projections"] += plane.projections(epoch)
                if "nodes" in block.record:
                    for epoch, plane in planes.items():
                        rows["nodes"] += plane.nodes(epoch)
    return {
        name: pd.DataFrame(found, columns=None if found else [*TIDY[name].header, "label"])
        for name, found in rows.items()
    }


def equal_sizes(spec: TrainSpec) -> list[tuple[int, int, float]]:
    """Return the points at which a feed-forward layer equals the models of `equal_to`."""
    points = [m.shape for sized in spec.equal_to for m in sized.variant.models(sized.grid)]
    own = {model.shape.hidden_features for model in spec.variant.models(spec.grid)}
    widths = {p.hidden_features for p in points} | {2**p.depth * p.hidden_features for p in points}
    near = {round(parameters(p.depth, p.hidden_features) / 794) for p in points}
    return [(0, width, 0.0) for width in sorted((widths | near) - own)]


def parameters(depth: int, width: int) -> int:
    return 794 * max(width, 1) * 2**depth + (784 * (2**depth - 1))


def scores_of(head: Head, epoch: int) -> dict:
    """Accuracy rises with the width, the variant and the epochs, and falls with the depth."""
    noise = 0.02 * np.random.default_rng([7, head.run["seed"], head.place, epoch]).standard_normal()
    level = 0.75 + 0.02 * head.place + 0.02 * np.log2(head.width + 1) - 0.03 * head.depth
    accuracy = min(level - 0.1 / epoch - 0.2 * head.run["region_leak"] + noise, 0.97)
    return {
        "train_loss": 0.8 - 0.6 * accuracy,
        "validation_loss": 1.0 - 0.6 * accuracy,
        "validation_loss_hard": 1.3 - 0.6 * accuracy,
        "accuracy_soft": accuracy + 0.03,
        "accuracy_hard": accuracy,
    }


def runs_of(head: Head, n_epochs: int) -> list[dict]:
    scores = scores_of(head, n_epochs)
    size = {
        "n_parameters": parameters(head.depth, head.width),
        "training_width": 2**head.depth * head.width,
        "inference_width": head.width,
    }
    recipe = {"epochs": n_epochs, "best_epoch": n_epochs, "batch_size": 128, "learning_rate": 8e-4}
    more = {
        f"{part}_accuracy_{form}": scores[f"accuracy_{form}"]
        for part in ("validation", "train")
        for form in ("soft", "hard")
    }
    return [head.run | size | recipe | scores | more]


def epochs_of(head: Head, n_epochs: int) -> list[dict]:
    epochs = range(1, n_epochs + 1)
    return [head.run | {"epoch": epoch} | scores_of(head, epoch) for epoch in epochs]


def counts_of(head: Head, epochs: list[int]) -> list[dict]:
    """Narrower experts, and those of later epochs, share the samples less evenly."""
    random, rows = head.random, []
    for tree in range(head.n_trees):
        n_experts = head.run["n_experts"]
        weights = random.dirichlet(np.full(n_experts, 8 / max(head.width, 1)))
        tilts = weights * random.gamma(0.5, size=(N_CLASSES, n_experts)) + 1e-9
        for epoch in epochs:
            sharp = tilts ** (0.3 + epoch / max(epochs))
            shares = sharp / sharp.sum(axis=1, keepdims=True)
            counts = random.multinomial(N_SAMPLES // N_CLASSES, shares)  # (class, expert)
            rows += [
                head.run | {"epoch": epoch, "tree": tree, "expert": e, "class": c, "count": n}
                for c, by_expert in enumerate(counts.tolist())
                for e, n in enumerate(by_expert)
            ]
    return rows


def gradients_of(head: Head, n_windows: int = 10) -> list[dict]:
    """Return falling curves; the last unit of each part with several gets 0."""
    n_experts, levels = head.run["n_experts"], head.depth + 1
    units = {"gate": n_experts, "expert_in": n_experts, "expert_out": n_experts}
    if head.depth == 0:
        units = {"expert_in": 1, "expert_out": 1}
    elif "node_tree" in head.run["variant"]:
        nodes = 2**levels - 1
        units = {"node_in": nodes, "node_out": nodes}
    return [
        head.run
        | {
            "step": 10 * (window + 1),
            "part": part,
            "unit": unit,
            "magnitude": 0.0 if 0 < unit == n - 1 else 0.01 / (1 + window) ** (unit % 7),
        }
        for part, n in units.items()
        for window in range(n_windows)
        for unit in range(n)
    ]


def synthetic_gradients(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a gradients table for the runs of routed layers."""
    runs = runs[[*HEAD, "label"]].to_dict("records")
    return pd.DataFrame([row for run in runs for row in gradients_of(Head(run, 0))])


class Plane:
    """A bottleneck's plane at some progress of training: class clusters, and a tree over it."""

    def __init__(self, head: Head, progress: float) -> None:
        random, self.head = head.random, head
        angles = 2 * np.pi * np.arange(N_CLASSES) / N_CLASSES
        centres = (0.3 + 4 * progress) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.classes = np.arange(N_PROJECTED) % N_CLASSES
        self.points = centres[self.classes] + 0.5 * random.standard_normal((N_PROJECTED, 2))
        self.n_nodes = 2**head.depth - 1
        self.weight = random.standard_normal((self.n_nodes, 2))
        self.bias = progress * random.standard_normal(self.n_nodes)
        self.visits = np.zeros(self.n_nodes, dtype=int)
        self.leaves = np.array([self.walk(point) for point in self.points])

    def walk(self, point: np.ndarray) -> int:
        node = 0
        while node < self.n_nodes:
            self.visits[node] += 1
            node = 2 * node + 1 + int(self.weight[node] @ point + self.bias[node] > 0)
        return node - self.n_nodes

    def projections(self, epoch: int) -> list[dict]:
        columns = zip(self.classes, self.leaves, self.points, strict=True)
        return [
            self.head.run
            | {"epoch": epoch, "sample": k, "class": int(c), "expert": int(leaf) * self.head.routes}
            | {"x": float(x), "y": float(y)}
            for k, (c, leaf, (x, y)) in enumerate(columns)
        ]

    def nodes(self, epoch: int) -> list[dict]:
        return [
            self.head.run
            | {"epoch": epoch, "tree": 0, "node": node, "visits": int(self.visits[node])}
            | {"entropy": 0.6 / (1 + epoch), "weight_x": float(w[0]), "weight_y": float(w[1])}
            | {"bias": float(self.bias[node])}
            for node, w in enumerate(self.weight)
        ]


def write_tidy(tables: dict[str, pd.DataFrame], folder: Path) -> Path:
    """Write the tables as the pipeline does, without labels, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.drop(columns="label", errors="ignore").to_csv(folder / f"{name}.csv", index=False)
    return folder
