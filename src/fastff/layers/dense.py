"""Layers that don't route: what routed ones are compared with, and what stands around them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.kernels.check import check_inputs
from fastff.kernels.functions import as_rows, with_leading
from fastff.layers.experts import MixtureExperts
from fastff.layers.layer import Layer
from fastff.layers.linear import linear, uniform_fan_in_

KERNEL, POOL = 3, 2


class FeedForward(Layer):
    """One hidden layer, a(x W_inᵀ (+ b_in)) W_out (+ b_out).

    It is a bank of one expert, which every input goes to.

    Args:
        in_features: size of an input.
        hidden_features: hidden units.
        out_features: size of an output.
        activation: "relu", "gelu", "selu", "prelu" or "linear".
        bias: whether hidden units and outputs have a bias, or "hidden" or "output" for one of them.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in).

    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int,
        *,
        activation: str = "relu",
        bias: bool | str = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.experts = MixtureExperts(
            1,
            in_features,
            hidden_features,
            out_features,
            activation=activation,
            bias=bias,
            generator=generator,
        )
        self.training_width = self.inference_width = hidden_features

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        experts = self.experts
        experts.check_inputs(x)
        if experts.w_in.dim() != 3:
            out: Tensor = experts(x, x.new_ones(1))
            return out
        b_in, b_out = (None if b is None else b[0] for b in (experts.b_in, experts.b_out))
        hidden = F.linear(x, experts.w_in[0], b_in).unsqueeze(-2)  # (..., 1, h)
        return F.linear(experts.activate(hidden).squeeze(-2), experts.w_out[0].mT, b_out)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(fan_in)."""
        self.experts.reset_parameters(generator)

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "expert_in" and "expert_out", the one unit of each layer."""
        return self.experts.units()


class LinearLayer(Layer):
    """x Wᵀ (+ b).

    Args:
        in_features: size of an input.
        out_features: size of an output.
        bias: whether outputs have a bias.
        generator: draws the initial `weight` (o, i) and `bias` (o,), uniform in
            ±1/sqrt(in_features).

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(in_features)."""
        for drawn in (self.weight, self.bias):
            if drawn is not None:
                uniform_fan_in_(drawn, self.in_features, generator)

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        weight, bias = self.weight, self.bias
        if weight.dim() != 2:
            out = linear(x, weight)
            return out if bias is None else out + bias.unsqueeze(-2).to(out.dtype)
        check_inputs(x, weight, self.in_features)
        out = linear(x, weight).contiguous()
        return out if bias is None else out + bias.to(out.dtype)


class Convolutional(Layer):
    """3 x 3 convolutions, each with ReLU and 2 x 2 max-pooling, and a linear map of what is left.

    Args:
        image_shape: channels, height and width of an input, which comes flattened in this order.
        channels: of each convolution's output.
        out_features: size of an output.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in).

    Raises:
        ValueError: where pooling leaves nothing of the image.

    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: Sequence[int],
        out_features: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        n_channels, *size = image_shape
        self.in_features = math.prod(image_shape)
        self.kernel_names = [f"kernel_{number}" for number in range(len(channels))]
        for name, n_out in zip(self.kernel_names, channels, strict=True):
            kernel = nn.Parameter(torch.empty(n_out, n_channels, KERNEL, KERNEL))
            self.register_parameter(name, kernel)  # (o, c, y, x)
            n_channels, size = n_out, [side // POOL for side in size]
        n_features = n_channels * math.prod(size)
        if n_features == 0:
            raise ValueError(
                f"channels: {len(channels)} convolutions leave nothing of an image of "
                f"{image_shape[1]} x {image_shape[2]}"
            )
        self.w_out = nn.Parameter(torch.empty(out_features, n_features))
        self.reset_parameters(generator)

    @property
    def kernels(self) -> list[Tensor]:
        """The convolutions' weights, (..., o, c, y, x) each."""
        return [getattr(self, name) for name in self.kernel_names]

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(fan_in)."""
        for weight in (*self.kernels, self.w_out):
            uniform_fan_in_(weight, weight[0].numel(), generator)

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        if self.w_out.dim() != 2:
            return self._convolve(x)
        check_inputs(x, self.w_out, self.in_features)
        out = self._convolve(as_rows(x))
        return with_leading(out.contiguous(), x)

    def _convolve(self, x: Tensor) -> Tensor:
        runs = self.w_out.shape[:-2]
        n_runs = math.prod(runs)
        # each run is a group of channels of one convolution
        images = x.expand(*runs, *x.shape[-2:]).unflatten(-1, self.image_shape)
        images = images.reshape(n_runs, -1, *self.image_shape).transpose(0, 1).flatten(1, 2)
        for kernel in self.kernels:
            weight = kernel.reshape(-1, *kernel.shape[-3:])
            convolved = F.conv2d(images, weight, padding=KERNEL // 2, groups=n_runs)
            images = F.max_pool2d(convolved.relu(), POOL)
        features = images.unflatten(1, (n_runs, -1)).flatten(2).transpose(0, 1)
        return linear(features.reshape(*runs, *features.shape[1:]), self.w_out)
