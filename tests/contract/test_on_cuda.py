"""The contract on a CUDA device: what only kernels, streams and graphs of a GPU could get wrong.

The definitions are computed on the CPU.
"""

import copy
import warnings

import definition
import pytest
import torch
from cases import (
    BATCH,
    GATED,
    MODES,
    TOLERANCE,
    I,
    O,
    build,
    call,
    close,
    draw,
    every_gated_layer,
    every_layer,
    every_mode,
    expected,
    inputs,
    needs_cuda,
    one_line,
    shared,
    some_layers,
    with_gradients,
)
from test_precision import HALVES
from test_strides import EMPTY, LAYOUTS, clear_seed
from test_wrong_inputs import DTYPES, SHAPES, zeros

pytestmark = [
    needs_cuda,
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS:UserWarning"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning"),
    pytest.mark.filterwarnings(r"ignore:\s*Online softmax is disabled:UserWarning"),
]
DEVICE = "cuda"


@pytest.fixture(autouse=True)
def float32_convolutions(monkeypatch):
    """Convolve in float32: by default torch lets cuDNN round to TF32, which products don't do."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def on_device(name, dtype=torch.float32):
    """Return a layer on the CPU, and the same on the device."""
    layer = build(name, dtype)
    return layer, copy.deepcopy(layer).to(DEVICE)


def check(name, mode, x, dtype=torch.float32):
    """Assert that a layer gives on the device what its definition says, and return its outputs."""
    layer, moved = on_device(name, dtype)
    out = call(moved, mode, x.to(DEVICE))
    assert out.is_cuda and out.is_contiguous() and out.dtype == dtype
    close(out.cpu(), expected(layer, mode, x))
    return out


@every_layer
@pytest.mark.parametrize("dtype", TOLERANCE)
@every_mode
def test_dtypes(name, dtype, mode):
    check(name, mode, inputs(name, dtype=dtype), dtype)


@every_layer
@every_mode
def test_strides(name, mode):
    layer, moved = on_device(name)
    for layout, view in LAYOUTS.items():
        x = view(clear_seed(name, layout))
        on_gpu = torch.empty(0, device=DEVICE).set_(
            x.untyped_storage().to(device=DEVICE), x.storage_offset(), x.shape, x.stride()
        )
        if x.is_neg():
            on_gpu = torch._neg_view(on_gpu)
        close(call(moved, mode, on_gpu).cpu(), expected(layer, mode, x))


@every_layer
@every_mode
def test_many_rows(name, mode):
    layer, moved = on_device(name)
    rows = inputs(name)
    out = call(moved, mode, rows.to(DEVICE).repeat(700, 1))
    close(out.cpu(), expected(layer, mode, rows).repeat(700, 1))


@every_layer
@every_mode
def test_no_rows(name, mode):
    for shape in EMPTY:
        out = call(on_device(name)[1], mode, torch.empty(*shape, I, device=DEVICE))
        assert out.shape == (*shape, O)


@every_layer
@pytest.mark.parametrize("dtype", HALVES)
@every_mode
def test_autocast(name, dtype, mode):
    layer, moved = on_device(name)
    x = inputs(name)
    with torch.autocast(DEVICE, dtype):
        out = call(moved, mode, x.to(DEVICE))
    assert out.dtype == dtype
    close(out.cpu(), expected(layer, mode, x))


@every_layer
@pytest.mark.parametrize("dtype", TOLERANCE)
@with_gradients
def test_gradients(name, dtype, mode):
    layer, moved = on_device(name, dtype)
    plain = copy.deepcopy(layer).double().train(mode == "train")
    x = inputs(name, dtype=dtype)
    seen = draw(BATCH, O, seed=2).to(dtype)
    on_gpu, x64 = x.to(DEVICE).requires_grad_(), x.double().requires_grad_()
    out = call(moved, mode, on_gpu)
    found = torch.autograd.grad(
        out, [on_gpu, *moved.parameters()], seen.to(DEVICE), materialize_grads=True
    )
    wanted = torch.autograd.grad(
        definition.output(plain, x64, hard=mode != "train"), [x64, *plain.parameters()],
        seen.double(), materialize_grads=True,
    )  # fmt: skip
    for gradient, reference in zip(found, wanted, strict=True):
        # in float64 a gradient that is 0 by definition comes out as a sum near 0
        close(gradient.cpu(), reference, max(4 * TOLERANCE[dtype], 1e-9))


@every_layer
@every_mode
def test_nan_stays_in_its_row(name, mode):
    layer, moved = on_device(name)
    x = inputs(name)
    x[2], x[4, 5] = torch.nan, torch.nan
    out, others = call(moved, mode, x.to(DEVICE)).cpu(), [0, 1, 3, 5]
    assert out[[2, 4]].isnan().all()
    close(out[others], expected(layer, mode, x[others]))


@every_gated_layer
@pytest.mark.parametrize("parameter", ["w_in", "w_out", "b_in", "b_out"])
def test_experts_that_are_not_finite(name, parameter):
    layer, moved = on_device(name)
    x = inputs(name)
    for value in (torch.nan, torch.inf):
        for model in (layer, moved):
            weight = getattr(model.experts, parameter)
            if weight is not None:
                weight.data[3] = value
        close(call(moved, MODES[0], x.to(DEVICE)).cpu(), expected(layer, MODES[0], x))


@every_layer
@pytest.mark.parametrize("shape", SHAPES)
@every_mode
def test_shapes(name, shape, mode):
    shape, given = SHAPES[shape]
    with pytest.raises(ValueError) as error:
        call(on_device(name)[1], mode, zeros(shape).to(DEVICE))
    assert given in one_line(error)


@every_layer
@every_mode
def test_wrong_kinds(name, mode):
    moved = on_device(name)[1]
    for dtype in DTYPES:
        with pytest.raises(TypeError) as error:
            call(moved, mode, torch.zeros(BATCH, I, dtype=dtype, device=DEVICE))
        assert str(dtype) in one_line(error)
    for layer, x in ((moved, inputs(name)), (shared(name), inputs(name).to(DEVICE))):
        with pytest.raises(ValueError) as error:
            call(layer, mode, x)
        message = one_line(error)
        assert "cpu" in message and "cuda:0" in message


@some_layers
@every_mode
def test_compiled(name, mode):
    layer, moved = on_device(name)
    torch.compiler.reset()
    compiled, rows = torch.compile(moved, fullgraph=True, dynamic=True), inputs(name, 2 * BATCH)
    for n_rows in (BATCH, 2 * BATCH - 3):
        moved.train(mode == "train")
        with torch.set_grad_enabled(mode != "eval"):
            out = compiled(rows[:n_rows].to(DEVICE))
        close(out.cpu(), expected(layer, mode, rows[:n_rows]))


@some_layers
def test_on_a_stream_of_its_own(name):
    layer, moved = on_device(name)
    x, stream = inputs(name), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        out = call(moved, MODES[0], x.to(DEVICE))
        host = out.cpu()
    close(host, expected(layer, MODES[0], x))


@pytest.mark.parametrize("name", [n for n in GATED if "noisy" not in n and "leak" not in n])
def test_captured_in_a_graph(name):
    layer, moved = on_device(name)
    rows, stream = inputs(name, 2 * BATCH), torch.cuda.Stream()
    x = rows[:BATCH].to(DEVICE)
    with torch.cuda.stream(stream):
        call(moved, MODES[0], x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call(moved, MODES[0], x)
    x.copy_(rows[BATCH:])
    graph.replay()
    close(out.cpu(), expected(layer, MODES[0], rows[BATCH:]))


@every_layer
def test_no_synchronisation(name):
    moved = build(name, fixed=False).to(DEVICE)  # the fixed numbers come from the CPU
    x = inputs(name).to(DEVICE).requires_grad_()
    for mode in MODES:
        call(moved, mode, x)  # compiles
    with warnings.catch_warnings(action="ignore"):  # it calls itself a prototype
        try:
            torch.cuda.set_sync_debug_mode("error")
            for mode in MODES:
                call(moved, mode, x)
        finally:
            torch.cuda.set_sync_debug_mode("default")
