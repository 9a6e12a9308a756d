"""Hooks and subclasses count in every mode: the fast paths never go round a module."""

import definition
import pytest
import torch
from cases import (
    build,
    call,
    close,
    defined,
    every_gated_layer,
    every_layer,
    every_logit_gate,
    every_mode,
    expected,
    inputs,
    shared,
    with_gradients,
)
from torch import nn

PARTS = pytest.mark.parametrize("part", ["gate", "experts"])
NODE_TREES = ("node tree", "node tree relu", "node trees")


def changed(layer, mode, x, *, gate_input=None, weights=None, experts_input=None, activate=None):
    """Return the outputs by definition, with changes on the way, each a function of a tensor."""
    layer.train(mode == "train")
    x = x.double()
    with torch.no_grad():
        at_gate = x if gate_input is None else gate_input(x)
        p = definition.weights(layer.gate, at_gate, hard=mode != "train")
        p = p if weights is None else weights(p)
        at_experts = x if experts_input is None else experts_input(x)
        return definition.experts(layer.experts, at_experts, p, activate)


def doubled(tensor):
    return 2 * tensor


def rolled(p):
    return p.roll(1, dims=-1)


@every_gated_layer
@every_mode
def test_a_hook_changes_the_gates_weights(name, mode):
    layer, x = build(name), inputs(name)
    handle = layer.gate.register_forward_hook(lambda module, args, out: rolled(out))
    close(call(layer, mode, x), changed(layer, mode, x, weights=rolled))
    handle.remove()
    close(call(layer, mode, x), defined(name, mode))


@every_gated_layer
@every_mode
def test_a_hook_changes_the_experts_outputs(name, mode):
    layer, x = build(name), inputs(name)
    handle = layer.experts.register_forward_hook(lambda module, args, out: 2 * out)
    close(call(layer, mode, x), 2 * defined(name, mode))
    handle.remove()
    close(call(layer, mode, x), defined(name, mode))


@every_gated_layer
@every_mode
def test_a_hook_changes_what_the_gate_sees(name, mode):
    layer, x = build(name), inputs(name)
    layer.gate.register_forward_pre_hook(lambda module, args: (-args[0], *args[1:]))
    close(call(layer, mode, x), changed(layer, mode, x, gate_input=torch.neg))


@every_gated_layer
@every_mode
def test_a_hook_changes_what_the_experts_see(name, mode):
    layer, x = build(name), inputs(name)
    layer.experts.register_forward_pre_hook(lambda module, args: (2 * args[0], *args[1:]))
    close(call(layer, mode, x), changed(layer, mode, x, experts_input=doubled))


@every_gated_layer
@PARTS
@every_mode
def test_hooks_see_tensors_of_all_experts(name, part, mode):
    layer, x, seen = build(name), inputs(name), []
    layer.get_submodule(part).register_forward_hook(
        lambda module, args, kwargs, out: seen.append((args, out)), with_kwargs=True
    )
    out = call(layer, mode, x)
    (args, result), *others = seen
    assert not others and args[0].equal(x)
    if part == "experts":
        assert result.equal(out)
        result = args[1]
    with torch.no_grad():
        close(result, definition.weights(layer.gate, x.double(), hard=mode != "train"))


@every_gated_layer
@every_mode
def test_hooks_of_all_modules(name, mode):
    layer, x, seen = build(name), inputs(name), []
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: seen.append(module)
    )
    try:
        call(layer, mode, x)
    finally:
        handle.remove()
    assert {layer, layer.gate, layer.experts} <= set(seen)


@every_gated_layer
@PARTS
@with_gradients
def test_backward_hooks(name, part, mode):
    layer, x, seen = build(name), inputs(name).requires_grad_(), []
    layer.get_submodule(part).register_full_backward_hook(lambda *args: seen.append(args[0]))
    out = call(layer, mode, x)
    out.sum().backward()
    gate_learns = mode == "train" and not getattr(layer.gate, "hard_training", False)
    if part == "experts" or gate_learns:
        assert seen == [layer.get_submodule(part)]
    close(out, defined(name, mode))


def override(module, **methods):
    """Make `module` of a subclass with `methods`, each given the class's own first."""
    base = type(module)
    own = {
        method: lambda self, *args, method=method, change=change, **options: change(
            getattr(super(cls, self), method)(*args, **options)
        )
        for method, change in methods.items()
    }
    cls = type(f"Own{base.__name__}", (base,), own)
    module.__class__ = cls


@every_gated_layer
@every_mode
def test_a_gate_with_a_forward_of_its_own(name, mode):
    layer, x = build(name), inputs(name)
    override(layer.gate, forward=rolled)
    close(call(layer, mode, x), changed(layer, mode, x, weights=rolled))


@every_gated_layer
@every_mode
def test_a_gate_with_a_form_of_its_own(name, mode):
    layer, x = build(name), inputs(name)
    override(layer.gate, **{"soft" if mode == "train" else "hard": rolled})
    close(call(layer, mode, x), changed(layer, mode, x, weights=rolled))


@every_logit_gate
@every_mode
def test_a_gate_with_logits_of_its_own(name, mode):
    layer, x, plain = build(name), inputs(name), build(name)
    override(layer.gate, logits=torch.neg)
    for key, parameter in plain.gate.named_parameters():
        if key in ("weight", "bias"):
            parameter.data.neg_()
    close(call(layer, mode, x), expected(plain, mode, x))


@every_gated_layer
@every_mode
def test_experts_with_a_forward_of_their_own(name, mode):
    layer, x = build(name), inputs(name)
    override(layer.experts, forward=doubled)
    close(call(layer, mode, x), 2 * defined(name, mode))


@every_gated_layer
@every_mode
def test_experts_with_an_activation_of_their_own(name, mode):
    layer, x = build(name), inputs(name)
    own = type("Own", (type(layer.experts),), {"activate": lambda self, hidden: hidden.tanh()})
    layer.experts.__class__ = own
    close(call(layer, mode, x), changed(layer, mode, x, activate=torch.tanh))


@every_gated_layer
@every_mode
def test_experts_with_hidden_units_of_their_own(name, mode):
    layer, x, plain = build(name), inputs(name), build(name)
    override(layer.experts, pre_activations=torch.neg)
    plain.experts.w_in.data.neg_()
    if plain.experts.b_in is not None:
        plain.experts.b_in.data.neg_()
    close(call(layer, mode, x), expected(plain, mode, x))


@every_gated_layer
@every_mode
def test_experts_that_combine_in_a_way_of_their_own(name, mode):
    layer, x = build(name), inputs(name)
    override(layer.experts, combine=doubled)
    close(call(layer, mode, x), 2 * defined(name, mode))


@pytest.mark.parametrize("name", NODE_TREES)
@every_mode
def test_a_node_tree_with_logits_of_its_own(name, mode):
    layer, x, plain = build(name), inputs(name), build(name)
    override(layer, node_logits=torch.neg)
    for parameter in (plain.w_in, plain.b_in):
        parameter.data.neg_()
    close(call(layer, mode, x), expected(plain, mode, x))


@every_layer
@every_mode
def test_a_layer_with_a_forward_of_its_own(name, mode):
    layer, x = build(name), inputs(name)
    override(layer, forward=doubled)
    close(call(layer, mode, x), 2 * defined(name, mode))


@every_layer
@every_mode
def test_a_hook_of_the_layer(name, mode):
    layer, x, seen = build(name), inputs(name), []
    layer.register_forward_pre_hook(lambda module, args: (-args[0],))
    layer.register_forward_hook(lambda module, args, out: seen.append(out))
    out = call(layer, mode, x)
    assert seen[0] is out
    close(out, expected(shared(name), mode, -x))


@every_mode
def test_a_hook_inside_a_bottleneck(mode):
    layer, x = build("bottleneck"), inputs("bottleneck")
    layer.body.register_forward_hook(lambda module, args, out: 2 * out)
    close(call(layer, mode, x), 2 * defined("bottleneck", mode))
