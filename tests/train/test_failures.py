"""A run whose loss becomes NaN or infinite ends; the others of its stack don't notice."""

import math

import pandas as pd
import pytest
import torch

from fastff.config.job import TrainSpec
from fastff.config.model import Grid, GridPoint
from fastff.config.presets import PRESETS
from fastff.config.recipe import ConstantSpec, EarlyStoppingSpec, PlateauSpec, Recipe, SgdSpec
from fastff.train import loop
from fastff.train.job import train
from fastff.train.loop import results_of, train_stack
from fastff.train.results import RunResult
from fastff.train.stopping import Failure
from fastff.train.store import run_context, run_stores
from fastff.train.tables import tidy_tables
from fastff.workflow.progress import failures

RECIPE = Recipe(epochs=4, batch_size=64, learning_rate=5e-3)
STOPPING = Recipe(
    epochs=30,
    batch_size=64,
    learning_rate=5e-3,
    schedule=ConstantSpec(),
    validation_samples=64,
    early_stopping=EarlyStoppingSpec(metric="validation_loss", patience=2),
)
RECIPES = {
    "adamw": RECIPE,
    "stopping": STOPPING,
    "plateau": RECIPE.model_copy(
        update={"schedule": PlateauSpec(metric="train_loss", patience=1), "optimiser": SgdSpec()}
    ),
}
DIVERGING = Recipe(
    epochs=3, batch_size=64, learning_rate=10.0, optimiser=SgdSpec(), schedule=ConstantSpec()
)


@pytest.fixture
def broken_seed(monkeypatch):
    """Break the run of seed 1: its first parameter is so large that its losses are not finite."""
    original = loop._build

    def build(spec, seed, data):
        model = original(spec, seed, data)
        if seed == 1:
            with torch.no_grad():
                next(model.parameters()).fill_(1e38)
                for parameter in model.parameters():
                    parameter.mul_(1e30)
        return model

    return lambda: monkeypatch.setattr(loop, "_build", build)


def run(variant, recipe, data, seeds=(0, 1, 2), **options):
    model = variant.model.resolved(GridPoint(3, 8))
    return results_of(train_stack(model, seeds, recipe, data, **options))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(
    "name", ["fff_mixture_log", "moe_top1_switch", "moe_noisy_top2", "fff_mixture_leak30",
             "moe_soft_merged", "node_tree_gelu", "fff_on_plane"]
)  # fmt: skip
def test_the_others_keep_their_bits(name, recipe, data, broken_seed):
    record = ("gradients", "expert_counts", "nodes")
    whole = run(PRESETS[name], recipe, data, record=record)
    broken_seed()
    broken = run(PRESETS[name], recipe, data, record=record)
    assert whole[1].failure is None
    assert broken[1].failure == Failure(epoch=1, last_loss=None)
    assert broken[1].epochs == ()
    assert broken[1].best is None
    assert (broken[0], broken[2]) == (whole[0], whole[2])


def test_a_failure_has_its_epoch_and_last_finite_loss(data):
    """SGD at a huge rate: the losses of a plain loop say when and at which loss."""
    (result,) = run(PRESETS["mlp_relu"], DIVERGING, data, seeds=[0])
    assert result.failure is not None
    assert result.failure.epoch == len(result.epochs) + 1
    assert math.isfinite(result.failure.last_loss)
    assert result.failure.last_loss > 3
    assert RunResult.from_json(result.to_json()) == result


def test_a_stack_ends_when_all_its_runs_have_failed(data):
    seen = []
    recipe = DIVERGING.model_copy(update={"epochs": 50})
    results = run(
        PRESETS["mlp_relu"],
        recipe,
        data,
        seeds=[0, 1],
        on_epoch=lambda epoch, loss: seen.append(epoch),
    )
    assert all(result.failure for result in results)
    assert len(seen) == max(result.failure.epoch for result in results) < 50


def test_early_stopping_does_not_wait_for_a_failed_run(data, broken_seed):
    broken_seed()
    seen = []
    results = run(
        PRESETS["mlp_relu"],
        STOPPING.model_copy(update={"learning_rate": 0.05, "epochs": 200}),
        data,
        on_epoch=lambda epoch, loss: seen.append((epoch, loss)),
    )
    assert len(seen) == max(len(result.epochs) for result in results) < 200
    assert all(math.isfinite(loss) for _, loss in seen)


def spec_of(seeds=(0, 1, 2)) -> TrainSpec:
    return TrainSpec(
        experiment="trial",
        dataset="mnist5k",
        variant=PRESETS["fff_mixture_log"],
        grid=Grid(depth=(2,), hidden_features=(4,)),
        seeds=seeds,
        recipe=RECIPE,
        record=("gradients", "expert_counts"),
    )


def test_tables_show_a_failed_run_without_scores(data, broken_seed, tmp_path):
    broken_seed()
    specs = [spec_of()]
    stores = run_stores(tmp_path, [run_context(specs[0], data, "code")])
    jobs = train(specs, data, runs_per_stack=10, stores=stores)
    assert train(specs, data, runs_per_stack=10, stores=stores) == jobs
    tables = tidy_tables(specs[0], jobs[0])
    runs = tables["runs"].set_index("seed")
    assert runs["failed_epoch"].isna().tolist() == [True, False, True]
    assert runs.loc[1, "failed_epoch"] == 1
    scores = ["train_loss", "validation_loss", "accuracy_soft", "accuracy_hard", "best_epoch"]
    assert runs.loc[1, scores].isna().all()
    assert runs.loc[[0, 2], scores].notna().all(axis=None)
    epochs = tables["epochs"]
    assert epochs.groupby("seed")["epoch"].agg(list).tolist() == [[1, 2, 3, 4]] * 3
    assert epochs[epochs["seed"] == 1][["train_loss", "accuracy_hard"]].isna().all(axis=None)
    for name in ("expert_counts", "gradients"):
        assert set(tables[name]["seed"]) == {0, 2}
    (line,) = failures(specs, jobs)
    assert line == (
        "trial fff_mixture_log, depth 2, hidden 4, seed 1: the loss is no finite number in "
        "epoch 1; the last that was: none"
    )


def test_a_job_of_failed_runs_only_has_every_table(data, broken_seed):
    broken_seed()
    spec = spec_of(seeds=(1,))
    (results,) = train([spec], data, runs_per_stack=10)
    tables = tidy_tables(spec, results)
    assert isinstance(tables["expert_counts"], pd.DataFrame)
    assert tables["expert_counts"].empty
    assert "count" in tables["expert_counts"]
    assert len(tables["epochs"]) == 4
