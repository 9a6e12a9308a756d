"""Copies of a layer compute what it does: deepcopy, pickle, files, state, meta tensors, resets."""

import copy
import io
import pickle

import pytest
import torch
from cases import (
    LAYERS,
    MODES,
    TOLERANCE,
    build,
    call,
    check,
    close,
    defined,
    every_layer,
    every_mode,
    expected,
    inputs,
)
from torch.nn.utils import parameters_to_vector, vector_to_parameters


def through_a_file(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "torch.save": through_a_file,
}


@every_layer
@pytest.mark.parametrize("way", COPIES)
@every_mode
def test_copies(name, way, mode):
    layer, x = build(name), inputs(name)
    call(layer, mode, x)  # what a call may keep has to be copied, or not kept
    copied = COPIES[way](layer)
    close(call(copied, mode, x), defined(name, mode))
    if way == "copy":
        return
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(-1)
    check(copied, mode, x)
    close(call(layer, mode, x), defined(name, mode))


@every_layer
@every_mode
def test_a_copy_after_a_backward_pass(name, mode):
    layer, x = build(name), inputs(name)
    out = call(layer, mode, x)
    copied = copy.deepcopy(layer)  # between forward and backward
    if out.requires_grad:
        out.sum().backward()
    close(call(copy.deepcopy(layer), mode, x), defined(name, mode))
    close(call(copied, mode, x), defined(name, mode))
    pickle.dumps(layer)


@every_layer
@pytest.mark.parametrize("assign", [False, True])
@every_mode
def test_state(name, assign, mode):
    layer, x, other = build(name), inputs(name), build(name)
    for parameter in other.parameters():
        parameter.data.zero_()
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True), assign=assign)
    close(call(other, mode, x), defined(name, mode))


@every_layer
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@every_mode
def test_state_of_another_dtype(name, dtype, mode):
    layer, x = build(name, dtype), inputs(name, dtype=dtype)
    kept, taken = build(name), build(name)
    kept.load_state_dict(layer.state_dict())
    close(call(kept, mode, x.float()), expected(layer, mode, x), TOLERANCE[torch.float32])
    taken.load_state_dict(layer.state_dict(), assign=True)
    out = check(taken, mode, x)
    assert out.dtype == dtype


@every_layer
@every_mode
def test_from_the_meta_device(name, mode):
    layer, x = build(name), inputs(name)
    with torch.device("meta"):
        other = LAYERS[name]()
    assert all(tensor.is_meta for tensor in (*other.parameters(), *other.buffers()))
    for module, twin in zip(other.modules(), layer.modules(), strict=True):
        if hasattr(twin, "random"):
            module.random = twin.random
    assigned = copy.deepcopy(other)
    emptied = other.to_empty(device="cpu")
    for tensor in (*emptied.parameters(), *emptied.buffers()):
        tensor.data.fill_(torch.nan)
    emptied.load_state_dict(layer.state_dict())
    assigned.load_state_dict(layer.state_dict(), assign=True)
    for filled in (emptied, assigned):
        close(call(filled, mode, x), defined(name, mode))


@every_layer
def test_reset(name):
    x, drawn = inputs(name), {}
    for seed in (0, 0, 1):
        with torch.device("meta"):
            other = LAYERS[name]()
        other.to_empty(device="cpu")
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.data.fill_(torch.nan)
        other.reset_parameters(torch.Generator().manual_seed(seed))
        vector = parameters_to_vector(other.parameters())
        assert vector.isfinite().all()
        assert drawn.setdefault(seed, vector).equal(vector)
        for mode in MODES:
            assert call(other, mode, x).isfinite().all()
    assert not drawn[0].equal(drawn[1])


@every_layer
def test_reset_by_apply(name):
    # as FSDP and torchtune do: every module that has parameters of its own resets them
    layer, x = build(name).to("meta").to_empty(device="cpu"), inputs(name)
    for tensor in (*layer.parameters(), *layer.buffers()):
        tensor.data.fill_(torch.nan)
    for module in layer.modules():
        if [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            module.reset_parameters()
    for mode in MODES:
        assert call(layer, mode, x).isfinite().all()


@every_layer
@every_mode
def test_moved(name, mode):
    layer, x = build(name), inputs(name)
    with torch.no_grad():
        call(layer.eval(), mode, x)
        layer.double().half().float()
    check(layer, mode, x)
    layer.to(memory_format=torch.contiguous_format).share_memory()
    check(layer, mode, x)
    vector_to_parameters(parameters_to_vector(layer.parameters()), layer.parameters())
    check(layer, mode, x)


@every_layer
def test_device_and_dtype_of_the_context(name):
    torch.set_default_dtype(torch.float64)
    try:
        layer = LAYERS[name]()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    x = inputs(name, dtype=torch.float64)
    assert layer(x).dtype == torch.float64 and layer.eval()(x).dtype == torch.float64
