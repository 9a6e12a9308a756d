"""Banks of experts against naive loops in float64, and what merging costs in memory."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastff.layers import MixtureExperts, RoutedLayer, SoftMergedExperts, TreeGate
from fastff.layers.experts import ACTIVATIONS
from fastff.train.build import stack

SIZES = {
    "n_experts": st.integers(1, 9), "in_features": st.integers(1, 12),
    "hidden": st.integers(1, 7), "out_features": st.integers(1, 5), "batch": st.integers(0, 6),
}  # fmt: skip


def naive_mixture(experts, x, p):
    """Return Σ_e p_e E_e(x), expert by expert."""
    out = torch.zeros(len(x), experts.w_out.shape[-1], dtype=x.dtype)
    for e in range(experts.n_experts):
        hidden = experts.activate(x @ experts.w_in[e].T + experts.b_in[e])
        outputs = hidden @ experts.w_out[e] + experts.b_out[e]
        out += p[:, e, None] * ACTIVATIONS[experts.output_activation](outputs)
    return out


def naive_merged(experts, x, p):
    """Return the output of one expert per sample with weights Σ_e p_e W_e, all stored."""
    w_in = torch.einsum("be,ehi->bhi", p, experts.w_in)
    w_out = torch.einsum("be,eho->bho", p, experts.w_out)
    hidden = experts.activate(torch.einsum("bhi,bi->bh", w_in, x) + p @ experts.b_in)
    outputs = torch.einsum("bho,bh->bo", w_out, hidden) + p @ experts.b_out
    return ACTIVATIONS[experts.output_activation](outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("kind", "naive"), [(MixtureExperts, naive_mixture), (SoftMergedExperts, naive_merged)]
)
@given(**SIZES, output_activation=st.sampled_from([*ACTIVATIONS]), seed=st.integers(0, 2**16))
def test_outputs_and_gradients_equal_the_naive_form(
    kind, naive, activation, n_experts, in_features, hidden, out_features, batch, seed,
    output_activation,
):  # fmt: skip
    draw = torch.Generator().manual_seed(seed)
    experts = kind(
        n_experts, in_features, hidden, out_features,
        activation=activation, bias=True, output_activation=output_activation, generator=draw,
    ).double()  # fmt: skip
    x = torch.randn(batch, in_features, generator=draw, dtype=torch.float64, requires_grad=True)
    p = torch.rand(batch, n_experts, generator=draw, dtype=torch.float64).softmax(-1)
    p.requires_grad_()
    inputs = [x, p, *experts.parameters()]
    output, expected = experts(x, p), naive(experts, x, p)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=0)
    seen = torch.randn(output.shape, generator=draw, dtype=torch.float64)
    for gradient, wanted in zip(
        torch.autograd.grad(output, inputs, seen),
        torch.autograd.grad(expected, inputs, seen),
        strict=True,
    ):
        torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [MixtureExperts, SoftMergedExperts])
@given(
    n_experts=st.integers(1, 9), hidden=st.integers(1, 9), out_features=st.integers(2, 11),
    n_runs=st.integers(2, 4), seed=st.integers(0, 2**16),
    output_activation=st.sampled_from(["linear", "relu"]),
)  # fmt: skip
def test_a_run_has_the_same_bits_in_any_stack(
    kind, n_experts, hidden, out_features, n_runs, seed, output_activation
):
    """Of a classifier, both forms at once, as an evaluation takes them."""
    draw = torch.Generator().manual_seed(seed)
    options = {"bias": True, "output_activation": output_activation, "generator": draw}
    banks = [kind(n_experts, 24, hidden, out_features, **options) for _ in range(n_runs)]
    x = torch.randn(256, 24, generator=draw)
    forms = torch.rand(2, n_runs, 256, n_experts, generator=draw).softmax(-1)
    with torch.no_grad():
        alone = [
            stack([bank])(x.expand(1, -1, -1), forms[:, [run]]) for run, bank in enumerate(banks)
        ]
        together = stack(banks)(x.expand(n_runs, -1, -1), forms)
    assert torch.equal(together, torch.cat(alone, 1))


def test_one_hot_weights_make_both_banks_the_chosen_expert(generator):
    mixture = MixtureExperts(4, 6, 5, 3, generator=generator).double()
    merged = SoftMergedExperts(4, 6, 5, 3).double()
    merged.load_state_dict(mixture.state_dict())
    x = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    chosen = torch.eye(4).double()[torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])]
    torch.testing.assert_close(mixture(x, chosen), merged(x, chosen))


MEMORY = """
import torch
from torch.profiler import ProfilerActivity, profile
from fastff.layers import SoftMergedExperts, TreeGate, RoutedLayer
torch.set_num_threads(1)
layer = RoutedLayer(TreeGate(3072, 4), SoftMergedExperts(16, 3072, 32, 10))
x = torch.randn(128, 3072)
for parameter in layer.parameters():
    parameter.grad = torch.zeros_like(parameter)
with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
    layer(x, hard=False).square().sum().backward()
held = peak = 0
for event in sorted(
    (e for e in trace.profiler.kineto_results.events() if e.name() == "[memory]"),
    key=lambda e: e.start_ns(),
):
    held += event.nbytes()
    peak = max(peak, held)
print(peak)
"""


def test_merging_never_stores_a_merged_weight_per_sample():
    """Peak memory of forward and backward beyond parameters, gradients and input, in bytes.

    The naive form's merged first-layer weights alone take 128 x 32 x 3072 floats = 48 MiB a
    copy; gradients computed before they are added to .grad are counted here too.
    """
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    peak = int(run.stdout.splitlines()[-1])
    assert 2**20 < peak < 64 * 2**20


def test_a_gate_and_a_bank_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="routes to 8 experts, the bank has 4"):
        RoutedLayer(TreeGate(6, 3), MixtureExperts(4, 6, 5, 3))


@pytest.mark.parametrize("name", ["n_experts", "in_features", "hidden_features", "out_features"])
def test_bad_sizes_are_named(name):
    sizes = {"n_experts": 2, "in_features": 2, "hidden_features": 2, "out_features": 2, name: 0}
    with pytest.raises(ValueError, match=f"{name} = 0: must be at least 1"):
        MixtureExperts(**sizes)


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="output_activation = 'tanh': allowed are relu, gelu"):
        MixtureExperts(2, 2, 2, 2, output_activation="tanh")
    with pytest.raises(ValueError, match="activation = 'tanh': allowed are relu, gelu"):
        MixtureExperts(2, 2, 2, 2, activation="tanh")
