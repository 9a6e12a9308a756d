"""Soft choices of training samples: a plain loop finds the same, and nothing else changes."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from blobs import blobs
from fastff import aux_loss
from fastff.config.experiment import NAMED
from fastff.config.model import GridPoint
from fastff.config.recipe import Recipe
from fastff.train import loop
from fastff.train.build import stack
from fastff.train.evaluate import CHUNKS, Part
from fastff.train.loop import results_of, train_stack
from fastff.train.recording import soft_choices
from fastff.train.results import RunResult
from models import small_model

RECIPE = Recipe(epochs=1, batch_size=64, learning_rate=5e-3)
N_SAMPLES = CHUNKS["cpu"] + 100  # a whole chunk and a part of one
NOTHING = {"train_choice_entropy": None, "train_choice_experts": None}


def samples(generator) -> Part:
    x = torch.randn(N_SAMPLES, 24, generator=generator, dtype=torch.float64)
    return Part(x, torch.zeros(N_SAMPLES, dtype=torch.long))


def parts_of(name, generator, n=3):
    return [small_model(NAMED[name], generator=generator).double() for _ in range(n)]


def test_a_plain_loop_over_samples_counts_the_same(generator):
    layers, part = parts_of("study_fff_product", generator), samples(generator)
    found = loop._choices(stack(layers), part, [0, 1, 2])
    for layer, choices in zip(layers, found, strict=True):
        counts = Counter()
        for x in part.inputs:
            right = torch.sigmoid(layer.gate.logits(x)).tolist()
            best = None
            for leaf in range(8):
                node, weight = 0, 1.0
                for level in (2, 1, 0):
                    side = leaf >> level & 1
                    weight *= right[node] if side else 1 - right[node]
                    node = 2 * node + 1 + side
                best = max(best or (weight, leaf), (weight, leaf))
            counts[best[1]] += 1
        shares = [count / N_SAMPLES for count in counts.values()]
        entropy = -sum(share * math.log2(share) for share in shares)
        assert choices["train_choice_entropy"] == pytest.approx(entropy, abs=1e-12)
        assert choices["train_choice_experts"] == len(counts)


def test_a_region_leak_spreads_the_choices(generator):
    """At a leak of a half every sample takes any leaf alike; without, equal samples one."""
    part = samples(generator)
    part = part._replace(inputs=part.inputs[:1].expand(N_SAMPLES, -1))
    layer = small_model(NAMED["fff_mixture_log"], region_leak=0.5, generator=generator).double()
    (leaking,) = soft_choices(stack([layer]).train(), part)
    assert leaking.sum() == N_SAMPLES
    assert ((leaking - N_SAMPLES / 8).abs() < 5 * math.sqrt(N_SAMPLES / 8)).all()
    (still,) = soft_choices(stack([layer]).eval(), part)
    assert sorted(still.tolist()) == [0] * 7 + [N_SAMPLES]


@pytest.mark.parametrize("name", ["moe_mixture", "moe_top1_switch", "hypercube_mixture"])
def test_without_noise_a_softmax_gate_chooses_as_its_hard_form(name, generator):
    part = samples(generator)
    (layer,) = parts_of(name, generator, 1)
    (found,) = soft_choices(stack([layer]).train(), part)
    assert found.tolist() == (layer.gate.hard(part.inputs) > 0).sum(0).tolist()


@pytest.mark.parametrize("name", NAMED)
def test_a_run_s_choices_are_its_own(name, generator):
    """They depend neither on the runs beside it nor on what was drawn before."""
    layers, part = parts_of(name, generator), samples(generator)
    together = loop._choices(stack(layers), part, [3, 4, 5])
    alone = [loop._choices(stack([one]), part, [3 + i])[0] for i, one in enumerate(layers)]
    assert together == alone
    assert bool(together[0]) == any(hasattr(module, "gate") for module in layers[0].modules())


@pytest.mark.parametrize("name", NAMED)
def test_nothing_else_of_a_run_depends_on_them(name, monkeypatch):
    model, data = NAMED[name].model.resolved(GridPoint(3, 8)), blobs()

    def trained():
        return results_of(train_stack(model, [3, 4], RECIPE, data))

    found = trained()
    monkeypatch.setattr(loop, "_choices", lambda model, part, seeds: [{} for _ in seeds])
    assert [replace(result, **NOTHING) for result in found] == trained()


def test_they_leave_no_loss_and_no_gradient_behind(generator):
    stacked = stack(parts_of("balanced_fff", generator))
    assert loop._choices(stacked, samples(generator), [0, 1, 2])
    assert aux_loss(stacked) == 0
    assert all(parameter.grad is None for parameter in stacked.parameters())


def test_a_stored_run_of_an_earlier_version_is_read(data):
    model = NAMED["moe_mixture"].model.resolved(GridPoint(3, 8))
    (result,) = results_of(train_stack(model, [0], RECIPE, data))
    older = {key: value for key, value in result.to_json().items() if key not in NOTHING}
    assert RunResult.from_json(older) == replace(result, **NOTHING)
