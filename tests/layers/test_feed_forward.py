"""Layers that don't route, against torch.nn, and the prelu that experts can have."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fastff.layers import Convolutional, FeedForward, LinearLayer, MixtureExperts, SoftMergedExperts
from fastff.train.build import stack

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "selu": nn.SELU, "prelu": nn.PReLU,
               "linear": nn.Identity}  # fmt: skip


def assert_same(layer, other, pairs, x):
    """Compare outputs and the gradients of pairs of parameters, the second one's transposed."""
    output, expected = layer(x), other(x)
    torch.testing.assert_close(output, expected)
    seen = torch.randn_like(output)
    ours = torch.autograd.grad(output, [mine for mine, _ in pairs], seen)
    theirs = torch.autograd.grad(expected, [parameter for _, parameter in pairs], seen)
    for mine, parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.reshape(parameter.shape), parameter)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(batch=st.integers(0, 6), hidden=st.integers(1, 9), seed=st.integers(0, 2**16))
def test_a_feed_forward_layer_is_torch_s(activation, batch, hidden, seed):
    draw = torch.Generator().manual_seed(seed)
    layer = FeedForward(7, hidden, 3, activation=activation, generator=draw).double()
    first, second = nn.Linear(7, hidden, bias=False), nn.Linear(hidden, 3, bias=False)
    other = nn.Sequential(first, ACTIVATIONS[activation](), second).double()
    with torch.no_grad():
        first.weight.copy_(layer.experts.w_in[0])
        second.weight.copy_(layer.experts.w_out[0].T)
    x = torch.randn(batch, 7, generator=draw, dtype=torch.float64)
    pairs = [(layer.experts.w_in, first.weight)]
    if activation == "prelu":
        pairs.append((layer.experts.slope, other[1].weight))
    assert_same(layer, other, pairs, x)


def test_every_expert_has_a_slope_of_its_own(generator):
    experts = MixtureExperts(3, 5, 4, 2, activation="prelu", generator=generator).double()
    with torch.no_grad():
        experts.slope.copy_(torch.tensor([[0.1], [0.2], [-0.3]]))
    x = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    p = torch.rand(8, 3, generator=generator, dtype=torch.float64)
    expected = sum(
        p[:, e, None] * (torch.nn.functional.prelu(x @ experts.w_in[e].T, experts.slope[e])
                         @ experts.w_out[e])
        for e in range(3)
    )  # fmt: skip
    torch.testing.assert_close(experts(x, p), expected)


def test_merged_experts_have_no_slopes():
    with pytest.raises(ValueError, match="activation = 'prelu': allowed are relu, gelu, selu, lin"):
        SoftMergedExperts(3, 5, 4, 2, activation="prelu")


@pytest.mark.parametrize("channels", [(3,), (4, 2)])
def test_a_convolutional_network_is_torch_s(channels, generator):
    network = Convolutional((2, 9, 8), channels, 3, generator=generator).double()
    parts, n_in = [], 2
    for kernel, n_out in zip(network.kernels, channels, strict=True):
        convolution = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        with torch.no_grad():
            convolution.weight.copy_(kernel)
        parts += [convolution, nn.ReLU(), nn.MaxPool2d(2)]
        n_in = n_out
    head = nn.Linear(network.w_out.shape[-1], 3, bias=False)
    with torch.no_grad():
        head.weight.copy_(network.w_out)
    other = nn.Sequential(nn.Unflatten(1, (2, 9, 8)), *parts, nn.Flatten(), head).double()
    x = torch.randn(5, 2 * 9 * 8, generator=generator, dtype=torch.float64)
    pairs = [(network.kernels[0], parts[0].weight), (network.w_out, head.weight)]
    assert_same(network, other, pairs, x)


def test_a_stack_of_networks_over_the_same_images(generator):
    networks = [Convolutional((1, 4, 6), (2, 3), 4, generator=generator) for _ in range(3)]
    x = torch.randn(10, 24, generator=generator)
    together = stack(networks)(x)
    for run, network in enumerate(networks):
        torch.testing.assert_close(together[run], network(x))


def test_pooling_away_the_whole_image_is_refused():
    with pytest.raises(ValueError, match="3 convolutions leave nothing of an image of 6 x 7"):
        Convolutional((1, 6, 7), (2, 2, 2), 4)


def test_a_linear_layer_is_torch_s(generator):
    layer, other = LinearLayer(6, 4, generator=generator), nn.Linear(6, 4, bias=False)
    with torch.no_grad():
        other.weight.copy_(layer.weight)
    x = torch.randn(5, 6, generator=generator)
    torch.testing.assert_close(layer(x), other(x))
