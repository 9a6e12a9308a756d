"""torch.compile and torch.export: whole graphs, for any batch, that compute what the layer does."""

import functools

import pytest
import torch
from cases import (
    BATCH,
    MODES,
    SOME,
    TOLERANCE,
    I,
    build,
    call,
    close,
    draw,
    every_layer,
    every_mode,
    expected,
    inputs,
    some_layers,
    some_layers_most_slow,
    with_gradients,
)
from torch import nn
from torch._dynamo.utils import counters

DYNAMIC = pytest.mark.parametrize("dynamic", [None, True], ids=["static", "dynamic"])


@pytest.fixture(autouse=True)
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled_call(compiled, layer, mode, x):
    layer.train(mode == "train")
    with torch.set_grad_enabled(mode != "eval"):
        return compiled(x)


def check_compiled(name, mode, *, n_rows=(BATCH, 2 * BATCH - 3), **options):
    torch.compiler.reset()
    counters.clear()  # a test may check several modes
    layer, rows = build(name), inputs(name, 2 * BATCH)
    compiled = torch.compile(layer, fullgraph=True, **options)
    for n in n_rows:
        x = rows[:n].requires_grad_(mode == "train")
        out = compiled_call(compiled, layer, mode, x)
        close(out, expected(layer, mode, x))
        out.view(-1)
        if mode == "eval":
            continue
        values = [p for p in (x, *layer.parameters()) if p.requires_grad]
        found = torch.autograd.grad(out.square().sum(), values, materialize_grads=True)
        plain = build(name, torch.float64)
        x64 = x.detach().double().requires_grad_(x.requires_grad)
        wanted = torch.autograd.grad(
            call(plain, mode, x64).square().sum(),
            [p for p in (x64, *plain.parameters()) if p.requires_grad],
            materialize_grads=True,
        )
        for gradient, reference in zip(found, wanted, strict=True):
            close(gradient, reference)
    if options.get("dynamic"):
        assert counters["stats"]["unique_graphs"] == 1


@some_layers
def test_one_graph_for_any_batch(name):
    check_compiled(name, MODES[0], backend="aot_eager", dynamic=True)


@some_layers_most_slow
@with_gradients
def test_one_graph_with_gradients(name, mode):
    check_compiled(name, mode, backend="aot_eager", n_rows=(BATCH,))


@pytest.mark.slow
@every_layer
@DYNAMIC
@every_mode
def test_every_layer_is_one_graph(name, mode, dynamic):
    check_compiled(name, mode, backend="aot_eager", dynamic=dynamic)


@pytest.mark.slow
@some_layers
@every_mode
def test_inductor(name, mode):
    check_compiled(name, mode, backend="inductor", dynamic=True)


@some_layers_most_slow
def test_autocast(name):
    layer, x = build(name).eval(), inputs(name)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        out = compiled(x)
    assert out.dtype == torch.bfloat16
    close(out, expected(layer, MODES[0], x))


TRANSFORMS = {  # of a function of one tensor at a point
    "jvp": lambda function, x: torch.func.jvp(function, (x,), (x.sin(),))[1],
    "jacfwd": lambda function, x: torch.func.jacfwd(function)(x),
    "vjp": lambda function, x: torch.func.vjp(function, x)[1](function(x))[0],
    "hessian": lambda function, x: torch.func.hessian(lambda x: function(x).square().sum())(x),
    "vmap": lambda function, x: torch.func.vmap(function)(x),
}


@pytest.mark.slow
@some_layers
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")  # of torch, in forward-mode AD
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("train", [False, True])
def test_transforms_inside(name, transform, train):
    layer, x = build(name).train(train), inputs(name, 2)
    run = functools.partial(TRANSFORMS[transform], layer)
    out = torch.compile(run, fullgraph=True, backend="aot_eager")(x)
    plain = build(name, torch.float64).train(train)
    close(out, TRANSFORMS[transform](plain, x.double()))
    assert out.any()


@some_layers_most_slow
@pytest.mark.parametrize("layout", ["class token", "1-D"])
def test_strides(name, layout):
    x = {
        "class token": draw(1, 1, I).expand(3, 1, I),
        "1-D": draw(I),
    }[layout]
    layer = build(name).eval()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        close(compiled(x), expected(layer, MODES[0], x))


@some_layers_most_slow
@pytest.mark.parametrize("train", [False, True])
def test_part_of_a_larger_model(name, train):
    layer = build(name)
    model = nn.Sequential(nn.LayerNorm(I), layer, nn.Linear(5, 2)).train(train)
    x = inputs(name)
    with torch.set_grad_enabled(train):
        out = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
        between = model[0](x)
        wanted = expected(layer, "train" if train else "eval", between)
        close(out, wanted @ model[2].weight.double().mT + model[2].bias.double())


@pytest.mark.slow
@every_layer
def test_exported(name):
    layer, rows = build(name).eval(), inputs(name, 2 * BATCH)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (rows[:BATCH],), dynamic_shapes=({0: batch},), strict=True)
    for n_rows in (BATCH, 2 * BATCH - 3):
        x = rows[n_rows : 2 * n_rows] if n_rows == BATCH else rows[:n_rows]
        close(program.module()(x), expected(layer, MODES[0], x))
    lowered = program.run_decompositions()
    close(lowered.module()(rows), expected(layer, MODES[0], rows))
    # a program that is to run elsewhere needs nothing of this package
    targets = {str(node.target) for node in lowered.graph.nodes if node.op == "call_function"}
    assert not [target for target in targets if "fastff" in target]


@pytest.mark.slow
@every_layer
def test_exported_without_dynamo_for_training(name):
    layer, rows = build(name).train(), inputs(name, 2 * BATCH)
    program = torch.export.export(layer, (rows[:BATCH],), strict=False)
    close(program.module()(rows[BATCH:]), expected(layer, "train", rows[BATCH:]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SOME if name != "feed-forward"])
def test_exported_for_onnx(name, tmp_path):
    pytest.importorskip("onnxscript")
    layer, rows = build(name).eval(), inputs(name, 2 * BATCH)
    program = torch.onnx.export(layer, (rows[:BATCH],), dynamo=True, verbose=False)
    program.save(tmp_path / "layer.onnx")
    (out,) = program(rows[BATCH:])
    close(out, expected(layer, MODES[0], rows[BATCH:]), TOLERANCE[torch.float32])
