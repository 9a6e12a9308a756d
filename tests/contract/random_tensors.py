"""Tensors whose values, and how they lie in memory, hypothesis draws."""

import torch
from hypothesis import strategies as st

LAYOUTS = ("plain", "spaced", "transposed", "row", "feature", "windows", "negative", "offset")
ORDINARY, SPECIAL = ("normal", "normal", "ties", "zeros"), ("large", "infinite", "nan")


class Draw:
    """Random tensors of a dtype, with values of one kind each, in a layout that is drawn too."""

    def __init__(self, data, dtype):
        self.data, self.dtype = data, dtype
        self.generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
        self.are_integers = data.draw(st.booleans())  # whose sums are exact, often 0
        self.special = data.draw(st.sampled_from((None, "x", "w_in", "w_out", "bias")))

    def values(self, shape, kinds):
        kind = self.data.draw(st.sampled_from(kinds))
        values = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        few = torch.rand(shape, generator=self.generator) < 0.1
        if self.are_integers or kind == "ties":
            values = values.round()
        if kind == "zeros":
            values = values * 0
        elif kind == "large":
            values = torch.where(few, values.sign() * min(1e30, self.largest / 1e4), values)
        elif kind == "infinite":
            values = torch.where(few, values.sign() * torch.inf, values)
        elif kind == "nan":
            values = values.masked_fill(few, torch.nan)
        return values.to(self.dtype)

    @property
    def largest(self):
        return torch.finfo(self.dtype).max

    def __call__(self, *shape, of="", layouts=LAYOUTS):
        kinds = SPECIAL + ORDINARY if of == self.special else ORDINARY
        layout = self.data.draw(st.sampled_from(layouts))
        if layout == "windows" and len(shape) == 2:
            return self.values((sum(shape),), kinds).unfold(0, shape[1], 1)[: shape[0]]
        values = self.values(shape, kinds)
        if layout == "spaced":
            return torch.stack([values, torch.full_like(values, 55)], -1)[..., 0]
        if layout == "transposed" and len(shape) > 1:
            return values.mT.contiguous().mT
        if layout == "row":
            return values[:1].expand(shape) if shape[0] else values
        if layout == "feature":
            return values[..., :1].expand(shape)
        if layout == "negative":
            return torch._neg_view(values)
        if layout == "offset":
            return torch.cat([values.flatten()] * 2)[values.numel() :].view(shape)
        return values

    def maybe(self, *shape, of=""):
        return self(*shape, of=of) if self.data.draw(st.booleans()) else None

    def one_of(self, *values):
        return self.data.draw(st.sampled_from(values))
