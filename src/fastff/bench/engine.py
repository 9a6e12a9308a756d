"""The training engine against the plain way, side by side in one process."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from fastff.bench.measure import seconds_and_peak
from fastff.bench.provenance import provenance
from fastff.config.benchmarks import EngineBenchmarkSpec
from fastff.config.job import TrainSpec
from fastff.config.model import Grid, ModelSpec, Variant
from fastff.config.recipe import AdamWSpec, Recipe
from fastff.data.dataset import Dataset, load
from fastff.layers import Layer
from fastff.tables.schema import ENGINE
from fastff.train.build import Sizes, build_model
from fastff.train.device import generator
from fastff.train.job import train
from fastff.train.optimiser import rates_and_momenta

log = logging.getLogger(__name__)

Loader = DataLoader[tuple[torch.Tensor, ...]]


def engine_benchmark(
    spec: EngineBenchmarkSpec, path: Path, device: torch.device, *, stacks_at_once: int = 4
) -> pd.DataFrame:
    """Return the time of one run and epoch of each side, a row per point, side and workers.

    An epoch is a pass over the training data and an evaluation on the test data. The plain way
    has the whole machine, with all its threads. The engine trains as its jobs do: on a CUDA
    device several stacks at once; on a CPU as many processes as there are cores, of one thread
    each. Its time is that of the whole training, from building the models to the last
    evaluation, over its runs and epochs; only the start of processes is left out.

    The columns are those of `fastff.tables.schema.ENGINE`: `side` is "plain" or "engine", `runs`
    are at the same time, `s_per_run_epoch` is the median over repeats with its quartiles, and
    `peak_bytes` what torch allocated on a CUDA device, the engine's resident data included; 0 on
    a CPU.

    Args:
        spec: what to measure.
        path: the prepared dataset.
        device: where to train.
        stacks_at_once: stacks that share a CUDA device.

    """
    torch.set_num_threads(_n_cores())
    host = load(path)
    constant = {
        "dataset": spec.dataset,
        "batch_size": spec.recipe.batch_size,
        "device": device.type,
        **provenance(device),
    }
    rows: list[dict[str, Any]] = []
    with _engine(path, device, spec.runs, stacks_at_once) as (run_engine, n_parallel):
        for variant, model, job in _jobs(spec, spec.runs * n_parallel):
            sides: dict[tuple[str, int], Callable[[], object]] = {
                ("plain", workers): _plain(spec, model, host, device, workers).epoch
                for workers in spec.workers
            }
            sides["engine", 0] = lambda job=job: run_engine(job)  # type: ignore[misc]
            times = _in_turn(sides, spec.repeats, device)
            for (side, workers), (seconds, peak) in times.items():
                runs, epochs = (len(job.seeds), spec.recipe.epochs) if side == "engine" else (1, 1)
                if device.type == "cuda" and side == "engine":
                    peak += host.n_bytes
                low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]) / (runs * epochs)
                rows.append(
                    {
                        "variant": variant.name,
                        "label": variant.label,
                        "depth": model.shape.depth,
                        "hidden_features": model.shape.hidden_features,
                        "side": side,
                        "workers": workers,
                        "runs": runs,
                        "epochs": epochs,
                        "s_per_run_epoch": middle,
                        "s_q25": low,
                        "s_q75": high,
                        "peak_bytes": peak,
                        **constant,
                    }
                )
                shape = model.shape
                log.info("%s %s %s: %.4g s per run and epoch", variant.name, shape, side, middle)
    return pd.DataFrame(rows, columns=list(ENGINE.header))


def _jobs(
    spec: EngineBenchmarkSpec, n_seeds: int
) -> Iterator[tuple[Variant, ModelSpec, TrainSpec]]:
    """Yield every variant and its models, with the job that the engine trains there."""
    for variant in spec.variants:
        seen = set()
        for place in spec.grid.points():
            model = variant.model.resolved(place)
            if model.shape in seen:
                continue
            seen.add(model.shape)
            job = TrainSpec(
                experiment="engine_benchmark",
                dataset=spec.dataset,
                variant=variant,
                grid=Grid(depth=(place.depth,), hidden_features=(place.hidden_features,)),
                seeds=tuple(range(n_seeds)),
                recipe=spec.recipe,
            )
            yield variant, model, job


def _plain(
    spec: EngineBenchmarkSpec,
    spec_of_model: ModelSpec,
    host: Dataset,
    device: torch.device,
    workers: int,
) -> PlainTraining:
    model = build_model(spec_of_model, Sizes.of(host), generator=generator(0, "initialisation"))
    return PlainTraining(model.to(device), host, spec.recipe, workers)


def _in_turn(
    sides: dict[tuple[str, int], Callable[[], object]], repeats: int, device: torch.device
) -> dict[tuple[str, int], tuple[list[float], int]]:
    """Return every side's seconds and peak memory, measured in turn after a warm-up of each."""
    measured: dict[tuple[str, int], list[tuple[float, int]]] = {key: [] for key in sides}
    for _ in range(repeats + 1):
        for key, run in sides.items():
            gc.collect()  # what an earlier run left behind is not this one's
            measured[key].append(seconds_and_peak(run, device))
    return {
        key: ([seconds for seconds, _ in results[1:]], max(peak for _, peak in results))
        for key, results in measured.items()
    }


@contextmanager
def _engine(
    path: Path, device: torch.device, runs: int, stacks_at_once: int
) -> Iterator[tuple[Callable[[TrainSpec], object], int]]:
    """Yield what trains a job, and how many stacks of `runs` it trains at the same time."""
    if device.type == "cuda":
        data = load(path, device=device)

        def here(job: TrainSpec) -> object:
            return train([job], data, runs_per_stack=runs, stacks_at_once=stacks_at_once)

        yield here, stacks_at_once
        return
    n_processes = _n_cores()
    spawn = multiprocessing.get_context("spawn")  # forked threads of torch would hang
    with ProcessPoolExecutor(n_processes, spawn, _start_process, (path,)) as pool:

        def in_processes(job: TrainSpec) -> object:
            parts = [job.seeds[start::n_processes] for start in range(n_processes)]
            jobs = [job.model_copy(update={"seeds": seeds}) for seeds in parts]
            return list(pool.map(_train_in_process, jobs, [runs] * n_processes))

        yield in_processes, n_processes


_data: Dataset | None = None


def _start_process(path: Path) -> None:
    global _data
    torch.set_num_threads(1)
    _data = load(path)


def _train_in_process(job: TrainSpec, runs: int) -> None:
    assert _data is not None
    train([job], _data, runs_per_stack=runs)


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class PlainTraining:
    """One run over a DataLoader, with an evaluation of the hard form after every epoch.

    Args:
        model: to train, on the device to train on.
        data: on the CPU: samples are fetched one by one, put together, and moved batch by batch.
        recipe: optimiser, schedule and batch size; of its split and stopping nothing is used.
        workers: processes that fetch samples; 0 fetches in this one.

    """

    def __init__(self, model: Layer, data: Dataset, recipe: Recipe, workers: int) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        train = TensorDataset(data.train_inputs, data.train_labels)
        test = TensorDataset(data.test_inputs, data.test_labels)

        def loader(samples: TensorDataset, *, shuffle: bool) -> Loader:
            return DataLoader(
                samples,
                recipe.batch_size,
                shuffle=shuffle,
                drop_last=shuffle,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=self.device.type == "cuda",
            )

        self.train = loader(train, shuffle=True)
        self.test = loader(test, shuffle=False)
        self.steps = rates_and_momenta(recipe, recipe.epochs * len(self.train))
        self.optimiser = _optimiser(model, recipe)

    def epoch(self) -> float:
        """Train and evaluate for one epoch, and return the seconds that it took."""
        start = time.perf_counter()
        (group,) = self.optimiser.param_groups
        self.model.train()
        total = torch.zeros((), device=self.device)
        for step, (x, y) in enumerate(self.train):
            group["lr"], momentum = self.steps[step]
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
            x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
            self.optimiser.zero_grad()
            outputs, own_loss = self.model.soft_with_loss(x)
            loss = F.cross_entropy(outputs, y)
            (loss if own_loss is None else loss + own_loss).backward()
            self.optimiser.step()
            total += loss.detach()
        self.model.eval()
        right = torch.zeros((), dtype=torch.long, device=self.device)
        with torch.no_grad():
            for x, y in self.test:
                x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
                right += (self.model(x).argmax(-1) == y).sum()
        total.item(), right.item()  # waits for the device
        return time.perf_counter() - start


def _optimiser(model: Layer, recipe: Recipe) -> Optimizer:
    spec, rate = recipe.optimiser, recipe.learning_rate
    if isinstance(spec, AdamWSpec):
        return AdamW(
            model.parameters(),
            lr=rate,
            betas=spec.betas,
            eps=spec.epsilon,
            weight_decay=spec.weight_decay,
        )
    return SGD(model.parameters(), lr=rate, momentum=spec.momentum, weight_decay=spec.weight_decay)
