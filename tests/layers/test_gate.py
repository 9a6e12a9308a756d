"""Gates of other kinds than the package's: without parameters, with fixed ones, with several."""

import pytest
import torch
from torch import nn

from fastff.config.recipe import Recipe
from fastff.layers import MixtureExperts, RoutedLayer, aux_loss
from fastff.layers.gate import Gate, Routing
from fastff.train.build import stack
from fastff.train.optimiser import build_optimiser
from fastff.train.recording import GradientRecorder

I, E, O, BATCH = 6, 4, 3, 10  # noqa: E741


class HashGate(Gate):
    """Without parameters: the expert is a hash of the input (Roller et al., arXiv 2106.04426)."""

    def __init__(self, generator=None):
        super().__init__(I, E, n_trained=1)
        self.register_constants()
        self.reset_parameters(generator)

    def constants(self, device):
        return {"odd": torch.arange(1.0, 2 * I, 2, device=device)}

    def route(self, x, *, hard, sparse):
        self.check_inputs(x)
        code = (x * self.constant("odd", like=x)).sum(-1, keepdim=True) * 100
        return Routing(expert=code.long() % E)


class RandomGate(Gate):
    """A parameter that never learns, and a scale per expert that does."""

    def __init__(self, generator=None):
        super().__init__(I, E)
        self.planes = nn.Parameter(torch.empty(E, I), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(E))
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        nn.init.normal_(self.planes, generator=generator)
        nn.init.ones_(self.scale)

    def route(self, x, *, hard, sparse):
        self.check_inputs(x)
        z = (x @ self.planes.mT) * (self.scale.unsqueeze(-2) if self.is_stacked else self.scale)
        if hard:
            return Routing(expert=z.argmax(-1, keepdim=True))
        return Routing(z.softmax(-1), loss=0.1 * z.square().mean((-1, -2)))

    def units(self):
        return {"gate": (self.scale, 0)}


def layers(gate, n, generator):
    return [
        RoutedLayer(gate(generator), MixtureExperts(E, I, 5, O, generator=generator))
        for _ in range(n)
    ]


@pytest.mark.parametrize("gate", [HashGate, RandomGate])
def test_a_stack_computes_and_learns_as_its_parts(gate, generator):
    singles = layers(gate, 2, generator)
    stacked = stack(singles)
    x = torch.randn(2, BATCH, I, generator=generator)
    outputs, loss = stacked.soft_with_loss(x)
    (outputs.square().sum() + (0 if loss is None else loss.sum())).backward()
    both, routing = stacked.soft_and_hard(x)
    for run, layer in enumerate(singles):
        out = layer.train()(x[run])
        (out.square().sum() + aux_loss(layer)).backward()
        torch.testing.assert_close(out, outputs[run])
        torch.testing.assert_close(both[1, run], layer.eval()(x[run]))
        assert routing[run, :, 0].equal(layer.gate.hard(x[run]))
        for name, parameter in layer.named_parameters():
            in_stack = stacked.get_parameter(name)
            assert in_stack.requires_grad == parameter.requires_grad
            if parameter.requires_grad:
                torch.testing.assert_close(in_stack.grad[run], parameter.grad)
    assert stacked.node_logits(x) is stacked.node_weights() is None


@pytest.mark.parametrize("gate", [HashGate, RandomGate])
def test_gradients_are_recorded_of_what_has_units(gate, generator):
    model = stack(layers(gate, 2, generator))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    recorder = GradientRecorder(model, 1)
    recipe = Recipe(epochs=1, batch_size=BATCH, learning_rate=0.1)
    optimiser = build_optimiser(list(model.parameters()), recipe, 8, None)
    model.soft_with_loss(torch.randn(2, BATCH, I, generator=generator))[0].square().sum().backward()
    recorder.accumulate()
    recorder.advance()
    optimiser.step()
    parts = recorder.result(1, 1).parts
    of_gate = {"gate": E} if gate is RandomGate else {}
    counts = {part: len(windows[0]) for part, windows in parts.items()}
    assert counts == {**of_gate, "expert_in": E, "expert_out": E}
    for name, parameter in model.named_parameters():
        assert parameter.equal(before[name]) != parameter.requires_grad


@pytest.mark.parametrize("gate", [HashGate, RandomGate])
def test_a_layer_gives_all_that_learns_a_gradient(gate, generator):
    (layer,) = layers(gate, 1, generator)
    x = torch.randn(BATCH, I, generator=generator)
    (layer(x).sum() + aux_loss(layer) + layer.gate.zero()).backward()
    assert all(p.grad is not None for p in layer.parameters() if p.requires_grad)
    layer.eval()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))
    with pytest.raises(ValueError, match="6"):
        layer.gate(torch.ones(BATCH, I + 1))


def test_a_state_that_a_stack_would_share_is_refused(generator):
    singles = layers(HashGate, 2, generator)
    for layer in singles:
        layer.gate.register_buffer("table", torch.rand(E, generator=generator))
    with pytest.raises(ValueError, match=r"'gate\.table' would be one for all runs; allowed is a"):
        stack(singles)
