"""Recorded gradients against autograd on one model at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastff.layers import build_layer
from fastff.train.gradients import N_WINDOWS, GradientRecorder
from fastff.train.stack import stack
from fastff.zoo import ZOO

SIZES = {"in_features": 6, "hidden_features": 3, "out_features": 4, "depth": 2}


@pytest.mark.parametrize("name", ["fff_mixture_logsigmoid", "moe_top1_renormalised"])
def test_curves_are_means_over_windows_of_each_unit(name, generator):
    layers = [build_layer(ZOO[name], **SIZES, generator=generator) for _ in range(2)]
    model = stack(layers)
    n_steps = N_WINDOWS * 2
    recorder = GradientRecorder(model, n_steps)
    expected = torch.zeros(2, 4)
    for step in range(n_steps):
        x = torch.randn(2, 8, 6, generator=generator)
        model.zero_grad()
        model(x).square().sum().backward()
        recorder.add()
        if step < 2:
            for run, layer in enumerate(layers):
                layer.zero_grad()
                layer(x[run]).square().sum().backward()
                for expert in range(4):
                    expected[run, expert] += layer.experts.w_in.grad[expert].abs().mean() / 2
    assert recorder.last_steps == list(range(2, n_steps + 1, 2))
    for run in range(2):
        curves = recorder.result(run).parts
        assert {part: (len(c), len(c[0])) for part, c in curves.items()} == {
            "gate": (N_WINDOWS, model.gate.weight.shape[1]),
            "expert_in": (N_WINDOWS, 4),
            "expert_out": (N_WINDOWS, 4),
        }
        assert curves["expert_in"][0] == pytest.approx(expected[run].tolist(), rel=1e-4)
        is_learning = name == "fff_mixture_logsigmoid"
        assert (sum(map(sum, curves["gate"])) > 0) == is_learning


@given(n_steps=st.integers(1, 350))
def test_every_step_is_in_one_window(n_steps):
    model = stack([build_layer(ZOO["moe_mixture"], **SIZES)])
    recorder = GradientRecorder(model, n_steps)
    assert len(recorder.last_steps) == min(n_steps, N_WINDOWS)
    assert recorder.last_steps[-1] == n_steps
    assert sorted(set(recorder.last_steps)) == recorder.last_steps
    model(torch.ones(1, 2, 6)).sum().backward()
    for _ in range(n_steps):
        recorder.add()
    assert len(recorder.windows["gate"]) == len(recorder.last_steps)


def test_a_gate_that_trains_hard_has_a_gradient_of_zero(generator):
    variant = ZOO["fff_mixture_logsigmoid"]
    variant = variant.model_copy(update={"gate": variant.gate.model_copy(
        update={"form": "log", "hard_training": True})})  # fmt: skip
    model = stack([build_layer(variant, **SIZES, generator=generator)])
    recorder = GradientRecorder(model, 1)
    model(torch.randn(1, 8, 6, generator=generator)).square().sum().backward()
    recorder.add()
    assert recorder.result(0).parts["gate"] == [[0.0] * 3]
    assert sum(recorder.result(0).parts["expert_in"][0]) > 0
