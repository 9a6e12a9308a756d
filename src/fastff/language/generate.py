"""Text that a trained decoder writes."""

from __future__ import annotations

import torch

from fastff.language.model import Decoder


@torch.no_grad()
def generate(model: Decoder, prompt: bytes, length: int, *, seed: int, dtype: torch.dtype) -> bytes:
    """Return the bytes that a model writes behind a prompt, by its hard form, in evaluation mode.

    Args:
        model: whose context is longer than both together.
        prompt: at least one byte.
        length: how many bytes it writes.
        seed: of the draws, one a byte from the model's probabilities, on the CPU.
        dtype: of keys and values.

    """
    device = model.embedding.weight.device
    draws = torch.Generator().manual_seed(seed)
    written, past = bytearray(prompt), model.past(1, dtype)
    for place in range(len(prompt) + length - 1):
        logits = model(torch.tensor([[written[place]]], device=device), hard=True, past=past)
        past = [block._replace(end=place + 1) for block in past]
        if place + 1 >= len(prompt):
            p = logits[0, -1].float().softmax(-1).cpu()
            written.append(int(torch.multinomial(p, 1, generator=draws)))
    return bytes(written[len(prompt) :])
