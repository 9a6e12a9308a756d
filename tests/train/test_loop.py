"""The engine: it learns, repeats bit for bit, and keeps the runs of a stack apart."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from plain import plain_run

from fastff.config.model import GridPoint, Point
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.train.build import stack
from fastff.train.device import generator
from fastff.train.evaluate import Part, evaluate, split
from fastff.train.loop import results_of, train_stack
from models import small_model

RECIPE = Recipe(epochs=4, batch_size=64, learning_rate=5e-3)
POINT = Point(depth=3, hidden_features=8)


def model_of(variant):
    return variant.model.resolved(GridPoint(POINT.depth, POINT.hidden_features))


METRICS = (
    "train_loss", "validation_loss", "validation_loss_hard", "accuracy_soft", "accuracy_hard",
)  # fmt: skip


def assert_runs_agree(one, other, tolerance=1e-5):
    assert one.n_parameters == other.n_parameters
    for mine, theirs in zip(one.epochs, other.epochs, strict=True):
        for name in METRICS:
            # a sample whose two best classes tie to the last bit may change sides
            allowed = 0.011 if name.startswith("accuracy") else tolerance
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name), abs=allowed)


@pytest.mark.parametrize("variant", PRESETS.values(), ids=PRESETS)
def test_a_run_does_not_depend_on_the_runs_beside_it(variant, data):
    alone = results_of(train_stack(model_of(variant), [3], RECIPE, data))
    among_ten = results_of(train_stack(model_of(variant), range(10), RECIPE, data))
    assert_runs_agree(alone[0], among_ten[3])
    assert among_ten[3].epochs != among_ten[4].epochs


def test_results_repeat_bit_for_bit(data):
    variant = PRESETS["fff_soft_merged_logsigmoid"]
    first, second = (
        results_of(train_stack(model_of(variant), [0, 1, 2], RECIPE, data)) for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("variant", PRESETS.values(), ids=PRESETS)
def test_training_learns(variant, data):
    recipe = Recipe(epochs=8, batch_size=64, learning_rate=1e-2)
    (run,) = results_of(train_stack(model_of(variant), [0], recipe, data))
    assert run.epochs[-1].train_loss < 0.6 * run.epochs[0].train_loss
    assert run.epochs[-1].accuracy_soft > 0.8


def test_the_engine_equals_a_plain_loop(data):
    """Against one model, eager, one sample order, torch's own pieces and no stack."""
    run = plain_run(
        PRESETS["fff_mixture_softplus"], split(data, RECIPE), seed=5, epochs=4, batch_size=64,
        optimiser=partial(
            torch.optim.AdamW, lr=5e-3, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01
        ),
        per_step=partial(
            torch.optim.lr_scheduler.OneCycleLR, max_lr=5e-3, total_steps=40, pct_start=0.25,
            div_factor=25, final_div_factor=1e5 / 25, base_momentum=0.85, max_momentum=0.95,
        ),
    )  # fmt: skip
    (result,) = results_of(
        train_stack(model_of(PRESETS["fff_mixture_softplus"]), [5], RECIPE, data)
    )
    assert result.n_parameters == sum(parameter.numel() for parameter in run.model.parameters())
    assert [epoch.train_loss for epoch in result.epochs] == pytest.approx(run.losses, abs=1e-5)
    assert result.best is result.epochs[-1]
    x, y = data.test_inputs, data.test_labels
    for hard, loss_name, form in [
        (False, "validation_loss", "soft"),
        (True, "validation_loss_hard", "hard"),
    ]:
        outputs = run.model(x, hard=hard)
        expected = F.cross_entropy(outputs, y).item()
        assert getattr(result.best, loss_name) == pytest.approx(expected, abs=1e-5)
        accuracy = (outputs.argmax(-1) == y).double().mean().item()
        assert getattr(result.best, f"accuracy_{form}") == pytest.approx(accuracy, abs=0.011)
        assert getattr(result, f"test_accuracy_{form}") == getattr(result.best, f"accuracy_{form}")
        right = run.model(data.train_inputs, hard=hard).argmax(-1) == data.train_labels
        trained = getattr(result, f"train_accuracy_{form}")
        assert trained == pytest.approx(right.double().mean().item(), abs=0.005)
    leaves = run.model.gate.leaf(x)
    counts = [[int(((leaves == e) & (y == c)).sum()) for c in range(5)] for e in range(8)]
    (found,) = result.snapshots[-1].expert_counts
    assert sum(map(sum, found)) == 100
    moved = sum(
        abs(a - b)
        for mine, theirs in zip(found, counts, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )
    assert moved <= 2


def test_evaluation_in_chunks_equals_evaluation_at_once(generator):
    layers = [small_model(PRESETS["fff_mixture_log"], generator=generator) for _ in range(2)]
    x = torch.randn(600, 24, generator=generator)
    y = torch.randint(0, 4, (600,), generator=generator)
    found = evaluate(stack(layers), Part(x, y))
    for run, layer in enumerate(layers):
        for form, hard in enumerate((False, True)):
            outputs = layer(x, hard=hard)
            loss = F.cross_entropy(outputs, y).item()
            assert found.loss[form, run].item() == pytest.approx(loss, abs=1e-6)
            accuracy = (outputs.argmax(-1) == y).double().mean().item()
            assert found.accuracy[form, run].item() == pytest.approx(accuracy, abs=0.002)


def test_streams_of_seeds_differ_and_repeat():
    draws = {
        (seed, stream): torch.rand(4, generator=generator(seed, stream)).tolist()
        for seed in (0, 1, 2**32 - 1)
        for stream in ("initialisation", "order")
    }
    assert len({tuple(draw) for draw in draws.values()}) == 6
    assert draws[1, "order"] == torch.rand(4, generator=generator(1, "order")).tolist()


def test_stacking_leaves_its_parts_alone():
    layers = [small_model(PRESETS["moe_mixture"], hidden_features=2, depth=1) for _ in range(2)]
    before = copy.deepcopy(layers[0].state_dict())
    stacked = stack(layers)
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.zero_()
    for name, value in layers[0].state_dict().items():
        assert torch.equal(value, before[name])
