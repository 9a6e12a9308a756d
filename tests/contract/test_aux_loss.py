"""fastff.aux_loss: every layer's own loss reaches the training loss, once, and leaves nothing."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from cases import (
    BATCH,
    LAYERS,
    I,
    O,
    build,
    close,
    draw,
    every_layer,
    inputs,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

import fastff
from fastff.layers import Layer


def with_own_loss(name):
    return build(name).train().soft_with_loss(inputs(name))[1] is not None


LOSSY = tuple(name for name in LAYERS if with_own_loss(name))
lossy_layers = pytest.mark.parametrize("name", LOSSY)


def explicit(layer, *batches):
    """Return the sum of a layer's own losses of batches (..., i), asked for one by one."""
    losses = [layer.soft_with_loss(x.flatten(0, -2))[1] for x in batches]
    return sum(loss for loss in losses if loss is not None)


def grads(module):
    return [p.grad for p in module.parameters()]


def same_gradients(module, other):
    for gradient, wanted in zip(grads(module), grads(other), strict=True):
        assert (gradient is None) == (wanted is None)
        if gradient is not None:
            close(gradient, wanted)


def test_losses_are_registered():
    assert len(LOSSY) >= 2


@every_layer
def test_it_is_a_number(name):
    layer = build(name).train()
    out = layer(inputs(name))
    loss = fastff.aux_loss(layer)
    assert out.requires_grad and loss.shape == () and loss.isfinite()
    assert (loss > 0) == (name in LOSSY)


@lossy_layers
def test_it_is_the_explicit_sum_and_learns_as_it(name):
    layer, other = build(name).train(), build(name).train()
    x = inputs(name)
    (layer(x).square().mean() + fastff.aux_loss(layer)).backward()
    (other(x).square().mean() + explicit(other, x)).backward()
    same_gradients(layer, other)
    alone = build(name).train()
    alone(x).square().mean().backward()
    assert any(
        not torch.equal(a, b) for a, b in zip(grads(layer), grads(alone), strict=True)
        if a is not None and b is not None
    )  # fmt: skip


@lossy_layers
def test_a_layer_called_twice_counts_twice(name):
    layer, other = build(name).train(), build(name).train()
    x, y = inputs(name, 2, BATCH)
    (layer(x) + layer(y)).sum().add(loss := fastff.aux_loss(layer)).backward()
    close(loss, explicit(other, x, y))
    ((other(x) + other(y)).sum() + explicit(other, x, y)).backward()
    same_gradients(layer, other)


@lossy_layers
def test_any_leading_dimensions_are_one_batch(name):
    layer, x = build(name).train(), inputs(name, 2, 3)
    out = layer(x)
    loss = fastff.aux_loss(layer)
    again = layer(x.flatten(0, 1))
    close(fastff.aux_loss(layer), loss)
    close(again, out.flatten(0, 1))


class Block(nn.Module):
    """A transformer block, pre-norm, whose feed-forward part is a layer of the registry."""

    def __init__(self, name):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.attention = nn.MultiheadAttention(I, 2, batch_first=True)
            self.norms = nn.ModuleList([nn.LayerNorm(I), nn.LayerNorm(I)])
            self.back = nn.Linear(O, I)
        self.layer = build(name)

    def forward(self, x):
        h = self.norms[0](x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.back(self.layer(self.norms[1](x)))


def models(name):
    return {
        "sequential": lambda: nn.Sequential(nn.LayerNorm(I), build(name), nn.Linear(O, 2)),
        "block": lambda: Block(name),
        "blocks": lambda: nn.Sequential(Block(name), Block(name)),
        "a list": lambda: nn.Sequential(nn.ModuleList([build(name)])[0]),
    }


def losses_seen(model, run):
    """Return the sum of the losses that the layers in `model` give for what they are given."""
    given = []
    handles = [
        module.register_forward_pre_hook(lambda module, args: given.append((module, args[0])))
        for module in model.modules()
        if isinstance(module, Layer)
    ]
    run()
    for handle in handles:
        handle.remove()
    return sum(explicit(layer, x) for layer, x in given)


def model_of(name, kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return models(name)[kind]().train()


@lossy_layers
@pytest.mark.parametrize("kind", ["sequential", "block", "blocks", "a list"])
def test_inside_a_model(name, kind):
    model, x = model_of(name, kind), draw(2, 3, I)
    wanted = losses_seen(model, lambda: model(x)).detach()  # its graph would keep losses
    out = model(x)
    loss = fastff.aux_loss(model)
    close(loss, wanted)
    (out.square().mean() + loss).backward()
    other = model_of(name, kind)
    wanted = losses_seen(other, lambda: other(x))
    (other(x).square().mean() + wanted).backward()
    same_gradients(model, other)


@lossy_layers
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_counts_once(name, reentrant):
    model, other, x = model_of(name, "block"), model_of(name, "block"), draw(2, 3, I)
    x.requires_grad_()
    out = checkpoint(model, x, use_reentrant=reentrant)
    loss = fastff.aux_loss(model)
    (out.square().mean() + loss).backward()
    plain = other(x)
    wanted = fastff.aux_loss(other)
    close(loss, wanted)
    (plain.square().mean() + wanted).backward()
    same_gradients(model, other)
    assert fastff.aux_loss(model) == 0


@lossy_layers
def test_nothing_is_left_after_backward(name):
    layer, x = build(name).train(), inputs(name).requires_grad_()
    out = layer(x)
    loss = fastff.aux_loss(layer)
    kept = [weakref.ref(tensor) for tensor in (out, loss)]
    (out.sum() + loss).backward()
    del out, loss
    gc.collect()
    assert [reference() for reference in kept] == [None] * len(kept)
    assert fastff.aux_loss(layer) == 0


@lossy_layers
def test_a_graph_that_is_dropped_leaves_nothing(name):
    layer, x = build(name).train(), inputs(name)
    for _ in range(3):
        out = layer(x)
    del out
    gc.collect()
    assert fastff.aux_loss(layer) == 0
    out = layer(x)
    close(fastff.aux_loss(layer), explicit(layer, x))
    assert out.requires_grad


@lossy_layers
def test_steps_do_not_add_up(name):
    layer, x = build(name).train(), inputs(name)
    values = []
    for _ in range(3):
        out = layer(x)
        loss = fastff.aux_loss(layer)
        (out.square().mean() + loss).backward()
        layer.zero_grad()
        values.append(loss.item())
    assert values == [values[0]] * 3


@lossy_layers
@pytest.mark.parametrize("gradients", [False, True])
def test_evaluation_has_no_loss(name, gradients):
    layer, x = build(name).eval(), inputs(name)
    with torch.set_grad_enabled(gradients):
        layer(x)
        assert fastff.aux_loss(layer) == 0


@lossy_layers
def test_a_model_that_has_not_run_has_none(name):
    assert fastff.aux_loss(nn.Linear(2, 2)) == 0
    assert fastff.aux_loss(build(name).train()) == 0


@lossy_layers
@pytest.mark.parametrize("way", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_after_a_forward_pass(name, way):
    layer, x = build(name).train(), inputs(name)
    out = layer(x)
    copied = way(layer)
    assert fastff.aux_loss(copied) == 0
    again = copied(x)
    close(fastff.aux_loss(copied), explicit(layer, x))
    close(again, out)
    loss = fastff.aux_loss(layer)
    close(loss, explicit(layer, x))
    (out.sum() + loss).backward()


@lossy_layers
def test_autocast(name):
    layer, x = build(name).train(), inputs(name)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    loss = fastff.aux_loss(layer)
    close(loss, explicit(build(name).train(), x), 3e-2)
    (out.float().sum() + loss).backward()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == LOSSY[0] else pytest.mark.slow)
             for n in LOSSY]
)  # fmt: skip
def test_compiled(name):
    torch.compiler.reset()
    model, other, x = model_of(name, "block"), model_of(name, "block"), draw(2, 3, I)
    compiled = torch.compile(model, backend="aot_eager")
    for _ in range(2):
        model.zero_grad()
        out = compiled(x)
        loss = fastff.aux_loss(model)
        (out.square().mean() + loss).backward()
    plain = other(x)
    wanted = fastff.aux_loss(other)
    close(loss, wanted)
    (plain.square().mean() + wanted).backward()
    same_gradients(model, other)
    torch.compiler.reset()
