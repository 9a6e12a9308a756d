"""The same engine on a CUDA device: captured steps, several stacks at once, out of memory."""

import logging

import pytest
import torch

from blobs import blobs
from fastff.config.job import TrainSpec
from fastff.config.model import Grid, GridPoint
from fastff.config.presets import PRESETS
from fastff.config.published import PUBLISHED
from fastff.config.recipe import PhaseSpec, PlateauSpec, Recipe, SgdSpec
from fastff.train.device import set_precision
from fastff.train.job import train
from fastff.train.loop import results_of, train_stack
from fastff.train.scheduler import runs_that_fit
from fastff.train.tables import tidy_tables

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

RECIPE = Recipe(epochs=4, batch_size=64, learning_rate=5e-3)
RECIPES = {
    "adamw": RECIPE,
    "sgd": Recipe(epochs=4, batch_size=64, learning_rate=0.1, optimiser=SgdSpec()),
    "plateau": Recipe(
        epochs=4,
        batch_size=64,
        learning_rate=0.02,
        schedule=PlateauSpec(metric="train_loss", patience=1, factor=0.3),
    ),
}
RECORD = ("gradients", "expert_counts", "nodes")
NOISY = ("moe_noisy_top2", "fff_mixture_leak30")  # they draw other numbers on another device


@pytest.fixture(autouse=True)
def exact():
    set_precision(torch.device("cuda"), tf32=False)
    yield
    torch.use_deterministic_algorithms(False)


def run(variant, device, recipe=RECIPE, seeds=(0, 1, 2), **options):
    model = variant.model.resolved(GridPoint(3, 8))
    return results_of(train_stack(model, seeds, recipe, blobs(device), **options))


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in NOISY])
def test_results_agree_with_the_cpu(name):
    on_cpu, on_cuda = (run(PRESETS[name], device) for device in ("cpu", "cuda"))
    for mine, theirs in zip(on_cpu, on_cuda, strict=True):
        for metric in ("train_loss", "validation_loss", "validation_loss_hard"):
            expected = getattr(mine.best, metric)
            assert getattr(theirs.best, metric) == pytest.approx(expected, rel=5e-3, abs=1e-3)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_agrees_with_the_cpu(recipe):
    on_cpu, on_cuda = (run(PRESETS["moe_mixture"], device, recipe) for device in ("cpu", "cuda"))
    for mine, theirs in zip(on_cpu, on_cuda, strict=True):
        expected = [epoch.train_loss for epoch in mine.epochs]
        assert [e.train_loss for e in theirs.epochs] == pytest.approx(expected, rel=5e-3, abs=1e-3)


@pytest.mark.parametrize(
    "name",
    ["study_moe_relu", "study_hypercube", "study_fff_to_plane", "study_node_trees_to_plane",
     "study_cnn_to_plane", "master_leaf_fff"],
)  # fmt: skip
def test_published_models_agree_with_the_cpu(name):
    """With phases, whose weights a captured step reads.

    Not the learned transition: leaves whose path weights start at 0 tie, and which of them are the
    two best a CPU and a GPU choose differently.
    """
    phases = (
        PhaseSpec(epochs=2, hardening_weight=0.1, balance_weight=1.0),
        PhaseSpec(epochs=2, hardening_weight=0.3, balance_weight=0.0),
    )
    recipe = Recipe(epochs=4, batch_size=64, learning_rate=5e-3, phases=phases)
    on_cpu, on_cuda = (run(PUBLISHED[name], device, recipe) for device in ("cpu", "cuda"))
    for mine, theirs in zip(on_cpu, on_cuda, strict=True):
        expected = [epoch.train_loss for epoch in mine.epochs]
        assert [e.train_loss for e in theirs.epochs] == pytest.approx(expected, rel=5e-3, abs=1e-3)


@pytest.mark.parametrize("name", NOISY)
def test_noise_on_the_device_differs_by_run_and_step(name):
    runs = run(PRESETS[name], "cuda")
    alone = run(PRESETS[name], "cuda", seeds=(1,))
    assert alone[0].best.train_loss == pytest.approx(runs[1].best.train_loss, rel=1e-3)
    assert runs[0].best.train_loss < 0.9 * runs[0].epochs[0].train_loss
    quiet = PRESETS[name].with_gates(region_leak=0.0) if "leak" in name else None
    if quiet is not None:
        assert run(quiet, "cuda")[0].best.train_loss != runs[0].best.train_loss


def spec_of(*names):
    return [
        TrainSpec(
            experiment="trial",
            dataset="mnist5k",
            variant=PRESETS[name],
            grid=Grid(depth=(1, 3), hidden_features=(4, 8)),
            seeds=(0, 1, 2, 3),
            recipe=RECIPE,
            record=RECORD,
        )
        for name in names
    ]


def tables_of(specs, **options):
    jobs = train(specs, blobs("cuda"), **({"runs_per_stack": 10} | options))
    return [tidy_tables(spec, results) for spec, results in zip(specs, jobs, strict=True)]


def test_two_runs_give_the_same_tables_however_many_stacks_are_under_way():
    specs = spec_of("fff_mixture_log", "fff_soft_merged_softplus", *NOISY, "cnn_to_plane")
    first, *others = (tables_of(specs, stacks_at_once=n) for n in (4, 4, 1))
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            for name in mine:
                assert mine[name].equals(theirs[name])


def test_a_stack_that_does_not_fit_is_split(monkeypatch, caplog):
    from fastff.train import job

    specs = spec_of("fff_mixture_log")
    expected = tables_of(specs)[0]["runs"]
    original = job.train_stack

    def too_large(model, seeds, *args, **options):
        if len(seeds) > 2:
            torch.empty(2**60, dtype=torch.uint8, device="cuda")
        yield from ()
        return (yield from original(model, seeds, *args, **options))

    monkeypatch.setattr(job, "train_stack", too_large)
    with caplog.at_level(logging.WARNING):
        found = tables_of(specs)[0]["runs"]
    assert caplog.text.count("4 runs start again as two stacks") == 4
    keys = ["depth", "hidden_features", "seed"]
    assert found[keys].equals(expected[keys])
    for metric in ("train_loss", "validation_loss"):
        assert found[metric].tolist() == pytest.approx(expected[metric].tolist(), rel=1e-4)


def test_the_estimate_of_memory_is_above_what_is_used():
    (spec,) = spec_of("fff_mixture_log")
    model = spec.variant.models(spec.grid)[-1]
    data = blobs("cuda", n_train=10_000, n_test=8192)
    free, _ = torch.cuda.mem_get_info()
    n_fit = runs_that_fit(spec, model, data, 1)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results_of(train_stack(model, range(50), RECIPE, data, record=RECORD))
    used = (torch.cuda.max_memory_allocated() - before) / 50
    assert used <= free / n_fit <= 10 * used
