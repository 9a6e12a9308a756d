"""A vision transformer whose feed-forward layers may be FFFs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.layers import Layer, LinearLayer
from fastff.layers.linear import Random, uniform_fan_in_

# of a block's feed-forward layer and its inputs (..., b t, d): the outputs
Apply = Callable[[Layer, Tensor], Tensor]


class Norm(nn.Module):
    """Layer normalisation of rows (..., b, d), with a learned weight and bias (d,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows with mean 0 and variance 1 over d, scaled and moved."""
        weight, bias = (p if p.dim() == 1 else p.unsqueeze(-2) for p in self.parameters())
        return F.layer_norm(rows, rows.shape[-1:]) * weight + bias


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and added to what it gets."""

    def __init__(self, feed_forward: Layer, width: int, n_tokens: int, n_heads: int) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.n_heads = n_heads
        self.norm_1, self.norm_2 = Norm(width), Norm(width)
        self.queries_keys_values = LinearLayer(width, 3 * width, bias=True)
        self.mixed = LinearLayer(width, width, bias=True)
        self.feed_forward = feed_forward

    def attend(self, rows: Tensor) -> Tensor:
        """Return the tokens (..., b t, d), each with what it attends to of its image's."""
        projected = self.queries_keys_values(self.norm_1(rows))
        heads = projected.unflatten(-1, (3, self.n_heads, -1)).unflatten(-4, (-1, self.n_tokens))
        q, k, v = heads.movedim(-3, 0).transpose(-3, -2).contiguous()  # (..., b, h, t, d / h)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        mixed = (weights @ v).transpose(-3, -2).flatten(-2).flatten(-3, -2)
        out: Tensor = rows + self.mixed(mixed)
        return out


class VisionTransformer(Layer):
    """Blocks of attention and feed-forward layers over an image's patches.

    Dosovitskiy et al., arXiv 2010.11929: a token per patch, and a class token, which starts as its
    position and whose last state a linear map classifies. Routing, nodes and units are those of the
    class token in the last block.

    For the engine alone: inputs have no leading dimensions but that of runs.

    Args:
        image_shape: channels, height and width of an input, which comes flattened in this order.
        feed_forwards: of the blocks, from `width` features to as many.
        out_features: size of an output.
        patch: side of a patch, which divides height and width.
        width: features of a token.
        n_heads: of an attention, which divide `width`.
        dropout: in training mode, the probability with which a feature of a token is left out
            before the first block; the others are scaled up by 1 / (1 - dropout).
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in); norms start at 1 and 0.

    Raises:
        ValueError: for an image that isn't cut into whole patches.

    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        feed_forwards: Sequence[Layer],
        out_features: int,
        *,
        patch: int,
        width: int,
        n_heads: int,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        n_channels, height, breadth = image_shape
        if height % patch or breadth % patch:
            raise ValueError(
                f"patch = {patch}: must divide the image's height and width, {height} x {breadth}"
            )
        self.grid = (n_channels, height // patch, patch, breadth // patch, patch)
        n_patches = (height // patch) * (breadth // patch)
        self.dropout = dropout
        self.random = Random()
        self.embedding = LinearLayer(n_channels * patch**2, width, bias=True)
        self.position = nn.Parameter(torch.empty(n_patches + 1, width))
        blocks = [Block(layer, width, n_patches + 1, n_heads) for layer in feed_forwards]
        self.blocks = nn.ModuleList(blocks)
        self.norm = Norm(width)
        self.head = LinearLayer(width, out_features, bias=True)
        last = feed_forwards[-1]
        self.n_trees, self.n_experts = last.n_trees, last.n_experts
        self.training_width, self.inference_width = last.training_width, last.inference_width
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, from the patches to the head."""
        self.embedding.reset_parameters(generator)
        uniform_fan_in_(self.position, self.position.shape[-1], generator)
        for block in self._each_block():
            for layer in (block.queries_keys_values, block.mixed, block.feed_forward):
                layer.reset_parameters(generator)
        self.head.reset_parameters(generator)
        for module in self.modules():
            if isinstance(module, Norm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i)."""
        return self._output(x, lambda layer, rows: layer(rows, hard=hard))[0]

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft form's outputs (..., b, o), and the sum of the blocks' own losses."""
        losses: list[Tensor] = []

        def soft(layer: Layer, rows: Tensor) -> Tensor:
            out, loss = layer.soft_with_loss(rows)
            losses.extend([] if loss is None else [loss])
            return out

        outputs, _ = self._output(x, soft)
        return outputs, torch.stack(losses).sum(0) if losses else None

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both forms' outputs (2, ..., b, o), and the hard routing (..., b, t, e)."""
        hard, seen = self._output(x, lambda layer, rows: layer(rows, hard=True))
        return torch.stack([self(x, hard=False), hard]), self._last.soft_and_hard(seen)[1]

    def soft_weights(self, x: Tensor) -> Tensor | None:
        """Return the last block's weights (..., b, e) of the class token; None without a gate."""
        return self._last.soft_weights(self._seen(x, hard=False))

    def node_logits(self, x: Tensor) -> Tensor | None:
        """Return the last block's node logits (..., b, t, n) of the class token, or None."""
        return self._last.node_logits(self._seen(x, hard=True))

    def node_weights(self) -> tuple[Tensor, Tensor | None] | None:
        """Return the weights and biases of the last block's nodes, or None without trees."""
        return self._last.node_weights()

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return the units of the last block's feed-forward layer."""
        return self._last.units()

    @property
    def _last(self) -> Layer:
        *_, block = self._each_block()
        return block.feed_forward

    def _each_block(self) -> Iterator[Block]:
        yield from cast(Iterable[Block], self.blocks)

    def _seen(self, x: Tensor, *, hard: bool) -> Tensor:
        """Return what the last feed-forward layer gets of the class token, (..., b, d)."""
        return self._output(x, lambda layer, rows: layer(rows, hard=hard))[1]

    def _output(self, x: Tensor, apply: Apply) -> tuple[Tensor, Tensor]:
        """Return the outputs (..., b, o), and what `_seen` does."""
        n_tokens, width = self.position.shape[-2:]
        images = x.expand(*self.position.shape[:-2], *x.shape[-2:]).unflatten(-1, self.grid)
        patches = images.movedim((-4, -2), (-5, -4)).flatten(-3).flatten(-4, -2)  # (..., b t, i)
        tokens = F.pad(self.embedding(patches).unflatten(-2, (-1, n_tokens - 1)), (0, 0, 1, 0))
        position = self.position.flatten(-2)
        rows = tokens.flatten(-2) + (position if position.dim() == 1 else position.unsqueeze(-2))
        rows = rows.unflatten(-1, (n_tokens, width)).flatten(-3, -2)  # (..., b t, d)
        if self.training and self.dropout > 0:
            rows = rows * (self.random.uniform(rows) >= self.dropout) / (1 - self.dropout)
        normed = rows
        for block in self._each_block():
            rows = block.attend(rows)
            normed = block.norm_2(rows)
            rows = rows + apply(block.feed_forward, normed)
        first, seen = (
            tokens.unflatten(-2, (-1, n_tokens))[..., 0, :].contiguous()
            for tokens in (rows, normed)
        )
        return self.head(self.norm(first)), seen
