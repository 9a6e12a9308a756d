"""The registry holds every gate, bank and layer, and the definitions see what they are given."""

import importlib
import inspect
import pkgutil

import definition
import torch
from cases import (
    BATCH,
    GATED,
    LAYERS,
    MARGIN,
    MODES,
    I,
    O,
    build,
    close,
    every_gated_layer,
    every_layer,
    every_mode,
    expected,
    inputs,
)

import fastff.layers
from fastff.layers import Experts, Gate, Layer


def concrete(base):
    """Return the classes below `base` in fastff.layers that can be built."""
    found = {base} if not inspect.isabstract(base) else set()
    for below in base.__subclasses__():
        found |= concrete(below)
    return {cls for cls in found if cls.__module__.startswith("fastff.layers")}


def test_every_class_is_registered():
    for module in pkgutil.iter_modules(fastff.layers.__path__, "fastff.layers."):
        importlib.import_module(module.name)
    registered = {type(module) for name in LAYERS for module in build(name).modules()}
    missing = (concrete(Gate) | concrete(Experts) | concrete(Layer)) - registered - {Layer}
    assert sorted(cls.__name__ for cls in missing) == []


@every_layer
@every_mode
def test_rows_are_clear_and_independent(name, mode):
    layer, x = build(name), inputs(name)
    assert definition.margin(layer.train(), x).min() > MARGIN
    assert inputs(name, 8, BATCH).shape == (8, BATCH, I)
    out = expected(layer, mode, x)
    assert out.shape == (BATCH, O) and out.dtype == torch.float64
    close(expected(layer, mode, x[3:4]), out[3:4])
    assert out.std(0).min() > 1e-3


@every_gated_layer
def test_rows_take_several_ways(name):
    gate = build(name).gate.eval()
    assert (
        len(definition.weights(gate, inputs(name, 8 * BATCH).double(), hard=True).unique(dim=0)) > 2
    )


def test_modes_differ():
    differing = [
        name
        for name in GATED
        if not expected(build(name), MODES[0], inputs(name)).equal(
            expected(build(name), MODES[2], inputs(name))
        )
    ]
    assert len(differing) > len(GATED) / 2
