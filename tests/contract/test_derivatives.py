"""Gradients, second derivatives and torch.func, against autograd through the definitions."""

import definition
import pytest
import torch
from cases import (
    BATCH,
    GATED,
    SOME,
    I,
    O,
    build,
    call,
    close,
    draw,
    every_layer,
    every_mode,
    expected,
    in_modes,
    inputs,
    with_gradients,
)
from torch.func import functional_call, grad, jacrev, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint


def parameters(layer):
    return [p for p in layer.parameters() if p.requires_grad]


def defined(name, mode, x):
    """Return a layer in float64 and its outputs of `x` by definition, both with a graph."""
    layer = build(name, torch.float64).train(mode == "train")
    x = x.detach().double().requires_grad_()
    return layer, x, definition.output(layer, x, hard=mode != "train")


def gradients(out, seen, of, **options):
    return torch.autograd.grad(out, of, seen, materialize_grads=True, **options)


def all_close(found, wanted):
    for gradient, reference in zip(found, wanted, strict=True):
        close(gradient, reference)


@every_layer
@with_gradients
def test_gradients(name, mode):
    layer, x, seen = build(name), inputs(name).requires_grad_(), draw(BATCH, O, seed=2)
    found = gradients(call(layer, mode, x), seen, [x, *parameters(layer)])
    plain, x64, out = defined(name, mode, x)
    all_close(found, gradients(out, seen.double(), [x64, *parameters(plain)]))
    assert all(gradient.dtype == torch.float32 for gradient in found)


SEEN = {  # gradients of outputs, (b, o), that come in other layouts
    "of a sum": torch.ones(()).expand(BATCH, O),
    "of a column": draw(BATCH, 1).expand(BATCH, O),
    "transposed": draw(O, BATCH).mT,
    "negative": torch._neg_view(draw(BATCH, O)),
    "zero": torch.zeros(BATCH, O),
}


@every_layer
@pytest.mark.parametrize("seen", SEEN)
@with_gradients
def test_layouts_of_gradients(name, mode, seen):
    layer, x = build(name), inputs(name).requires_grad_()
    found = gradients(call(layer, mode, x), SEEN[seen], [x, *parameters(layer)])
    plain, x64, out = defined(name, mode, x)
    all_close(found, gradients(out, SEEN[seen].double(), [x64, *parameters(plain)]))


@every_layer
@with_gradients
def test_gradients_of_strided_inputs(name, mode):
    layer, row = build(name), inputs(name, 1).requires_grad_()
    out = call(layer, mode, row.expand(4, I).unsqueeze(1))
    found = gradients(out.square().sum(), None, [row, *parameters(layer)])
    plain, x64, out = defined(name, mode, row)
    wanted = gradients(4 * out.square().sum(), None, [x64, *parameters(plain)])
    all_close(found, wanted)


@every_layer
@with_gradients
def test_gradients_of_no_rows(name, mode):
    layer, x = build(name), torch.empty(0, I, requires_grad=True)
    found = gradients(call(layer, mode, x).sum(), None, [x, *parameters(layer)])
    assert all(not gradient.any() for gradient in found)


@every_layer
@with_gradients
def test_gradients_of_a_part_of_the_outputs(name, mode):
    layer, x = build(name), inputs(name).requires_grad_()
    found = gradients(call(layer, mode, x)[1, 2], None, [x, *parameters(layer)])
    plain, x64, out = defined(name, mode, x)
    all_close(found, gradients(out[1, 2], None, [x64, *parameters(plain)]))


@every_layer
@with_gradients
def test_gradients_add_up(name, mode):
    layer, x = build(name), inputs(name)
    for _ in range(2):
        call(layer, mode, x).sum().backward()
    once = build(name)
    (2 * call(once, mode, x)).sum().backward()
    for (key, p), other in zip(layer.named_parameters(), once.parameters(), strict=True):
        assert (p.grad is None) == (other.grad is None), key
        if p.grad is not None:
            close(p.grad, other.grad)


@every_layer
def test_every_parameter_learns_in_training(name):
    # else DistributedDataParallel waits for a gradient for ever; it may be zero
    layer = build(name)
    call(layer, "train", inputs(name)).sum().backward()
    assert [key for key, p in layer.named_parameters() if p.grad is None] == []


@every_layer
@with_gradients
def test_second_derivatives(name, mode):
    layer, x, seen = build(name), inputs(name).requires_grad_(), draw(BATCH, O, seed=2)
    plain, x64, out = defined(name, mode, x)
    results = []
    for module, at, values, weights in (
        (layer, x, call(layer, mode, x), seen),
        (plain, x64, out, seen.double()),
    ):
        first = gradients(values, weights, [at, *parameters(module)], create_graph=True)
        penalty = sum(g.square().sum() for g in first)
        results.append(gradients(penalty, None, [at, *parameters(module)]))
    all_close(*results)


@every_layer
@with_gradients
def test_second_derivatives_by_finite_differences(name, mode):
    layer = build(name, torch.float64).train(mode == "train")
    state = dict(layer.named_parameters())
    x = inputs(name, 2, dtype=torch.float64).requires_grad_()

    def function(x, *values):
        return functional_call(layer, dict(zip(state, values, strict=True)), (x,))

    values = (x, *state.values())
    assert torch.autograd.gradcheck(function, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, values, fast_mode=True)


@every_layer
@with_gradients
def test_gradients_per_sample(name, mode):
    layer, x = build(name).train(mode == "train"), inputs(name)
    state = {key: p.detach() for key, p in layer.named_parameters()}

    def loss(state, row):
        return functional_call(layer, state, (row,)).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(state, x)
    for n in range(0, BATCH, 2):
        plain, _, out = defined(name, mode, x[n])
        wanted = gradients(out.square().sum(), None, parameters(plain))
        for (key, gradient), reference in zip(found.items(), wanted, strict=True):
            assert key in state
            close(gradient[n], reference)


@every_layer
@with_gradients
def test_jacobians(name, mode):
    layer, x = build(name).train(mode == "train"), inputs(name)[0]
    found = jacrev(layer)(x)
    _, x64, out = defined(name, mode, x)
    wanted = torch.stack([torch.autograd.grad(o, x64, retain_graph=True)[0] for o in out])
    close(found, wanted)


@every_layer
@in_modes("eval", "train")
def test_ensembles(name, mode):
    layers = [build(name).train(mode == "train") for _ in range(2)]
    for parameter in layers[1].parameters():
        parameter.data.mul_(-1.5)
    state, buffers = stack_module_state(layers)
    x = inputs(name)
    with torch.set_grad_enabled(mode == "train"):
        out = vmap(lambda *s: functional_call(layers[0], s, (x,)))(state, buffers)
    for found, layer in zip(out, layers, strict=True):
        close(found, definition.output(layer, x, hard=mode != "train"))


@every_layer
@every_mode
def test_rows_by_vmap(name, mode):
    layer, x = build(name).train(mode == "train"), inputs(name, 2, 3)
    with torch.set_grad_enabled(mode != "eval"):
        for out in (vmap(layer)(x), vmap(vmap(layer))(x), vmap(layer, in_dims=1, out_dims=1)(x)):
            close(out, expected(layer, mode, x))


@every_layer
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed(name, reentrant):
    results = []
    for again in (False, True):
        layer, x = build(name, fixed=False), inputs(name).requires_grad_()
        torch.manual_seed(3)
        layer.train()
        out = checkpoint(layer, x, use_reentrant=reentrant) if again else layer(x)
        out.square().sum().backward()
        results.append([out, *(p.grad for p in (x, *layer.parameters()))])
    for plain, recomputed in zip(*results, strict=True):
        assert (plain is None) == (recomputed is None)
        assert plain is None or plain.equal(recomputed)


@pytest.mark.parametrize("name", [name for name in SOME if name in GATED])
@with_gradients
def test_saved_tensors_can_be_offloaded(name, mode):
    layer, x = build(name), inputs(name).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        out = call(layer, mode, x)
    found = gradients(out.sum(), None, [x, *parameters(layer)])
    plain, x64, out = defined(name, mode, x)
    all_close(found, gradients(out.sum(), None, [x64, *parameters(plain)]))


@every_layer
@with_gradients
def test_a_weight_changed_before_backward_is_an_error(name, mode):
    layer, x = build(name), inputs(name).requires_grad_()
    out = call(layer, mode, x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.square().sum().backward()
