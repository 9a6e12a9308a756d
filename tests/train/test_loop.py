"""The engine: it learns, repeats bit for bit, and keeps the runs of a stack apart."""

import copy

import pytest
import torch
import torch.nn.functional as F
from blobs import blobs

from fastff.layers import build_layer
from fastff.spec import Recipe, Shape
from fastff.train.evaluate import evaluate
from fastff.train.loop import train_stack
from fastff.train.optimiser import build_optimiser
from fastff.train.seeds import generator
from fastff.train.stack import stack
from fastff.zoo import ZOO

RECIPE = Recipe(epochs=4, batch_size=64, learning_rate=5e-3)
SHAPE = Shape(depth=3, hidden_features=8)
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


@pytest.mark.parametrize("variant", ZOO.values(), ids=ZOO)
def test_a_run_does_not_depend_on_the_runs_beside_it(variant, data):
    alone = train_stack(variant, SHAPE, [3], RECIPE, data)
    among_ten = train_stack(variant, SHAPE, range(10), RECIPE, data)
    assert_runs_agree(alone[0], among_ten[3])
    assert among_ten[3].epochs != among_ten[4].epochs


def test_results_repeat_bit_for_bit(data):
    variant = ZOO["fff_soft_merged_logsigmoid"]
    first, second = (train_stack(variant, SHAPE, [0, 1, 2], RECIPE, data) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("variant", ZOO.values(), ids=ZOO)
def test_training_learns(variant, data):
    recipe = Recipe(epochs=8, batch_size=64, learning_rate=1e-2)
    (run,) = train_stack(variant, SHAPE, [0], recipe, data)
    assert run.epochs[-1].train_loss < 0.6 * run.epochs[0].train_loss
    assert run.epochs[-1].accuracy_soft > 0.8


def test_the_engine_equals_a_plain_loop(data):
    """Against one model, eager, one sample order, torch's own pieces and no stack."""
    variant = ZOO["fff_mixture_softplus"]
    model = build_layer(
        variant, in_features=24, hidden_features=8, out_features=5, depth=3,
        generator=generator(5, "initialisation"),
    )  # fmt: skip
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=5e-3, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=5e-3, total_steps=40, pct_start=0.25, div_factor=25,
        final_div_factor=1e5 / 25, base_momentum=0.85, max_momentum=0.95,
    )  # fmt: skip
    order, losses = generator(5, "order"), []
    for _ in range(4):
        losses.append(0.0)
        for batch in torch.randperm(640, generator=order).split(64):
            loss = F.cross_entropy(model(data.train_inputs[batch]), data.train_labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if optimiser.state and schedule.last_epoch < 39:
                schedule.step()
            losses[-1] += loss.item() / 10

    (run,) = train_stack(variant, SHAPE, [5], RECIPE, data)
    assert run.n_parameters == n_parameters
    assert [epoch.train_loss for epoch in run.epochs] == pytest.approx(losses, abs=1e-5)
    x, y = data.validation_inputs, data.validation_labels
    for hard, loss_name, accuracy_name in [
        (False, "validation_loss", "accuracy_soft"),
        (True, "validation_loss_hard", "accuracy_hard"),
    ]:
        outputs = model(x, hard=hard)
        final = run.epochs[-1]
        expected = F.cross_entropy(outputs, y).item()
        assert getattr(final, loss_name) == pytest.approx(expected, abs=1e-5)
        accuracy = (outputs.argmax(-1) == y).double().mean().item()
        assert getattr(final, accuracy_name) == pytest.approx(accuracy, abs=0.011)
    leaves = model.gate.leaf(x)
    counts = [[int(((leaves == e) & (y == c)).sum()) for c in range(5)] for e in range(8)]
    assert sum(map(sum, run.expert_counts)) == 100
    moved = sum(
        abs(a - b)
        for mine, theirs in zip(run.expert_counts, counts, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )
    assert moved <= 2


def test_schedule_of_the_study():
    """Warm-up over 25 % from lr/25, then down to lr/1e5; the first beta 0.95 -> 0.85 -> 0.95."""
    recipe = Recipe(epochs=1, batch_size=1, learning_rate=0.01)
    optimiser, schedule = build_optimiser([torch.nn.Parameter(torch.zeros(1))], recipe, 1000)
    rates, betas = [], []
    for step in range(1000):
        if step > 0:
            schedule.step()
        rates.append(optimiser.param_groups[0]["lr"])
        betas.append(optimiser.param_groups[0]["betas"])
        optimiser.step()
    assert rates[0] == pytest.approx(0.01 / 25)
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) == 249
    assert rates[-1] == pytest.approx(0.01 / 1e5)
    assert [betas[step][0] for step in (0, 249, 999)] == pytest.approx([0.95, 0.85, 0.95])
    assert {second for _, second in betas} == {0.99}
    assert optimiser.param_groups[0]["eps"] == 1e-5
    assert optimiser.param_groups[0]["weight_decay"] == 0.01


def test_evaluation_in_chunks_equals_evaluation_at_once(data, generator):
    layers = [
        build_layer(
            ZOO["fff_mixture_logsigmoid"], in_features=24, hidden_features=6, out_features=5,
            depth=3, generator=generator,
        )
        for _ in range(2)
    ]  # fmt: skip
    x = torch.randn(600, 24, generator=generator)
    y = torch.randint(0, 5, (600,), generator=generator)
    found = evaluate(stack(layers), x, y, 5)
    for run, layer in enumerate(layers):
        for form, hard in enumerate((False, True)):
            outputs = layer(x, hard=hard)
            loss = F.cross_entropy(outputs, y).item()
            assert found.loss[form, run].item() == pytest.approx(loss, abs=1e-6)
            accuracy = (outputs.argmax(-1) == y).double().mean().item()
            assert found.accuracy[form, run].item() == pytest.approx(accuracy, abs=0.002)
        leaf = layer.gate.leaf(x)
        for expert in range(8):
            expected = torch.bincount(y[leaf == expert], minlength=5).double()
            assert torch.equal(found.expert_counts[run, expert], expected)


def test_streams_of_seeds_differ_and_repeat():
    draws = {
        (seed, stream): torch.rand(4, generator=generator(seed, stream)).tolist()
        for seed in (0, 1, 2**32 - 1)
        for stream in ("initialisation", "order")
    }
    assert len({tuple(draw) for draw in draws.values()}) == 6
    assert draws[1, "order"] == torch.rand(4, generator=generator(1, "order")).tolist()


def test_stacking_leaves_its_parts_alone():
    layers = [
        build_layer(ZOO["moe_mixture"], in_features=4, hidden_features=2, out_features=3, depth=1)
        for _ in range(2)
    ]
    before = copy.deepcopy(layers[0].state_dict())
    stacked = stack(layers)
    with torch.no_grad():
        for parameter in stacked.parameters():
            parameter.zero_()
    for name, value in layers[0].state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(epochs=1, batch_size=641, learning_rate=0.1), "at most the 640 training samples"),
        (Recipe(epochs=1, batch_size=320, learning_rate=0.1), "2 steps with warm_up = 0.25"),
    ],
)
def test_a_recipe_that_does_not_fit_the_data_is_refused(recipe, message):
    with pytest.raises(ValueError, match=message):
        train_stack(ZOO["moe_mixture"], SHAPE, [0], recipe, blobs())
