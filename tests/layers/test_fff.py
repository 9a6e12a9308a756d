"""The FFF for users: its form against a walk in float64, its losses, its use, its example."""

import inspect
import math
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from fastff.layers.fff import FFF, set_hardening
from fastff.layers.losses import aux_loss

LEADING = st.lists(st.integers(0, 4), max_size=3)


def walk(layer: FFF, row: Tensor) -> tuple[int, list[float]]:
    """Return the leaf that one input reaches, and the logits of all nodes."""
    bias = layer.gate.bias
    z = [
        (layer.gate.weight[j] @ row + (0 if bias is None else bias[j])).item()
        for j in range(layer.n_experts - 1)
    ]
    node = 0
    while node < len(z):
        node = 2 * node + 1 + (z[node] > 0)
    return node - len(z), z


def probabilities(layer: FFF, row: Tensor) -> list[float]:
    """Return the product of the sigmoids on each leaf's path."""
    _, z = walk(layer, row)
    p = []
    for leaf in range(layer.n_experts):
        node, product = leaf + len(z), 1.0
        while node:
            parent = (node - 1) // 2
            sign = 1 if node == 2 * parent + 2 else -1
            product *= 1 / (1 + math.exp(-sign * z[parent]))
            node = parent
        p.append(product)
    return p


def of_expert(experts, e: int, row: Tensor, activation=torch.relu) -> Tensor:
    """Return E_e(x) of one input."""
    b_in, b_out = (0, 0) if experts.b_in is None else (experts.b_in[e], experts.b_out[e])
    return activation(experts.w_in[e] @ row + b_in) @ experts.w_out[e] + b_out


@given(
    leading=LEADING, depth=st.integers(1, 4), width=st.integers(1, 4), bias=st.booleans(),
    master=st.integers(0, 3), seed=st.integers(0, 2**16),
)  # fmt: skip
def test_both_forms_are_the_formula(leading, depth, width, bias, master, seed):
    draw = torch.Generator().manual_seed(seed)
    layer = FFF(
        5, 3, depth=depth, leaf_width=width, bias=bias, master_leaf_width=master, generator=draw,
        dtype=torch.float64,
    )  # fmt: skip
    k = 1.0
    if master:
        nn.init.constant_(layer.mix, 0.7)
        k = 1 / (1 + math.exp(-0.7))
    x = torch.randn(*leading, 5, generator=draw, dtype=torch.float64)
    soft, hard = layer.train()(x), layer.eval()(x)
    assert soft.shape == hard.shape == (*leading, 3)
    for row, one, other in zip(
        x.reshape(-1, 5), soft.reshape(-1, 3), hard.reshape(-1, 3), strict=True
    ):
        rest = (1 - k) * of_expert(layer.master, 0, row) if master else 0
        p = probabilities(layer, row)
        mixed = sum(p[e] * of_expert(layer.experts, e, row) for e in range(2**depth))
        torch.testing.assert_close(one, k * mixed + rest)
        chosen = of_expert(layer.experts, walk(layer, row)[0], row)
        torch.testing.assert_close(other, k * chosen + rest)


@given(leading=LEADING, depth=st.integers(1, 3), seed=st.integers(0, 2**16))
def test_losses_and_use_are_counted_over_all_leading_dimensions(leading, depth, seed):
    draw = torch.Generator().manual_seed(seed)
    layer = FFF(
        5, 3, depth=depth, leaf_width=2, hardening=0.3, balance=0.7, generator=draw,
        dtype=torch.float64,
    )  # fmt: skip
    x = torch.randn(*leading, 5, generator=draw, dtype=torch.float64)
    out = layer(x)
    loss = aux_loss(layer).item()
    rows = x.reshape(-1, 5)
    b, e = len(rows), 2**depth
    leaves = [walk(layer, row)[0] for row in rows]
    entropies = torch.zeros(e - 1, dtype=torch.float64)
    soft = torch.zeros(e, dtype=torch.float64)
    for row in rows:
        for j, z in enumerate(walk(layer, row)[1]):
            p = 1 / (1 + math.exp(-z))
            entropies[j] -= (p * math.log(p) + (1 - p) * math.log(1 - p)) / b
        soft += torch.tensor(probabilities(layer, row), dtype=torch.float64)
    balance = sum(soft[j].item() * leaves.count(j) for j in range(e)) * e / max(b, 1) ** 2
    assert loss == pytest.approx(0.3 * entropies.sum().item() + 0.7 * balance, abs=1e-9)
    assert layer.leaf(x).shape == tuple(leading)
    assert layer.leaf(x).flatten().tolist() == leaves
    assert layer.usage(x).tolist() == [leaves.count(j) for j in range(e)]
    torch.testing.assert_close(layer.entropies(x), entropies)
    del out


def test_the_balance_loss_spreads_inputs_over_leaves(generator):
    """Gradient steps on the loss alone even out a tree that sends everything to one leaf."""
    layer = FFF(6, 2, depth=2, leaf_width=2, balance=1.0, generator=generator)
    with torch.no_grad():
        layer.gate.bias.fill_(4.0)
    x = torch.randn(256, 6, generator=generator)
    assert layer.usage(x).max() > 200
    optimiser = torch.optim.Adam(layer.gate.parameters(), lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        out = layer(x)
        (0 * out.sum() + aux_loss(layer)).backward()
        optimiser.step()
    assert layer.usage(x).max() < 110


def test_hard_training_trains_the_leaf_reached_and_no_node(generator):
    layer = FFF(6, 2, depth=3, leaf_width=4, hard_training=True, generator=generator)
    x = torch.randn(3, 6, generator=generator)
    layer(x).sum().backward()
    reached = sorted(set(layer.leaf(x).tolist()))
    assert layer.experts.w_out.grad.abs().sum((1, 2)).nonzero().flatten().tolist() == reached
    assert layer.gate.weight.grad.abs().sum() == 0
    torch.testing.assert_close(layer(x), layer.eval()(x))


@pytest.mark.parametrize("is_training", [True, False])
def test_gradients_by_sample(is_training, generator):
    layer = FFF(6, 2, depth=3, leaf_width=4, hard_training=True, generator=generator)
    layer.train(is_training)
    x = torch.randn(5, 6, generator=generator)
    parameters = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def loss(parameters, row):
        return torch.func.functional_call(layer, parameters, (row,)).square().sum()

    by_row = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    layer(x).square().sum().backward()
    for name, parameter in layer.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(by_row[name].sum(0), expected)


def test_the_engines_forms_have_the_master_leaf(generator):
    layer = FFF(6, 2, depth=2, leaf_width=3, master_leaf_width=4, balance=0.1, generator=generator)
    x = torch.randn(7, 6, generator=generator)
    both, routing = layer.soft_and_hard(x)
    outputs, loss = layer.soft_with_loss(x)
    out = layer(x)
    torch.testing.assert_close(both[0], out)
    torch.testing.assert_close(outputs, out)
    torch.testing.assert_close(loss, aux_loss(layer))
    torch.testing.assert_close(both[1], layer.eval()(x))
    assert routing.squeeze(-2).argmax(-1).tolist() == layer.leaf(x).tolist()
    assert layer.training_width == 4 * 3 + 4 and layer.inference_width == 3 + 4


def test_a_stack_of_runs_has_a_master_leaf_each(generator):
    options = {"depth": 2, "leaf_width": 3, "master_leaf_width": 4, "generator": generator}
    runs = [FFF(6, 2, **options) for _ in range(3)]
    for run in runs:
        nn.init.normal_(run.mix, generator=generator)
    parameters, _ = torch.func.stack_module_state(runs)
    x = torch.randn(3, 7, 6, generator=generator)
    stacked = torch.func.functional_call(runs[0], parameters, (x,))
    torch.testing.assert_close(stacked, torch.stack([run(x[r]) for r, run in enumerate(runs)]))


def test_autocast_gives_its_dtype(generator):
    layer = FFF(6, 2, depth=2, leaf_width=3, master_leaf_width=4, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        for mode in (True, False):
            assert layer.train(mode)(torch.ones(3, 6)).dtype == torch.bfloat16


def test_a_gate_with_hooks_or_alone_has_its_loss_too(generator):
    layer = FFF(6, 2, depth=2, leaf_width=3, hardening=1.0, generator=generator)
    x = torch.randn(7, 6, generator=generator)
    out = layer(x)
    expected = aux_loss(layer)
    weights = layer.gate(x)
    assert torch.equal(aux_loss(layer.gate), expected)
    layer.gate.register_forward_hook(lambda *_: None)
    hooked = layer(x)
    torch.testing.assert_close(aux_loss(layer), expected)
    del out, weights, hooked


def test_the_same_generator_draws_the_same_again():
    options = {"depth": 2, "leaf_width": 3, "master_leaf_width": 2}
    layer = FFF(6, 2, **options, generator=torch.Generator().manual_seed(3))
    other = FFF(6, 2, **options)
    nn.init.ones_(other.mix)
    other.reset_parameters(torch.Generator().manual_seed(3))
    for name, parameter in layer.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name)), name
        assert (parameter.abs() > 0).any() or name == "mix"


def test_sizes_of_numpy():
    layer = FFF(np.prod((2, 3)), np.int64(2), depth=np.int32(2), leaf_width=np.int64(3))
    assert layer.eval()(torch.zeros(4, 6)).shape == (4, 2)


def test_devices_dtypes_and_functions():
    layer = FFF(
        6, 2, depth=2, leaf_width=3, activation=torch.sin, master_leaf_width=2, device="meta",
        dtype=torch.bfloat16,
    )  # fmt: skip
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", torch.bfloat16)}
    layer = layer.to_empty(device="cpu").double()
    layer.reset_parameters()
    row = torch.ones(6, dtype=torch.float64)
    expected = 0.5 * of_expert(layer.experts, layer.leaf(row).item(), row, torch.sin)
    expected = expected + 0.5 * of_expert(layer.master, 0, row, torch.sin)
    torch.testing.assert_close(layer.eval()(row), expected)


def test_its_description():
    assert repr(FFF(6, 2, depth=3, leaf_width=4)).startswith(
        "FFF(\n  6, 2, depth=3, leaf_width=4\n"
    )
    assert "leaf_width=4, master_leaf_width=5" in repr(
        FFF(6, 2, depth=3, leaf_width=4, master_leaf_width=5)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_features": 0}, "in_features = 0: must be at least 1"),
        ({"out_features": 2.5}, "out_features = 2.5: must be an integer"),
        ({"leaf_width": True}, "leaf_width = True: must be an integer"),
        ({"master_leaf_width": -1}, "master_leaf_width = -1: must be at least 1"),
        ({"depth": 0}, "depth = 0: must be at least 1"),
        ({"depth": 40}, "depth = 40: must be at most 24"),
        ({"hardening": -0.1}, "hardening = -0.1: must be a finite number of at least 0"),
        ({"balance": math.nan}, "balance = nan: must be a finite number of at least 0"),
        ({"balance": math.inf}, "balance = inf: must be a finite number of at least 0"),
        ({"region_leak": 1.5}, "region_leak = 1.5: must be between 0 and 1"),
        ({"dropout": 1.0}, "dropout = 1.0: must be at least 0 and below 1"),
        ({"activation": "tanh"}, "activation = 'tanh': allowed are relu, gelu"),
        ({"hard_training": True, "balance": 1.0}, "hardening and balance have no meaning with it"),
    ],
)
def test_bad_arguments_are_named(options, message):
    sizes = {"in_features": 6, "out_features": 2, "depth": 2, "leaf_width": 3}
    with pytest.raises(ValueError, match=re.escape(message)):
        FFF(**{**sizes, **options})


# hardening on a schedule


def test_set_hardening_changes_the_weight_of_all_trees(generator):
    model = nn.Sequential(
        FFF(6, 6, depth=2, leaf_width=3, generator=generator),
        FFF(6, 2, depth=1, leaf_width=3, hardening=0.5, generator=generator),
    )
    x = torch.randn(7, 6, generator=generator)
    unit = model[0].entropies(x).sum() + model[1].entropies(model[0](x)).sum()
    for weight in (1.0, 0.25, 0.0):
        set_hardening(model, weight)
        out = model(x)
        torch.testing.assert_close(aux_loss(model), weight * unit)
        (out.sum() + aux_loss(model)).backward()


def test_a_schedule_compiles_once(generator):
    layer = FFF(6, 2, depth=2, leaf_width=3, hardening=0.1, generator=generator)
    set_hardening(layer, 0.0)
    counter = CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()
    run = torch.compile(layer, backend=counter, fullgraph=True)
    x = torch.randn(7, 6, generator=generator)
    for step in range(4):
        set_hardening(layer, 0.1 * step)
        layer.zero_grad()
        out = run(x)
        loss = aux_loss(run)
        torch.testing.assert_close(loss, 0.1 * step * layer.entropies(x).sum())
        (out.sum() + loss).backward()
    assert counter.frame_count == 1


def test_set_hardening_between_the_passes_is_of_the_next_step(generator):
    layers = [FFF(6, 2, depth=2, leaf_width=3) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(7, 6, generator=generator)
    with torch.inference_mode():
        set_hardening(layers[0], 0.5)
    set_hardening(layers[1], 0.5)
    for layer, following in zip(layers, (0.9, 0.5), strict=True):
        out = layer(x)
        loss = out.sum() + aux_loss(layer)
        set_hardening(layer, following)
        loss.backward()
    for ours, other in zip(*(layer.parameters() for layer in layers), strict=True):
        assert torch.equal(ours.grad, other.grad)


def test_set_hardening_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="the model has no TreeGate"):
        set_hardening(nn.Linear(2, 2), 0.1)
    with pytest.raises(ValueError, match=r"weight = -1: must be a finite number of at least 0"):
        set_hardening(FFF(6, 2, depth=2, leaf_width=3), -1)
    with pytest.raises(ValueError, match="hard_training = True gives nodes no gradient"):
        set_hardening(FFF(6, 2, depth=2, leaf_width=3, hard_training=True), 0.1)
    soft = FFF(6, 6, depth=2, leaf_width=3)
    with pytest.raises(ValueError, match="hard_training = True gives nodes no gradient"):
        set_hardening(nn.Sequential(soft, FFF(6, 2, depth=2, leaf_width=3, hard_training=True)), 1)
    assert soft.gate.hardening_weight == 0


# the example


def example() -> str:
    """Return the code in the docstring of FFF."""
    lines = inspect.getdoc(FFF).split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("    class Block"))
    last = next(i for i, line in enumerate(lines) if line.startswith("Args:"))
    return textwrap.dedent("\n".join(lines[first:last]))


def test_the_example_trains_nodes_and_leaves():
    names = {"torch": torch, "FFF": FFF, "aux_loss": aux_loss}
    torch.manual_seed(0)
    exec(example(), names)
    model, loss = names["model"], names["loss"]
    assert loss.shape == () and math.isfinite(loss.item())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert aux_loss(model).item() == 0


def test_the_examples_of_the_readme_and_of_the_page_on_layers_run():
    root = Path(__file__).parents[2]
    pages = [root / "README.md", root / "docs" / "layers.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    block, functions = re.findall("```python\n(.*?)```", "".join(texts), flags=re.DOTALL)
    names = {
        "x": torch.randn(8, 64),
        "w_in": torch.randn(2, 15, 64),
        "w_out": torch.randn(2, 15, 5),
    }
    exec(block, names)
    assert names["loss"].isfinite()
    assert all(parameter.grad is not None for parameter in names["model"].parameters())
    exec(functions, names)
    assert names["leaf"].shape == (8,) and names["out"].shape == (8, 5)
