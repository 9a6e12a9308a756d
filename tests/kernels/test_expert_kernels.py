"""The chosen experts against float64, forward and gradients."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    DEVICE,
    EXTREMES,
    HALVES,
    LAYOUTS,
    Draw,
    close,
    doubles,
    few,
    needs_cuda,
    quiet,
    same,
    same_activation,
)
from triton.runtime.errors import InterpreterError

from fastff.kernels import numba as cpu
from fastff.kernels import reference, tuning
from fastff.kernels.activations import ACTIVATIONS
from fastff.kernels.reference import ExpertArguments
from fastff.kernels.triton.chunks import n_kept
from fastff.kernels.triton.experts import (
    chosen_experts_backward,
    experts_gathered,
    experts_grouped,
    grouped_outer,
)
from fastff.kernels.triton.grouping import group_rows

shapes = given(
    batch=st.integers(1, 60), features=st.integers(1, 150), hidden=st.integers(1, 40),
    out=st.integers(1, 150), n_experts=st.integers(1, 9), top_k=st.integers(1, 3),
    plain=st.booleans(), activation=st.sampled_from([*ACTIVATIONS]), seed=st.integers(0, 2**16),
)  # fmt: skip


def draw_case(
    device, dtype, batch, features, hidden, out, n_experts, top_k, plain, seed, layout="steps"
):
    draw = Draw(seed, device, dtype)
    case = [
        draw.inputs(batch, features, layout),
        draw.choice(n_experts, batch, top_k),
        draw(n_experts, hidden, features) / features**0.5,
        draw(n_experts, hidden, out) / hidden**0.5,
    ]
    optional = [draw(batch, top_k), draw(n_experts, hidden), draw(n_experts, out)]
    return case, [None] * 3 if plain else optional, draw.inputs(batch, out)


def check(forward, device, dtype, activation, **shape):
    (x, expert, w_in, w_out), optional, _ = draw_case(device, dtype, **shape)
    outputs, hidden = forward(ExpertArguments(x, expert, w_in, w_out, activation, *optional))
    x, w_in, w_out, *optional = doubles(x, w_in, w_out, *optional)
    expected, z = reference.chosen_experts_with_hidden(
        ExpertArguments(x, expert, w_in, w_out, activation, *optional)
    )
    close(outputs, expected)
    close(hidden, z)


def check_backward(backward, device, dtype, activation, **shape):
    (x, expert, w_in, w_out), optional, grad = draw_case(device, dtype, **shape)
    x64, in64, out64, grad64, *optional64 = doubles(x, w_in, w_out, grad, *optional)
    _, z = reference.chosen_experts_with_hidden(
        ExpertArguments(x64, expert, in64, out64, activation, *optional64)
    )
    z = z.to(dtype)  # so that both see the same sign of a hidden unit near 0
    gradients = backward(grad, z, ExpertArguments(x, expert, w_in, w_out, activation, *optional))
    wanted = reference.chosen_experts_backward(
        grad64, z.double(), ExpertArguments(x64, expert, in64, out64, activation, *optional64)
    )
    for gradient, expected in zip(gradients, wanted, strict=True):
        assert (gradient is None) == (expected is None)
        if expected is not None:
            close(gradient, expected)


@shapes
def test_cpu(**shape):
    check(cpu.chosen_experts_with_hidden, "cpu", torch.float32, **shape)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALVES])
@few
@shapes
def test_cpu_backward(dtype, **shape):
    check_backward(cpu.chosen_experts_backward, "cpu", dtype, **shape)


small = given(
    batch=st.integers(0, 20), features=st.integers(1, 20), out=st.integers(1, 20),
    seed=st.integers(0, 2**16),
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@small
def test_layouts_on_the_cpu(layout, **shape):
    options = {"hidden": 3, "n_experts": 4, "top_k": 2, "plain": False, "activation": "gelu"}
    forward = cpu.chosen_experts_with_hidden
    check(forward, "cpu", torch.float32, **shape, **options, layout=layout)


@pytest.mark.parametrize("forward", [experts_gathered, experts_grouped])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, forward):
    shape = {"batch": 5, "features": 20, "hidden": 3, "out": 7, "n_experts": 4, "top_k": 2}
    options = {"plain": False, "activation": "gelu", "seed": 1, "layout": layout}
    check(forward, DEVICE, torch.float32, **shape, **options)


forms = pytest.mark.parametrize(
    ("forward", "device"),
    [
        (reference.chosen_experts_with_hidden, "cpu"), (cpu.chosen_experts_with_hidden, "cpu"),
        (experts_gathered, DEVICE), (experts_grouped, DEVICE),
    ],
)  # fmt: skip


@quiet
@pytest.mark.parametrize("value", [math.inf, math.nan, 1e30])
@pytest.mark.parametrize("place", ["x", "w_in", "w_out", "scale", "b_in", "b_out"])
@forms
def test_an_expert_and_an_input_reach_only_their_own_outputs(forward, device, place, value):
    draw = Draw(0, device)
    case = {
        "x": draw(20, 6), "expert": draw.choice(4, 20, 2), "w_in": draw(4, 3, 6),
        "w_out": draw(4, 3, 5), "activation": "relu", "scale": draw(20, 2), "b_in": draw(4, 3),
        "b_out": draw(4, 5),
    }  # fmt: skip
    hit = (case["expert"] == 2).any(-1)
    if place in ("x", "scale"):
        hit = torch.arange(20, device=device) == 2

    def exact():
        given = {k: v.double() if v is not case["expert"] else v for k, v in tensors()}
        return reference.chosen_experts_with_hidden(ExpertArguments(activation="relu", **given))

    def tensors():
        return [(k, v) for k, v in case.items() if k != "activation"]

    clean = exact()[0]
    case[place].flatten(1)[2, 1] = value
    outputs, hidden = forward(ExpertArguments(**case))
    wanted, z = exact()
    assert 0 < hit.sum() < 20
    same(outputs[~hit], clean[~hit])
    same(hidden, z)
    assert outputs.isfinite().equal(wanted.isfinite())
    if place != "scale" and not math.isfinite(value):
        same(outputs, wanted)


@quiet
@pytest.mark.parametrize("activation", ACTIVATIONS)
@forms
def test_activations_of_extremes_are_torchs(forward, device, activation):
    z = torch.tensor([*EXTREMES, -1e30, 0.0, -20.0, 5.0], device=device)[:, None]
    one = torch.ones(1, 1, 1, device=device)
    out, _ = forward(
        ExpertArguments(z, torch.zeros_like(z, dtype=torch.long), one, one, activation)
    )
    same_activation(out, ACTIVATIONS[activation], z)


@pytest.mark.parametrize("index", [-1, 4, 2**40, -(2**63)])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_expert_that_there_is_not(index, threads, monkeypatch):
    monkeypatch.setattr(tuning, "WORK_PER_THREAD", 1)
    torch.set_num_threads(threads)
    draw = Draw(0)
    expert, w = draw.choice(4, 9, 2), draw(4, 3, 5)
    expert[0, 0] = 4 if index > 0 else -1
    expert[7, 1] = index
    with pytest.raises(IndexError, match=f"^expert: index {index} is out of range for 4 experts$"):
        cpu.chosen_experts(ExpertArguments(draw(9, 5), expert, w, w, "relu"))
    with pytest.raises(IndexError, match=f"index {index} is out of range"):
        cpu.chosen_experts_backward(
            draw(9, 5), draw(9, 2, 3), ExpertArguments(draw(9, 5), expert, w, w, "relu")
        )
    with pytest.raises(IndexError, match="out of range"):
        reference.chosen_experts_with_hidden(ExpertArguments(draw(9, 5), expert, w, w, "relu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="an assertion on a device ends its process")
@pytest.mark.parametrize("index", [-1, 4, 2**40])
@pytest.mark.parametrize("forward", [experts_gathered, experts_grouped])
def test_triton_asserts_that_there_is_the_expert(forward, index):
    draw = Draw(0)
    expert, w = draw.choice(4, 9, 2), draw(4, 3, 5)
    expert[7, 1] = index
    with pytest.raises(InterpreterError, match="expert: an index is out of range"):
        forward(ExpertArguments(draw(9, 5), expert, w, w, "relu"))


OUT_OF_RANGE = """
import torch
from fastff.kernels.reference import ExpertArguments
from fastff.kernels.triton.experts import experts_gathered, experts_grouped
x, expert, w = torch.ones(9, 5), torch.zeros(9, 2, dtype=torch.long), torch.ones(4, 3, 5)
expert[7, 1] = 4
{forward}(ExpertArguments(*(t.cuda() for t in (x, expert, w, w)), "relu"))[0].cpu()
"""


@needs_cuda
@pytest.mark.parametrize("forward", ["experts_gathered", "experts_grouped"])
def test_an_expert_that_there_is_not_is_a_device_side_assertion(forward):
    command = [sys.executable, "-c", OUT_OF_RANGE.format(forward=forward)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expert: an index is out of range" in done.stderr + done.stdout
    assert "device-side assert" in done.stderr


def test_weights_whose_memory_was_freed():
    draw = Draw(0)
    x, expert, w, freed = draw(9, 5), draw.choice(4, 9, 2), draw(4, 3, 5), draw(4, 3, 5)
    freed.untyped_storage().resize_(0)
    for w_in, w_out in [(w, freed), (freed, w)]:
        with pytest.raises(RuntimeError, match=r"shape \(4, 3, 5\) has no memory: it was freed"):
            cpu.chosen_experts(ExpertArguments(x, expert, w_in, w_out, "relu"))


@pytest.mark.parametrize("forward", [experts_gathered, experts_grouped])
@few
@shapes
def test_triton(forward, **shape):
    check(forward, DEVICE, torch.float32, **shape)


@few
@shapes
def test_triton_backward(**shape):
    check_backward(chosen_experts_backward, DEVICE, torch.float32, **shape)


CHOICES = {
    "one expert": lambda n, _: torch.full((n, 1), 2),
    "two experts": lambda n, _: torch.arange(n)[:, None] % 2 * 4,
    "both of two": lambda n, _: torch.tensor([[4, 1]]).repeat(n, 1),
    "one after the other": lambda n, chunk: (torch.arange(n)[:, None] // chunk).clamp(max=4),
}


@pytest.mark.parametrize("n_rows", [33, 96])
@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES)
def test_gradients_of_inputs_that_share_their_expert(choices, n_rows, monkeypatch):
    monkeypatch.setattr(tuning, "CHUNK_ROWS", 32)
    draw = Draw(n_rows, DEVICE)
    expert = choices(n_rows, 32).to(DEVICE)
    x, grad, scale = draw(n_rows, 9), draw(n_rows, 5), draw(*expert.shape)
    weights = draw(5, 3, 9), draw(5, 3, 5)
    arguments = ExpertArguments(x, expert, *weights, "gelu", scale, draw(5, 3), draw(5, 5))
    arguments64 = arguments.to(torch.float64)
    outputs, hidden = experts_grouped(arguments)
    expected, z = reference.chosen_experts_with_hidden(arguments64)
    close(outputs, expected)
    close(hidden, z)
    gradients = chosen_experts_backward(grad, hidden, arguments)
    again = chosen_experts_backward(grad, hidden, arguments)
    wanted = reference.chosen_experts_backward(grad.double(), hidden.double(), arguments64)
    for gradient, repeated, expected in zip(gradients, again, wanted, strict=True):
        close(gradient, expected)
        assert gradient.equal(repeated)
    is_empty = (expert.flatten() != torch.arange(5, device=DEVICE)[:, None]).all(1)
    for of_experts in (*gradients[1:3], *gradients[4:]):
        assert not of_experts[is_empty].any()


@few
@given(
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=12), p=st.integers(1, 20),
    q=st.integers(1, 20), per_column=st.integers(1, 2), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_sums_of_groups_of_any_sizes(sizes, p, q, per_column, seed):
    draw = Draw(seed, DEVICE)
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    group = group[torch.randperm(len(group), generator=draw.generator)].to(DEVICE)
    n_rows = len(group) // per_column * per_column
    group, values = group[:n_rows], draw(n_rows, p)
    columns = draw(n_rows // per_column, q)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "CHUNK_ROWS", 16)
        sums = grouped_outer(
            values, columns, group_rows(group, len(sizes), 16), columns_per_value=per_column
        )
    wide = columns.double().repeat_interleave(per_column, 0)
    for g, total in enumerate(sums):
        expected = values[group == g].double().mT @ wide[group == g]
        close(total, expected) if (group == g).any() else same(total, expected)


def test_memory_of_parts_is_bounded():
    for n_rows in (1, 255, 256, 16_384, 262_144, 10**7):
        for n_blocks in (1, 6, 512, 10_000):
            chunk = tuning.chunk_rows(n_rows, n_blocks)
            assert chunk >= tuning.CHUNK_ROWS and chunk & (chunk - 1) == 0
            n_parts = n_kept(n_rows, chunk) * n_blocks
            assert n_parts <= 2 * (tuning.CHUNK_PROGRAMS + n_blocks)


@needs_cuda
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("forward", [experts_gathered, experts_grouped])
@few
@shapes
def test_triton_in_half_precision(forward, dtype, **shape):
    check(forward, DEVICE, dtype, **shape)


@needs_cuda
@pytest.mark.parametrize("dtype", HALVES)
@few
@shapes
def test_triton_backward_in_half_precision(dtype, **shape):
    check_backward(chosen_experts_backward, DEVICE, dtype, **shape)


@pytest.mark.parametrize(
    ("forward", "backward", "device"),
    [
        (cpu.chosen_experts_with_hidden, cpu.chosen_experts_backward, "cpu"),
        (experts_gathered, chosen_experts_backward, DEVICE),
        (experts_grouped, chosen_experts_backward, DEVICE),
    ],
)
def test_no_rows(forward, backward, device):
    draw = Draw(0, device)
    x, expert, w_in, w_out = draw(0, 5), draw.choice(3, 0, 2), draw(3, 4, 5), draw(3, 4, 6)
    out, hidden = forward(ExpertArguments(x, expert, w_in, w_out, "relu"))
    assert (out.shape, hidden.shape) == ((0, 6), (0, 2, 4))
    d_x, d_in, d_out, *none = backward(out, hidden, ExpertArguments(x, expert, w_in, w_out, "relu"))
    assert d_x.shape == (0, 5) and none == [None] * 3
    assert d_in.equal(torch.zeros_like(w_in)) and d_out.equal(torch.zeros_like(w_out))


@needs_cuda
@settings(max_examples=6)
@given(n_experts=st.integers(1, 300), top_k=st.integers(1, 2), seed=st.integers(0, 2**16))
def test_large_batches(n_experts, top_k, seed):
    shape = {"batch": 3000, "features": 768, "hidden": 32, "out": 768, "n_experts": n_experts}
    options = {"top_k": top_k, "plain": False, "activation": "gelu", "seed": seed}
    check(experts_grouped, DEVICE, torch.float32, **shape, **options)
    check_backward(chosen_experts_backward, DEVICE, torch.float32, **shape, **options)


@needs_cuda
@pytest.mark.parametrize("forward", [experts_gathered, experts_grouped])
def test_weights_of_more_numbers_than_32_bits_count(forward):
    n_experts, hidden, features = 1025, 2048, 1024
    draw = Draw(0, DEVICE, torch.bfloat16)
    x, expert = draw(40, features), torch.full((40, 1), n_experts - 1, device=DEVICE)
    w_in, w_out = torch.zeros(2, n_experts, hidden, features, dtype=x.dtype, device=DEVICE)
    w_in[-1], w_out[-1] = draw(hidden, features) / 32, draw(hidden, features) / 32
    out, z = forward(ExpertArguments(x, expert, w_in, w_out, "relu"))
    only = expert * 0, w_in[-1:], w_out[-1:]
    wanted = reference.chosen_experts_with_hidden(
        ExpertArguments(x.double(), only[0], *doubles(*only[1:]), "relu")
    )
    close(out, wanted[0])
    close(z, wanted[1])
    d_x, d_in, d_out, *_ = chosen_experts_backward(
        out, z, ExpertArguments(x, expert, w_in, w_out, "relu")
    )
    grad, z, x, one_in, one_out = doubles(out, z, x, *only[1:])
    wanted = reference.chosen_experts_backward(
        grad, z, ExpertArguments(x, only[0], one_in, one_out, "relu")
    )
    close(d_x, wanted[0])
    close(d_in[-1:], wanted[1])
    close(d_out[-1:], wanted[2])


@needs_cuda
def test_many_rows_and_experts():
    shape = {"features": 64, "hidden": 16, "out": 48, "top_k": 2, "plain": False}
    options = {"activation": "gelu", "seed": 0}
    for batch, n_experts in [(70_000, 1025), (70_000, 3), (600, 1025)]:
        sizes = {"batch": batch, "n_experts": n_experts}
        check(experts_grouped, DEVICE, torch.float32, **sizes, **shape, **options)


@needs_cuda
def test_all_rows_on_one_expert_in_memory_that_held_nan():
    draw = Draw(0, DEVICE)
    case = draw(70_000, 64), draw(64, 16, 64), draw(64, 16, 48)
    expert = torch.full((70_000, 1), 17, device=DEVICE)
    filled = torch.full((2**28,), torch.nan, device=DEVICE)
    del filled
    x, w_in, w_out = case
    out, z = experts_grouped(ExpertArguments(x, expert, w_in, w_out, "relu"))
    wanted, hidden = reference.chosen_experts_with_hidden(
        ExpertArguments(x.double(), expert * 0, *doubles(w_in[17:18], w_out[17:18]), "relu")
    )
    close(out, wanted)
    close(z, hidden)
    d_x, d_in, d_out, *_ = chosen_experts_backward(
        out, z, ExpertArguments(x, expert, w_in, w_out, "relu")
    )
    assert all(d.isfinite().all() for d in (d_x, d_in, d_out))
    of_17 = ExpertArguments(x.double(), expert * 0, *doubles(w_in[17:18], w_out[17:18]), "relu")
    wanted = reference.chosen_experts_backward(out.double(), z.double(), of_17)
    for gradient, expected in zip((d_x, d_in[17:18], d_out[17:18]), wanted, strict=False):
        close(gradient, expected)
    assert (d_in.flatten(1).any(1) == (torch.arange(64, device=DEVICE) == 17)).all()
