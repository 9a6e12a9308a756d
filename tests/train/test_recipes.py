"""Every optimiser and schedule against torch's own on one model at a time; early stopping."""

from functools import partial

import pytest
import torch
from plain import plain_run
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from blobs import blobs
from fastff.config.model import Point
from fastff.config.presets import PRESETS
from fastff.config.recipe import (
    AdamWSpec,
    ConstantSpec,
    EarlyStoppingSpec,
    OneCycleSpec,
    PlateauSpec,
    Recipe,
    SgdSpec,
)
from fastff.train.evaluate import split
from fastff.train.loop import results_of, train_stack
from fastff.train.optimiser import rates_and_momenta
from fastff.train.stopping import EarlyStopping


def model_of(name):
    return PRESETS[name].model.resolved(Point(3, 8))


SIZES = {"epochs": 6, "batch_size": 64}
ADAMW = partial(AdamW, lr=5e-3, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01)
CYCLE = partial(OneCycleLR, pct_start=0.25, div_factor=25, final_div_factor=1e5 / 25,
                base_momentum=0.85, max_momentum=0.95, total_steps=60)  # fmt: skip


def recipe_of(learning_rate, **more) -> Recipe:
    return Recipe(**SIZES, learning_rate=learning_rate, **more)


@pytest.mark.parametrize(
    ("recipe", "optimiser", "schedule"),
    [
        (recipe_of(5e-3), ADAMW, {"per_step": partial(CYCLE, max_lr=5e-3)}),
        (recipe_of(5e-3, schedule=ConstantSpec()), ADAMW, {}),
        (recipe_of(0.1, optimiser=SgdSpec(), schedule=ConstantSpec()),
         partial(SGD, lr=0.1, momentum=0.9), {}),
        (recipe_of(0.2, optimiser=SgdSpec(momentum=0.0, weight_decay=1e-3),
                   schedule=OneCycleSpec()),
         partial(SGD, lr=0.2, momentum=0.0, weight_decay=1e-3), None),
        # rates so high that the train loss stands still now and then
        (recipe_of(0.08, schedule=PlateauSpec(metric="train_loss", patience=1, factor=0.3)),
         partial(ADAMW, lr=0.08),
         {"plateau": partial(ReduceLROnPlateau, factor=0.3, patience=0, threshold=0.0)}),
        (recipe_of(1.5, optimiser=SgdSpec(),
                   schedule=PlateauSpec(metric="train_loss", patience=1, factor=0.3)),
         partial(SGD, lr=1.5, momentum=0.9),
         {"plateau": partial(ReduceLROnPlateau, factor=0.3, patience=0, threshold=0.0)}),
    ],
    ids=["adamw one-cycle", "adamw constant", "sgd constant", "sgd one-cycle", "adamw plateau",
         "sgd plateau"],
)  # fmt: skip
def test_a_stack_equals_plain_loops(recipe, optimiser, schedule, data):
    if schedule is None:  # a cycle moves SGD's momentum too
        schedule = {"per_step": partial(CYCLE, max_lr=0.2)}
    parts = split(data, recipe)
    seeds = (5, 6, 7)
    results = results_of(train_stack(model_of("fff_mixture_log"), seeds, recipe, data))
    lowered = False
    for seed, result in zip(seeds, results, strict=True):
        run = plain_run(
            PRESETS["fff_mixture_log"], parts, seed=seed, **SIZES, optimiser=optimiser, **schedule
        )
        lowered |= run.rates[-1] < run.rates[0]
        losses = [epoch.train_loss for epoch in result.epochs]
        assert losses == pytest.approx(run.losses, rel=2e-3, abs=1e-4)
        accuracies = [epoch.accuracy_hard for epoch in result.epochs]
        assert accuracies == pytest.approx(run.accuracies, abs=0.031)
    if "plateau" in schedule:
        assert lowered, "the schedule had nothing to do: raise the rate of this test"


def test_runs_on_a_plateau_do_not_depend_on_each_other(data):
    schedule = PlateauSpec(metric="train_loss", patience=1, factor=0.3)
    recipe = recipe_of(0.08, schedule=schedule)
    (alone,) = results_of(train_stack(model_of("moe_mixture"), [6], recipe, data))
    together = results_of(train_stack(model_of("moe_mixture"), [5, 6, 7], recipe, data))
    for mine, theirs in zip(alone.epochs, together[1].epochs, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)


def test_schedule_of_the_study():
    """Warm-up over 25 % from lr/25, then down to lr/1e5; the first beta 0.95 -> 0.85 -> 0.95."""
    recipe = Recipe(epochs=1, batch_size=1, learning_rate=0.01)
    rates, momenta = zip(*rates_and_momenta(recipe, 1000), strict=True)
    assert len(rates) == 1000
    assert rates[0] == pytest.approx(0.01 / 25)
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) == 249
    assert rates[-1] == pytest.approx(0.01 / 1e5)
    assert [momenta[step] for step in (0, 249, 999)] == pytest.approx([0.95, 0.85, 0.95])
    assert recipe.optimiser == AdamWSpec(betas=(0.9, 0.99), epsilon=1e-5, weight_decay=0.01)


@pytest.mark.parametrize(
    ("optimiser", "momentum"), [(AdamWSpec(betas=(0.7, 0.8)), 0.7), (SgdSpec(momentum=0.6), 0.6)]
)
def test_a_constant_schedule_leaves_rate_and_momentum(optimiser, momentum):
    recipe = recipe_of(0.01, optimiser=optimiser, schedule=ConstantSpec())
    assert rates_and_momenta(recipe, 3) == [(0.01, momentum)] * 3


def test_a_schedule_without_a_step_to_warm_up_is_refused():
    recipe = Recipe(epochs=1, batch_size=320, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"2 steps with warm_up = 0\.25"):
        results_of(train_stack(model_of("moe_mixture"), [0], recipe, blobs()))


STOPPING = EarlyStoppingSpec(patience=3)


def test_early_stopping_keeps_each_run_s_best_epoch():
    model = torch.nn.Linear(1, 3, bias=False)  # three runs of one parameter each
    stopping = EarlyStopping(STOPPING, model)
    accuracies = [
        #    run 0  1    2
        (0.1, 0.5, 0.1),
        (0.2, 0.4, 0.2),
        (0.2, 0.4, 0.3),
        (0.1, 0.4, 0.4),  # run 1 stops
        (0.1, 0.9, 0.5),  # run 0 stops; run 1 gets better too late
        (0.9, 0.9, 0.6),
    ]
    for epoch, values in enumerate(accuracies, 1):
        with torch.no_grad():
            model.weight.fill_(float(epoch))
        stopping.after_epoch(epoch, {"accuracy_hard": torch.tensor(values)})
        assert not stopping.is_over
    assert stopping.best_epoch.tolist() == [2, 1, 6]
    assert stopping.stopped_epoch.tolist() == [5, 4, 0]
    stopping.restore()
    assert model.weight.flatten().tolist() == [2.0, 1.0, 6.0]


@pytest.mark.parametrize("values", [(0.5, 0.4, 0.3), (float("nan"),) * 3])
def test_the_lowest_loss_is_the_best_and_no_number_is_never(values):
    model = torch.nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(EarlyStoppingSpec(metric="validation_loss", patience=2), model)
    for epoch, value in enumerate(values, 1):
        stopping.after_epoch(epoch, {"validation_loss": torch.tensor([value])})
    is_number = values[0] == values[0]
    assert stopping.best_epoch.tolist() == [3 if is_number else 1]
    assert stopping.is_over != is_number


def test_a_stopped_run_reports_its_best_epoch(data):
    recipe = Recipe(
        epochs=40,
        batch_size=64,
        learning_rate=0.01,
        schedule=ConstantSpec(),
        validation_samples=120,
        early_stopping=STOPPING,
    )
    variant = PRESETS["fff_mixture_log"]
    results = results_of(
        train_stack(
            model_of("fff_mixture_log"),
            (0, 1, 2),
            recipe,
            data,
            record=("expert_counts", "gradients"),
        )
    )
    parts = split(data, recipe)
    for seed, result in enumerate(results):
        assert len(result.epochs) < 40
        assert len(result.epochs) == result.best_epoch + STOPPING.patience
        accuracies = [epoch.accuracy_hard for epoch in result.epochs]
        assert accuracies.index(max(accuracies)) == result.best_epoch - 1
        epochs = [snapshot.epoch for snapshot in result.snapshots]
        assert epochs == [*range(result.best_epoch), result.best_epoch]
        last = result.snapshots[-1].expert_counts
        assert sum(count for tree in last for expert in tree for count in expert) == 120
        assert result.gradients.last_steps[-1] <= 8 * len(result.epochs)
        # the reported accuracy is that of the parameters of that epoch
        run = plain_run(variant, parts, seed=seed, epochs=result.best_epoch, batch_size=64,
                        optimiser=partial(ADAMW, lr=0.01))  # fmt: skip
        right = run.model(parts.test.inputs).argmax(-1) == parts.test.labels
        assert result.test_accuracy_hard == pytest.approx(right.double().mean().item(), abs=0.031)
