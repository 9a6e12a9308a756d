"""Random cases for the kernels, and the plain definitions in float64 to hold them against."""

import pytest
import torch
from hypothesis import settings

from fastff.kernels import reference

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # of Triton's kernels
HALVES = [torch.bfloat16, torch.float16]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}
# numpy, in which Triton's interpreter computes, warns of what becomes NaN
quiet = pytest.mark.filterwarnings("ignore:(invalid|overflow).*encountered:RuntimeWarning")
EXTREMES = [float("inf"), float("-inf"), float("nan"), 1e30]
# inputs (b, i) whose rows repeat, overlap, or lie otherwise than a new tensor's
LAYOUTS = {
    "steps": lambda draw, b, i: draw(2 * b, 2 * i)[::2, ::2],
    "repeated": lambda draw, b, i: draw(1, i).expand(b, i),
    "windows": lambda draw, b, i: draw(b + i).unfold(0, i, 1)[:b],
    "wide windows": lambda draw, b, i: draw(3 * (b + i)).unfold(0, i, 2)[:b],
    "transposed": lambda draw, b, i: draw(i, b).mT,
    "one number a row": lambda draw, b, i: draw(b, 1).expand(b, i),
    "part of a row": lambda draw, b, i: draw(b, 3, i)[:, 1],
    "every third row": lambda draw, b, i: draw(3 * b, i)[::3],
}
# Triton takes about a second a case, to interpret it or to compile it
few = settings(max_examples=6)


class Draw:
    """Random tensors on a device, from a seed: normal, or of small integers, so with ties at 0."""

    def __init__(self, seed, device="cpu", dtype=torch.float32, *, ties=False):
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.dtype, self.ties = device, dtype, ties

    def __call__(self, *shape):
        if self.ties:
            values = torch.randint(-1, 2, shape, generator=self.generator).double()
        else:
            values = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return values.to(self.device, self.dtype)

    def inputs(self, batch, features, layout="steps"):
        """Return inputs (b, i) that are not contiguous, as LAYOUTS has them."""
        return LAYOUTS[layout](self, batch, features)

    def choice(self, n, *shape):
        return torch.randint(n, shape, generator=self.generator).to(self.device)


def close(actual, expected, tolerance=None):
    """Assert that two tensors agree to the dtype's precision, measured as a whole and finite."""
    assert actual.shape == expected.shape
    tolerance = tolerance or TOLERANCE[actual.dtype]
    scale = expected.double().norm().clamp_min(1e-6)
    assert (actual.double() - expected.double()).norm() <= tolerance * scale


def same(actual, expected):
    """Assert that numbers agree, and that infinity and NaN are where they are expected."""
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def same_activation(actual, activation, z):
    """As `same`, of an activation of z; where torch's own is NaN at infinity, that is right too.

    Its GELU in float32 is, on some processors, where a tensor is long enough to be vectorised.
    """
    wanted, torchs = activation(z.double()), activation(z)
    same(actual, torchs.double().where(actual.isnan() & torchs.isnan(), wanted))


def right_turns(x, weight, leaf, bias=None, tolerance=0.0):
    """Assert that every turn on the way to `leaf` is right iff z > 0 in float64, or |z| is tiny."""
    z = x.double() @ weight.double().mT
    if bias is not None:
        z = z + bias.double()
    levels = reference.levels_of(len(weight))
    assert leaf.shape == (len(x),) and leaf.dtype == torch.int64
    assert ((leaf >= 0) & (leaf <= len(weight))).all()
    nodes = reference.path_nodes(leaf, levels)
    after = torch.cat([nodes[:, 1:], leaf[:, None] + len(weight)], dim=1)
    went_right = after == 2 * nodes + 2
    z = z.gather(1, nodes)
    assert ((went_right == (z > 0)) | (z.abs() <= tolerance)).all()


def doubles(*tensors):
    """Return copies in float64, None for None."""
    return [None if t is None else t.double() for t in tensors]
