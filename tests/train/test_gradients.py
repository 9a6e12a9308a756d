"""Recorded gradients against autograd on one model at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastff.config.presets import PRESETS
from fastff.train.build import stack
from fastff.train.recording import N_WINDOWS, GradientRecorder
from models import small_model

SIZES = {"in_features": 8, "hidden_features": 3, "out_features": 4, "depth": 2}


def take_step(model, recorder, x):
    model.zero_grad()
    model(x).square().sum().backward()
    recorder.accumulate()
    recorder.advance()


@pytest.mark.parametrize("name", ["fff_mixture_logsigmoid", "moe_top1_renormalised"])
def test_curves_are_means_over_windows_of_each_unit(name, generator):
    layers = [small_model(PRESETS[name], **SIZES, generator=generator) for _ in range(2)]
    model = stack(layers)
    n_steps = N_WINDOWS * 2
    recorder = GradientRecorder(model, n_steps)
    expected = torch.zeros(2, 4)
    for step in range(n_steps):
        x = torch.randn(2, 8, 8, generator=generator)
        take_step(model, recorder, x)
        if step < 2:
            for run, layer in enumerate(layers):
                layer.zero_grad()
                layer(x[run]).square().sum().backward()
                for expert in range(4):
                    expected[run, expert] += layer.experts.w_in.grad[expert].abs().mean() / 2
    for run in range(2):
        found = recorder.result(run, n_steps)
        assert found.last_steps == list(range(2, n_steps + 1, 2))
        curves = found.parts
        assert {part: (len(c), len(c[0])) for part, c in curves.items()} == {
            "gate": (N_WINDOWS, model.gate.weight.shape[1]),
            "expert_in": (N_WINDOWS, 4),
            "expert_out": (N_WINDOWS, 4),
        }
        assert curves["expert_in"][0] == pytest.approx(expected[run].tolist(), rel=1e-4)
        is_learning = name == "fff_mixture_logsigmoid"
        assert (sum(map(sum, curves["gate"])) > 0) == is_learning


def test_a_node_s_gradient_is_the_mean_over_parallel_trees(generator):
    tree = small_model(PRESETS["node_trees_32"], **SIZES, generator=generator)
    recorder = GradientRecorder(model := stack([tree]), 1)
    x = torch.randn(1, 8, 8, generator=generator)
    take_step(model, recorder, x)
    tree(x[0]).square().sum().backward()
    for part, parameter in (("node_in", tree.w_in), ("node_out", tree.w_out)):
        expected = [parameter.grad[:, node].abs().mean().item() for node in range(7)]
        assert recorder.result(0, 1).parts[part][0] == pytest.approx(expected, rel=1e-4)


@given(n_steps=st.integers(1, 350))
def test_every_step_is_in_one_window(n_steps):
    model = stack([small_model(PRESETS["moe_mixture"], **SIZES)])
    recorder = GradientRecorder(model, n_steps)
    model(torch.ones(1, 2, 8)).sum().backward()
    for _ in range(n_steps):
        recorder.accumulate()
        recorder.advance()
    ends = recorder.result(0, n_steps).last_steps
    assert len(ends) == min(n_steps, N_WINDOWS)
    assert ends[-1] == n_steps
    assert sorted(set(ends)) == ends
    # every step had the same gradient, so that every window's mean is it
    windows = torch.tensor(recorder.result(0, n_steps).parts["expert_in"])
    torch.testing.assert_close(windows, windows[:1].expand_as(windows))


def test_a_run_that_stopped_early_has_the_windows_until_then(generator):
    model = stack([small_model(PRESETS["moe_mixture"], **SIZES, generator=generator)])
    recorder = GradientRecorder(model, 1000)
    for _ in range(25):
        take_step(model, recorder, torch.randn(1, 8, 8, generator=generator))
    assert recorder.result(0, 1000).last_steps == [10, 20]
    assert recorder.result(0, 15).last_steps == [10]
    assert recorder.result(0, 5).parts == {}


def test_a_gate_that_trains_hard_has_a_gradient_of_zero(generator):
    variant = PRESETS["fff_mixture_log"].with_gates(hard_training=True)
    model = stack([small_model(variant, **SIZES, generator=generator)])
    recorder = GradientRecorder(model, 1)
    take_step(model, recorder, torch.randn(1, 8, 8, generator=generator))
    parts = recorder.result(0, 1).parts
    assert parts["gate"] == [[0.0] * 3]
    assert sum(parts["expert_in"][0]) > 0
