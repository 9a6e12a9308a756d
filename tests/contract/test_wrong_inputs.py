"""Wrong inputs: one line that names what was given and what is allowed, in every way of calling."""

import functools

import pytest
import torch
from cases import (
    BATCH,
    DEPTH,
    LAYERS,
    MODES,
    E,
    H,
    I,
    O,
    build,
    call,
    draw,
    every_gated_layer,
    every_layer,
    every_mode,
    inputs,
    one_line,
    shared,
    some_layers,
    some_layers_most_slow,
)
from torch._subclasses import FakeTensorMode

from fastff.layers import (
    LinearGate,
    MixtureExperts,
    NodeTree,
    RoutedLayer,
    SoftMergedExperts,
    TreeGate,
)

SHAPES = {  # and what the message says
    "one feature more": ((BATCH, I + 1), str(I + 1)),
    "one feature less": ((BATCH, I - 1), str(I - 1)),
    "half the features": ((BATCH, I // 2), str(I // 2)),
    "no features": ((BATCH, 0), "0"),
    "forgotten flatten": ((BATCH, 3, 4), "4"),
    "channels last": ((BATCH, I, 1), "1"),
    "1-D of too many": ((2 * I,), str(2 * I)),
    "none of too many": ((0, I + 1), str(I + 1)),
    "huge": ((2, 10_000_000), "10000000"),
    "a number": ((), ""),
}
DTYPES = (torch.int64, torch.bool, torch.float64, torch.float16, torch.complex64)
NO_TENSORS = {
    "list": lambda: [[0.0] * I] * BATCH,
    "array": lambda: draw(BATCH, I).numpy(),
    "none": lambda: None,
}


zeros = functools.cache(torch.zeros)  # one of them is 80 MB


@every_layer
@pytest.mark.parametrize("shape", SHAPES)
@every_mode
def test_shapes(name, shape, mode):
    shape, given = SHAPES[shape]
    with pytest.raises(ValueError) as error:
        call(shared(name), mode, zeros(shape))
    message = one_line(error)
    assert given in message and str(I) in message


@every_layer
@pytest.mark.parametrize("dtype", DTYPES)
@every_mode
def test_dtypes(name, dtype, mode):
    with pytest.raises((TypeError, ValueError)) as error:
        call(shared(name), mode, torch.ones(BATCH, I, dtype=dtype))
    message = one_line(error)
    assert str(dtype) in message and "float32" in message


@every_layer
@pytest.mark.parametrize("kind", NO_TENSORS)
def test_no_tensors(name, kind):
    for mode in MODES:
        with pytest.raises((TypeError, ValueError)) as error:
            call(shared(name), mode, NO_TENSORS[kind]())
        one_line(error)


@every_layer
@every_mode
def test_devices(name, mode):
    with pytest.raises((TypeError, ValueError)) as error:
        call(shared(name), mode, torch.ones(BATCH, I, device="meta"))
    message = one_line(error)
    assert "meta" in message and "cpu" in message
    with pytest.raises((TypeError, ValueError)) as error:
        call(build(name).to("meta"), mode, torch.ones(BATCH, I))
    message = one_line(error)
    assert "meta" in message and "cpu" in message


@every_layer
@every_mode
def test_sparse_inputs(name, mode):
    with pytest.raises((TypeError, ValueError)) as error:
        call(shared(name), mode, torch.eye(BATCH, I).to_sparse())
    one_line(error)


@every_layer
@every_mode
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_inputs(name, mode):
    nested = torch.nested.nested_tensor([torch.ones(2, I), torch.ones(1, I)])
    with pytest.raises(TypeError) as error:
        call(shared(name), mode, nested)
    assert "nested" in one_line(error)


@every_layer
@every_mode
def test_fake_tensors(name, mode):
    with FakeTensorMode():
        layer = LAYERS[name]()
        for shape, given in SHAPES.values():
            with pytest.raises(ValueError) as error:
                call(layer, mode, torch.empty(shape))
            message = one_line(error)
            assert given in message and str(I) in message
        with pytest.raises((TypeError, ValueError)) as error:
            call(layer, mode, torch.ones(BATCH, I, dtype=torch.int64))
        one_line(error)


@some_layers_most_slow
@pytest.mark.parametrize("fullgraph", [False, True])
@every_mode
def test_compiled(name, mode, fullgraph):
    torch.compiler.reset()
    layer = torch.compile(build(name), backend="aot_eager", fullgraph=fullgraph)
    # of a whole graph, the compiler says that the layer raised, and what
    kinds = Exception if fullgraph else (TypeError, ValueError)
    with pytest.raises(kinds) as error:
        call(layer, mode, torch.zeros(BATCH, 3, 4))
    message = str(error.value)
    assert "4" in message and str(I) in message


METHODS = (
    "leaf", "chosen", "usage", "entropies", "node_logits", "soft_and_hard", "soft_with_loss",
)  # fmt: skip


@every_layer
@pytest.mark.parametrize("method", METHODS)
def test_methods(name, method):
    layer = build(name)
    if getattr(layer, method, None) is None or getattr(layer, method)(inputs(name)) is None:
        return
    for wrong in (zeros((BATCH, I + 1)), zeros((BATCH, 3, 4))):
        with torch.no_grad(), pytest.raises(ValueError) as error:
            getattr(layer, method)(wrong)
        assert str(I) in one_line(error)
    for wrong in (draw(BATCH, I).double(), draw(BATCH, I).long(), draw(BATCH, I).numpy()):
        with torch.no_grad(), pytest.raises(TypeError) as error:
            getattr(layer, method)(wrong)
        assert "float32" in one_line(error)
    with torch.no_grad(), pytest.raises(ValueError) as error:
        getattr(layer, method)(draw(BATCH, I).to("meta"))
    assert "meta" in one_line(error)


@every_gated_layer
@pytest.mark.parametrize("hard", [False, True])
def test_parts(name, hard):
    layer = build(name).train(not hard)
    gate, bank, x = layer.gate, layer.experts, inputs(name)
    for wrong in (torch.zeros(BATCH, I + 1), torch.zeros(BATCH, 3, 4)):
        with torch.set_grad_enabled(not hard), pytest.raises(ValueError) as error:
            gate(wrong)
        assert str(I) in one_line(error)
        with torch.set_grad_enabled(not hard), pytest.raises(ValueError) as error:
            bank(wrong, torch.full((*wrong.shape[:-1], E), 1 / E))
        assert str(I) in one_line(error)
    for weights in (torch.ones(BATCH, E - 1), torch.ones(BATCH, 1), torch.ones(BATCH + 1, E)):
        with pytest.raises(ValueError) as error:
            bank(x, weights)
        one_line(error)


@pytest.mark.parametrize("bank", [MixtureExperts, SoftMergedExperts])
@pytest.mark.parametrize("gate", [lambda: LinearGate(I, E), lambda: TreeGate(I, DEPTH)])
def test_parts_that_do_not_fit(gate, bank):
    with pytest.raises(ValueError) as error:
        RoutedLayer(gate(), bank(E, I + 100, H, O))
    message = one_line(error)
    assert str(I) in message and str(I + 100) in message
    with pytest.raises(ValueError) as error:
        RoutedLayer(gate(), bank(E + 3, I, H, O))
    message = one_line(error)
    assert str(E) in message and str(E + 3) in message


@some_layers
def test_an_error_leaves_the_layer_as_it_was(name):
    layer, x = build(name), inputs(name)
    before = call(layer, "eval", x)
    with pytest.raises(ValueError):
        call(layer, "eval", torch.zeros(BATCH, I + 1))
    assert call(layer, "eval", x).equal(before)


def test_a_forgotten_flatten_of_images():
    layer = RoutedLayer(TreeGate(784, 4), MixtureExperts(16, 784, 4, 10))
    for mode in MODES:
        for module in (layer, NodeTree(784, 10, levels=4)):
            with pytest.raises(ValueError) as error:
                call(module, mode, torch.rand(2, 28, 28))
            message = one_line(error)
            assert "28" in message and "784" in message
