"""A layer's own loss: the formulas as loops, and its way out of a model to the training loss."""

import copy
import gc
import io
import math
import pickle
import warnings
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from fastff.layers.losses import (
    N_RECENT,
    PendingLosses,
    aux_loss,
    hardening,
    importance,
    load_balance,
    record,
)


class Penalised(nn.Module):
    """A linear layer whose own loss is the mean square before its activation."""

    def __init__(self, features: int = 4, weight: float = 0.5) -> None:
        super().__init__()
        self.pending_losses = PendingLosses()
        self.linear = nn.Linear(features, features)
        self.weight = weight

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.linear(x)
        loss = self.weight * hidden.float().square().mean()
        return hidden.sin(), loss

    def forward(self, x: Tensor) -> Tensor:
        out, loss = self.both(x)
        return record(self, out, loss) if self.training else out


class OfOutputs(Penalised):
    """One whose loss is of its outputs."""

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out = self.linear(x).sin()
        return out, self.weight * out.square().mean()


class Constant(Penalised):
    """One whose loss has no gradient."""

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        out, loss = super().both(x)
        return out, loss.detach()


class Transposed(Penalised):
    """One whose outputs are a view."""

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.linear.weight @ x.mT
        loss = self.weight * hidden.square().mean()
        return hidden.sin().mT, loss


class Explicit(nn.Module):
    """What `aux_loss` is to do: the layers one after another, and the sum of their losses."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = 0.0
        for layer in self.layers:
            x, loss = layer.both(x)
            total = total + loss
        return x, total


def layers(n: int = 3) -> list[Penalised]:
    torch.manual_seed(0)
    return [Penalised(weight=0.5 + 0.25 * i) for i in range(n)]


def inputs() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def expected(parts: list[Penalised]) -> tuple[float, list[Tensor]]:
    """Return the sum of losses and the gradients of Σ out + 3 Σ losses."""
    out, total = Explicit(parts)(inputs())
    parameters = [p for layer in dict.fromkeys(parts) for p in layer.parameters()]
    return total.item(), list(torch.autograd.grad(out.sum() + 3 * total, parameters))


def check_step(model, run, parts: list[Penalised]) -> None:
    """Assert that a step of `run` has the sum and the gradients of the explicit form."""
    value, gradients = expected(parts)
    model.zero_grad()
    out = run(inputs())
    total = aux_loss(model)
    assert total.shape == () and total.item() == pytest.approx(value, rel=1e-5)
    (out.sum() + 3 * total).backward()
    parameters = [p for layer in dict.fromkeys(parts) for p in layer.parameters()]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    del out, total
    assert aux_loss(model).item() == 0


# formulas


@given(
    b=st.integers(0, 7), e=st.integers(1, 6), k=st.integers(1, 3), seed=st.integers(0, 2**16),
    n_runs=st.integers(0, 2),
)  # fmt: skip
def test_load_balance_is_the_sum_over_experts(b, e, k, seed, n_runs):
    draw = torch.Generator().manual_seed(seed)
    lead = (n_runs,) if n_runs else ()
    weights = torch.rand(*lead, b, e, generator=draw, dtype=torch.float64).softmax(-1)
    expert = torch.randint(e, (*lead, b, k), generator=draw)
    loss = load_balance(weights, expert)
    assert loss.shape == lead
    for run in range(max(n_runs, 1)):
        p, chosen = (weights[run], expert[run]) if n_runs else (weights, expert)
        total = 0.0
        for j in range(e):
            f = (chosen == j).sum().item() / (b * k) if b else 0.0
            total += f * (p[:, j].mean().item() if b else 0.0)
        assert (loss[run] if n_runs else loss).item() == pytest.approx(e * total, abs=1e-12)


def test_load_balance_is_that_of_charalampopoulos(generator):
    """2^d / b² Σ_leaf (summed soft weights · hard count)."""
    weights = torch.rand(10, 8, generator=generator, dtype=torch.float64).softmax(-1)
    leaf = torch.randint(8, (10,), generator=generator)
    by_leaf = [weights[:, j].sum() * (leaf == j).sum() for j in range(8)]
    torch.testing.assert_close(
        load_balance(weights, leaf.unsqueeze(-1)), 2**3 / 10**2 * torch.stack(by_leaf).sum()
    )


def test_load_balance_is_one_for_an_even_load_and_n_for_one_expert():
    even, index = torch.full((8, 4), 0.25), torch.arange(8).unsqueeze(-1) % 4
    assert load_balance(even, index).item() == 1
    one = torch.tensor([0.0, 1, 0, 0]).expand(8, 4)
    assert load_balance(one, torch.ones(8, 1, dtype=torch.long)).item() == 4


def test_importance_is_the_squared_coefficient_of_variation(generator):
    weights = torch.rand(9, 5, generator=generator, dtype=torch.float64)
    summed = weights.sum(0).tolist()
    mean = sum(summed) / 5
    variance = sum((value - mean) ** 2 for value in summed) / 5
    assert importance(weights).item() == pytest.approx(variance / mean**2, rel=1e-8)


@given(b=st.integers(0, 6), n=st.integers(1, 7), seed=st.integers(0, 2**16))
def test_hardening_is_the_mean_of_summed_entropies(b, n, seed):
    z = 4 * torch.randn(b, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    total = 0.0
    for value in z.flatten().tolist():
        p = 1 / (1 + math.exp(-value))
        total -= p * math.log(p) + (1 - p) * math.log(1 - p)
    assert hardening(z).item() == pytest.approx(total / b if b else 0, rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_formulas_of_half_precision_are_float32(dtype):
    """4,096 rows of weight 1/2 sum to 2,048, which bfloat16 can't count to."""
    weights = torch.full((4096, 2), 0.5, dtype=dtype)
    loss = load_balance(weights, torch.arange(4096).unsqueeze(-1) % 2)
    assert loss.dtype == torch.float32 and loss.item() == 1
    assert hardening(torch.zeros(4096, 1, dtype=dtype)).item() == pytest.approx(math.log(2))
    assert importance(weights).item() == 0


# the way to the training loss


def test_it_is_the_sum_of_all_layers():
    parts = layers()
    model = nn.Sequential(parts[0], nn.Sequential(nn.Identity(), *parts[1:]))
    check_step(model, model, parts)
    check_step(model, model, parts)


def test_a_layer_called_twice_counts_twice():
    a, b = layers(2)
    model = nn.Sequential(a, b, a)
    check_step(model, model, [a, b, a])


def test_it_is_the_same_when_called_again():
    parts = layers()
    model = nn.Sequential(*parts)
    model(inputs())
    out = model(inputs())
    assert aux_loss(parts[0]).item() > 0
    first, second = aux_loss(model), aux_loss(model)
    assert torch.equal(first, second) and first.item() == pytest.approx(expected(parts)[0])
    del out


def test_a_forward_pass_after_a_call_starts_a_new_sum():
    """Two losses that one backward pass adds up have the layers of their own pass each."""
    a, b = layers(2)
    model = nn.ModuleList([a, b])
    b(a(inputs()))
    first_out = b(a(inputs()))
    first = aux_loss(model)
    second_out = a(inputs())  # b isn't called
    second = aux_loss(model)
    assert first.item() == pytest.approx(expected([a, b])[0])
    assert second.item() == pytest.approx(expected([a])[0])
    (first + second + first_out.sum() + second_out.sum()).backward()
    assert aux_loss(model).item() == 0


def test_a_look_at_one_layer_leaves_the_sum_of_all_as_it_is():
    a, b = layers(2)
    model, seen = nn.Sequential(a, b), []
    for part in (a, b):
        part.register_forward_hook(lambda module, *_: seen.append(aux_loss(module).item()))
    out = model(inputs())
    assert seen == pytest.approx([expected([a])[0], expected([a, b])[0] - expected([a])[0]])
    assert aux_loss(model).item() == pytest.approx(expected([a, b])[0])
    del out


def test_losses_without_a_gradient_go_with_their_pass_too():
    layer = Constant()  # as that of a frozen gate
    for step in range(4):
        out = layer(inputs())
        if step % 2:
            assert torch.equal(aux_loss(layer), layer.both(inputs())[1])
        out.sum().backward()
    assert aux_loss(layer).item() == 0


def test_compiled_passes_with_a_backward_pass_count_no_more():
    torch._dynamo.reset()
    layer = Penalised()
    run = torch.compile(layer, backend="aot_eager")
    for _ in range(40):
        run(inputs()).sum().backward()
    layer.zero_grad()
    check_step(run, layer, [layer])


def test_passes_before_the_call_add_up():
    parts = layers()
    model = nn.Sequential(*parts)
    outputs = [model(inputs()) for _ in range(3)]
    total = aux_loss(model)
    assert total.item() == pytest.approx(3 * expected(parts)[0])
    (sum(out.sum() for out in outputs) + 3 * total).backward()
    for parameter, gradient in zip(model.parameters(), expected(parts)[1], strict=True):
        torch.testing.assert_close(parameter.grad, 3 * gradient, atol=1e-5, rtol=1e-5)


def test_a_pass_that_is_thrown_away_counts_no_more():
    parts = layers()
    model = nn.Sequential(*parts)
    model(inputs())
    gc.collect()
    assert aux_loss(model).item() == 0


def test_without_layers_that_have_a_loss_it_is_zero_on_the_models_device():
    assert aux_loss(nn.Linear(2, 2)).item() == 0
    assert aux_loss(nn.Linear(2, 2, device="meta")).device.type == "meta"
    assert aux_loss(nn.Identity()).device.type == "cpu"
    model = nn.Sequential(*layers()).eval()
    model(inputs())
    assert aux_loss(model).item() == 0


def test_nothing_is_kept_after_the_backward_pass_or_without_one():
    layer = Penalised()
    out = layer(inputs())
    loss = aux_loss(layer)
    seen = [weakref.ref(tensor) for tensor in (out, loss)]
    (out.sum() + loss).backward()
    del out, loss
    assert [ref() for ref in seen] == [None, None]
    assert len(layer.pending_losses.owned) == 0
    for _ in range(3):
        layer(inputs())
    assert len(layer.pending_losses.owned) == 0


def test_a_loss_that_nobody_adds_is_warned_of_once():
    layer = Penalised()
    with pytest.warns(UserWarning, match=r"Penalised has a loss .* fastff.aux_loss\(model\)"):
        layer(inputs()).sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(inputs()).sum().backward()
    assert aux_loss(layer).item() == 0


def test_a_gradient_penalty_before_the_call_loses_nothing():
    parts = layers(2)
    model = nn.Sequential(*parts)
    x = inputs().requires_grad_()
    out = model(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    total = aux_loss(model)
    assert total.item() == pytest.approx(expected(parts)[0])
    (out.sum() + slope.square().sum() + total).backward()


@pytest.mark.parametrize("kind", [Penalised, OfOutputs, Transposed])
def test_outputs_may_be_changed_in_place(kind):
    torch.manual_seed(0)
    layer = kind()
    out, loss = layer.both(inputs())
    parameters = [p for p in layer.parameters() if kind is not Transposed or p.dim() == 2]
    gradients = torch.autograd.grad(2 * out.sum() + 3 * loss, parameters)
    out = layer(inputs())
    out += 1
    out *= 2
    total = aux_loss(layer)
    torch.testing.assert_close(total, loss)
    (out.sum() + 3 * total).backward()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    del out, total
    layer(inputs())
    assert aux_loss(layer).item() == 0 and len(layer.pending_losses.owned) == 0


def test_a_layer_whose_output_has_no_graph_still_has_its_loss():
    """Frozen experts and a hard choice: the loss alone trains the gate."""
    layer = nn.Linear(4, 4)
    for _ in range(2):
        record(layer, torch.ones(3), layer(inputs()).sum())
        total = aux_loss(layer)
        total.backward()
        assert aux_loss(layer).item() == 0
    torch.testing.assert_close(layer.bias.grad, torch.full((4,), 12.0))


def test_without_gradients_it_is_the_value():
    parts = layers()
    model = nn.Sequential(*parts)
    for _ in range(2):
        with torch.no_grad():
            model(inputs())
            total = aux_loss(model)
        assert total.item() == pytest.approx(expected(parts)[0]) and not total.requires_grad
    with torch.inference_mode():
        model(inputs())
        model(inputs())
    assert aux_loss(model).item() == pytest.approx(2 * expected(parts)[0])


def test_a_trial_without_gradients_is_no_part_of_a_step():
    parts = layers()
    model = nn.Sequential(*parts)
    for _ in range(2 * N_RECENT):
        with torch.no_grad():
            model(inputs())
    check_step(model, model, parts)


def test_a_step_under_way_is_no_part_of_a_trials_value():
    model = nn.Sequential(*layers())
    out = model(inputs())
    total = aux_loss(model)
    with torch.no_grad():
        model(2 * inputs())
    trial = aux_loss(model)
    assert trial.item() != pytest.approx(total.item())
    (out.sum() + total).backward()


def test_too_many_passes_without_a_graph_are_an_error_once():
    model = nn.Sequential(*layers())
    with torch.no_grad():
        for _ in range(N_RECENT):
            model(inputs())
    with pytest.raises(RuntimeError, match="ran 32 times or more, compiled or without gradients"):
        aux_loss(model)
    assert aux_loss(model).item() == 0


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_checkpoint_counts_once(use_reentrant, depth):
    a, b, c = layers()
    model = nn.ModuleList([a, b, c])

    def nested(x, depth=depth):
        if depth:
            return checkpoint(nested, x, depth - 1, use_reentrant=use_reentrant)
        return a(b(x))

    def run(x):
        return c(nested(x.requires_grad_()))

    for _ in range(2):
        check_step(model, run, [b, a, c])


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_shared_layer_inside_and_outside_of_checkpoints(use_reentrant):
    a, b = layers(2)
    model = nn.ModuleList([a, b])

    def run(x):
        x = checkpoint(a, x.requires_grad_(), use_reentrant=use_reentrant)
        return checkpoint(nn.Sequential(a, b), x, use_reentrant=use_reentrant)

    check_step(model, run, [a, a, b])


def test_two_passes_of_reentrant_checkpoints_have_the_weights_of_their_losses():
    (a,) = layers(1)
    first = checkpoint(a, inputs().requires_grad_(), use_reentrant=True)
    first_loss = aux_loss(a)
    second = checkpoint(a, inputs().requires_grad_() * 2, use_reentrant=True)
    second_loss = aux_loss(a)
    (first.sum() + second.sum() + 5 * first_loss + 7 * second_loss).backward()
    gradient = a.linear.weight.grad.clone()
    a.zero_grad()
    (one, one_loss), (two, two_loss) = a.both(inputs()), a.both(2 * inputs())
    (one.sum() + two.sum() + 5 * one_loss + 7 * two_loss).backward()
    torch.testing.assert_close(gradient, a.linear.weight.grad)


def test_a_reentrant_checkpoint_without_the_sum_is_warned_of_and_with_a_late_one_refused():
    layer = Penalised()
    with pytest.warns(UserWarning, match="Penalised has a loss of its own that was not added"):
        checkpoint(layer, inputs().requires_grad_(), use_reentrant=True).sum().backward()
    out = checkpoint(layer, inputs().requires_grad_(), use_reentrant=True)
    total = aux_loss(layer)
    with pytest.raises(RuntimeError, match="the loss of Penalised is recomputed before aux_loss"):
        out.sum().backward()
    del total


def test_copies_and_files_hold_no_loss():
    layer = Penalised()
    out = layer(inputs())
    other = copy.deepcopy(layer)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for copied in (other, pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)):
        assert aux_loss(copied).item() == 0
        check_step(copied, copied, [copied])
    assert aux_loss(layer).item() > 0
    assert [*layer.state_dict()] == ["linear.weight", "linear.bias"]
    del out


def test_transforms_of_functions():
    parts = layers(2)
    model = nn.Sequential(*parts)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x):
        out = functional_call(model, parameters, (x,))
        return out.sum() + 3 * aux_loss(model)

    gradients = grad(loss)(parameters, inputs())
    for gradient, wanted in zip(gradients.values(), expected(parts)[1], strict=True):
        torch.testing.assert_close(gradient, wanted)
    by_row = vmap(grad(loss), (None, 0))(parameters, inputs().unsqueeze(1))
    for row in range(6):
        one = grad(loss)(parameters, inputs()[row : row + 1])
        for name, gradient in one.items():
            torch.testing.assert_close(by_row[name][row], gradient)
    assert aux_loss(model).item() == 0
    with pytest.raises(RuntimeError, match="a layer ran last inside vmap or jvp"):
        vmap(loss, (None, 0))(parameters, inputs())
    vmap(lambda x: functional_call(model, parameters, (x,)))(inputs().unsqueeze(1))
    with pytest.raises(RuntimeError, match="a layer ran last inside vmap or jvp"):
        aux_loss(model)
    check_step(model, model, parts)


def test_autocast_has_the_loss_in_float32():
    layer = Penalised()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(inputs())
        total = aux_loss(layer)
    assert out.dtype == torch.bfloat16 and total.dtype == torch.float32
    (out.float().sum() + total).backward()


def test_losses_of_several_dtypes_are_summed_in_the_widest():
    model = nn.Sequential(layers(1)[0].double())
    model.append(nn.Linear(4, 4, dtype=torch.float64))
    out = model(inputs().double())
    assert aux_loss(model).dtype == torch.float32
    out = record(model[1], out, out.sum())
    assert aux_loss(model).dtype == torch.float64
    del out


# torch.compile


def compiled(model: nn.Module):
    counter = CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()
    return torch.compile(model, backend=counter, fullgraph=True), counter


def test_compiled_models_have_the_same_sum_and_compile_once():
    a, b = layers(2)
    model = nn.Sequential(a, b, a)
    run, counter = compiled(model)
    for _ in range(3):
        check_step(model, run, [a, b, a])
    outputs = [run(inputs()) for _ in range(3)]
    total = aux_loss(run)
    assert total.item() == pytest.approx(3 * expected([a, b, a])[0], rel=1e-5)
    assert torch.equal(aux_loss(model), total)
    (outputs[0].sum() + total).backward()
    for _ in range(N_RECENT):
        run(inputs())
    with pytest.raises(RuntimeError, match="ran 32 times or more"):
        aux_loss(model)
    assert len(a.pending_losses.recent) == N_RECENT
    check_step(model, run, [a, b, a])
    assert counter.frame_count == 1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_two_losses_of_compiled_passes_are_of_their_own_pass():
    a, b = layers(2)
    model = nn.ModuleList([a, b])
    run_a, _ = compiled(a)
    run_b = torch.compile(b, backend="aot_eager", fullgraph=True)
    out = run_b(run_a(inputs()))
    assert aux_loss(a).item() == pytest.approx(expected([a])[0], rel=1e-5)
    first = aux_loss(model)
    out = out.sum() + run_a(inputs()).sum()
    second = aux_loss(model)
    assert first.item() == pytest.approx(expected([a, b])[0], rel=1e-5)
    assert second.item() == pytest.approx(expected([a])[0], rel=1e-5)
    (out + first + second).backward()
    assert aux_loss(model).item() == 0


def test_a_layer_compiled_inside_a_checkpoint_counts_once():
    a, b = layers(2)
    model = nn.ModuleList([a, b])
    inner, _ = compiled(a)

    def run(x, *, use_reentrant=False):
        return b(checkpoint(inner, x.requires_grad_(), use_reentrant=use_reentrant))

    for _ in range(2):
        check_step(model, run, [a, b])
    out = run(inputs(), use_reentrant=True)
    with pytest.raises(RuntimeError, match="compiled inside a checkpoint with use_reentrant=True"):
        (out.sum() + aux_loss(model)).backward()
    check_step(model, run, [a, b])


def test_a_checkpoint_inside_of_compiled_code_counts_once(monkeypatch):
    a, b = layers(2)
    model = nn.ModuleList([a, b])

    def forward(x):
        return b(checkpoint(a, x, use_reentrant=False))

    torch._dynamo.reset()
    run = torch.compile(forward, backend="aot_eager", fullgraph=True)
    option = "skip_fwd_side_effects_in_bwd_under_checkpoint"
    with pytest.raises(torch._dynamo.exc.Unsupported, match=option):
        run(inputs())
    monkeypatch.setattr(torch._dynamo.config, option, True)
    for _ in range(2):
        check_step(model, run, [a, b])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_loss_breaks_the_graph_around_the_sum():
    parts = layers(2)
    model = nn.Sequential(*parts)

    def step(x):
        return model(x).sum() + 3 * aux_loss(model)

    torch._dynamo.reset()
    loss = torch.compile(step, backend="aot_eager")(inputs())
    loss.backward()
    for parameter, gradient in zip(model.parameters(), expected(parts)[1], strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert aux_loss(model).item() == 0


def test_a_compiled_copy_starts_without_losses():
    layer = Penalised()
    run, _ = compiled(layer)
    out = run(inputs())
    assert aux_loss(copy.deepcopy(layer)).item() == 0
    assert aux_loss(pickle.loads(pickle.dumps(layer))).item() == 0
    assert aux_loss(layer).item() > 0
    del out


def test_a_layer_without_a_place_for_its_losses_gets_one_while_it_is_compiled():
    layer = Penalised()
    del layer.pending_losses
    run, _ = compiled(layer)
    check_step(layer, run, [layer])
    check_step(layer, run, [layer])
