"""A transformer decoder over bytes, whose feed-forward layers are this package's.

Letters: b batch, t time, i width of the residual stream, h heads, d features of a head, v tokens.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.config.language import DecoderSpec, LanguageVariant
from fastff.language.feed_forward import VOCABULARY, HashRouted, build_feed_forward
from fastff.layers import Layer

STD = 0.02  # of initial weights, as GPT-2's


class Past(NamedTuple):
    """Keys and values (b, h, t, d) of one block's attention, of which `end` are filled."""

    keys: Tensor
    values: Tensor
    end: int


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.n_heads, self.dropout = spec.n_heads, spec.dropout
        self.inwards = nn.Linear(spec.width, 3 * spec.width, bias=False)
        self.outwards = nn.Linear(spec.width, spec.width, bias=False)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """Return the outputs (b, t, i) of inputs (b, t, i); behind a `past`, t is 1."""
        q, k, v = self.inwards(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        if past is not None:  # (b, h, 1, d) beside all that came before
            past.keys[:, :, past.end : past.end + 1] = k
            past.values[:, :, past.end : past.end + 1] = v
            k, v = (part[:, :, : past.end + 1] for part in (past.keys, past.values))
        out = F.scaled_dot_product_attention(
            *(q, k, v), is_causal=past is None, dropout_p=self.dropout * self.training
        )  # (b, h, t, d)
        return cast(Tensor, self.outwards(out.transpose(1, 2).flatten(-2)))


class Block(nn.Module):
    """x + attention(norm(x)), and to this the feed-forward layer of its norm, if there is one."""

    def __init__(
        self, spec: DecoderSpec, variant: LanguageVariant, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(spec.width, bias=False)
        self.attention = Attention(spec)
        self.norm: nn.Module = nn.Identity()
        self.feed_forward: Layer | HashRouted | None = None
        if variant.layer is not None:
            self.norm = nn.LayerNorm(spec.width, bias=False)
            self.feed_forward = build_feed_forward(variant.layer, spec.width, generator)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(
        self,
        x: Tensor,
        tokens: Tensor,
        hard: bool | None = None,
        past: Past | None = None,
        inputs: list[Tensor] | None = None,
    ) -> Tensor:
        """Return the outputs (b, t, i); `inputs` gets what goes into the feed-forward layer."""
        x = x + self.dropout(self.attention(self.attention_norm(x), past))
        if self.feed_forward is None:
            return x
        y = self.norm(x)
        if inputs is not None:
            inputs.append(y)
        how = {"tokens": tokens} if isinstance(self.feed_forward, HashRouted) else {"hard": hard}
        out: Tensor = x + self.dropout(self.feed_forward(y, **how))
        return out


class Decoder(nn.Module):
    """A decoder of the logits of the next byte, as GPT-2 in small: nanoGPT's character model.

    Args:
        spec: its sizes.
        variant: which feed-forward layer its blocks have.
        generator: draws all initial parameters: normal with a standard deviation of 0.02, less for
            the attention's outputs, and the feed-forward layers as they are drawn everywhere.

    """

    def __init__(
        self, spec: DecoderSpec, variant: LanguageVariant, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(VOCABULARY, spec.width)  # of the outputs, too
        self.position = nn.Embedding(spec.context, spec.width)
        self.dropout = nn.Dropout(spec.dropout)
        self.blocks = nn.ModuleList(Block(spec, variant, generator) for _ in range(spec.n_layers))
        self.norm = nn.LayerNorm(spec.width, bias=False)
        for weight in (self.embedding.weight, self.position.weight):
            nn.init.normal_(weight, std=STD, generator=generator)
        for block in self.blocks:
            attention = cast(Block, block).attention
            nn.init.normal_(attention.inwards.weight, std=STD, generator=generator)
            std = STD / math.sqrt(2 * spec.n_layers)
            nn.init.normal_(attention.outwards.weight, std=std, generator=generator)

    def forward(
        self,
        tokens: Tensor,
        *,
        hard: bool | None = None,
        past: list[Past] | None = None,
        inputs: list[Tensor] | None = None,
    ) -> Tensor:
        """Return the logits (b, t, v) of what follows each of the tokens (b, t), int64.

        Args:
            tokens: at most `context` of them in a row.
            hard: the form of the feed-forward layers; by default soft in training mode.
            past: of each block, where one token each follows others.
            inputs: a list that gets the inputs (b, t, i) of each feed-forward layer.

        """
        places = torch.arange(tokens.shape[1], device=tokens.device) + (past[0].end if past else 0)
        x = self.dropout(self.embedding(tokens) + self.position(places))  # (b, t, i)
        for number, block in enumerate(self.blocks):
            x = block(x, tokens, hard, past[number] if past else None, inputs)
        return F.linear(self.norm(x), self.embedding.weight)

    def feed_forwards(self) -> list[Layer | HashRouted | None]:
        """Return the feed-forward layer of each block."""
        return [cast(Block, block).feed_forward for block in self.blocks]

    def past(self, batch: int, dtype: torch.dtype, end: int = 0) -> list[Past]:
        """Return room for the keys and values of a context, of which `end` are said filled."""
        spec, device = self.spec, self.embedding.weight.device
        shape = (batch, spec.n_heads, spec.context, spec.width // spec.n_heads)
        empty = partial(torch.zeros, shape, dtype=dtype, device=device)
        return [Past(empty(), empty(), end) for _ in range(spec.n_layers)]
