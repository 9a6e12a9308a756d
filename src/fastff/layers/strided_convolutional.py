"""The FastFF study's convolutional network: strided convolutions, then a feed-forward layer."""

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
from fastff.layers.linear import uniform_fan_in_
from fastff.layers.options import PRELU_SLOPE

KERNEL, STRIDE = 3, 2


class StridedConvolutional(Layer):
    """3 x 3 convolutions of stride 2, then a feed-forward layer; PReLU and biases throughout.

    FastFF, 2024, notebook 01. Each convolution halves height and width, rounded up, and its PReLU
    learns one slope.

    Args:
        image_shape: channels, height and width of an input, which comes flattened in this order.
        channels: of each convolution's output.
        hidden_features: hidden units of the feed-forward layer.
        out_features: size of an output.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in); slopes start at 0.25.

    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        channels: Sequence[int],
        hidden_features: int,
        out_features: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.in_features = math.prod(image_shape)
        self.n_convolutions = len(channels)
        n_channels, *size = image_shape
        for number, n_out in enumerate(channels):
            shapes = {
                "kernel": (n_out, n_channels, KERNEL, KERNEL),
                "bias": (n_out,),
                "slope": (1,),
            }
            for name, shape in shapes.items():
                self.register_parameter(f"{name}_{number}", nn.Parameter(torch.empty(shape)))
            n_channels, size = n_out, [math.ceil(side / STRIDE) for side in size]
        self.experts = MixtureExperts(
            1,
            n_channels * math.prod(size),
            hidden_features,
            out_features,
            activation="prelu",
            bias=True,
        )
        self.training_width = self.inference_width = hidden_features
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(fan_in); slopes start at 0.25."""
        for kernel, bias, slope in self._convolutions():
            fan_in = kernel[0].numel()
            uniform_fan_in_(kernel, fan_in, generator)
            uniform_fan_in_(bias, fan_in, generator)
            nn.init.constant_(slope, PRELU_SLOPE)
        self.experts.reset_parameters(generator)

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        if self.experts.w_in.dim() != 3:
            return self._output(x)
        check_inputs(x, self.experts.w_in, self.in_features)
        return with_leading(self._output(as_rows(x)), x)

    def _convolutions(self) -> list[tuple[Tensor, ...]]:
        """Return kernel (..., o, c, y, x), bias (..., o) and slope (..., 1) of each convolution."""
        return [
            tuple(getattr(self, f"{name}_{number}") for name in ("kernel", "bias", "slope"))
            for number in range(self.n_convolutions)
        ]

    def _output(self, x: Tensor) -> Tensor:
        runs = self.experts.w_in.shape[:-3]
        n_runs = math.prod(runs)
        # each run is a group of channels of one convolution
        images = x.expand(*runs, *x.shape[-2:]).unflatten(-1, self.image_shape)
        images = images.reshape(n_runs, -1, *self.image_shape).transpose(0, 1).flatten(1, 2)
        for kernel, bias, slope in self._convolutions():
            images = F.conv2d(
                images,
                kernel.reshape(-1, *kernel.shape[-3:]),
                bias.flatten(),
                stride=STRIDE,
                padding=KERNEL // 2,
                groups=n_runs,
            )
            by_channel = slope.reshape(-1, 1).expand(-1, kernel.shape[-4]).reshape(-1, 1, 1)
            images = torch.where(images > 0, images, by_channel * images)
        features = images.unflatten(1, (n_runs, -1)).flatten(2).transpose(0, 1)
        features = features.reshape(*runs, *features.shape[1:])
        out: Tensor = self.experts(features, features.new_ones(1))
        return out
