"""The hypercube gate against its definition, corner by corner."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastff.layers import HypercubeGate
from fastff.layers.softmax_gates import corners


@given(depth=st.integers(1, 6), batch=st.integers(0, 9), seed=st.integers(0, 2**16))
def test_forms_equal_the_definition(depth, batch, seed):
    draw = torch.Generator().manual_seed(seed)
    gate = HypercubeGate(7, depth, generator=draw).double()
    x = torch.randn(batch, 7, generator=draw, dtype=torch.float64)
    soft, hard, z = gate.soft(x), gate.hard(x), gate.logits(x)
    for row in range(batch):
        corner = 0
        for expert in range(2**depth):
            digits = f"{expert:0{depth}b}"
            p = 1.0
            for j, digit in enumerate(digits):
                p *= torch.sigmoid((2 if digit == "1" else -2) * z[row, j]).item()
            assert soft[row, expert].item() == pytest.approx(p, abs=1e-9)
        for j in range(depth):
            corner = 2 * corner + int(z[row, j] > 0)
        assert hard[row].argmax() == corner
        assert soft[row].argmax() == corner
    assert torch.equal(hard.sum(-1), torch.ones(batch).double())


def test_top_k_keeps_the_best_corners(generator):
    dense = HypercubeGate(7, 3, generator=generator)
    sparse = HypercubeGate(7, 3, top_k=2, renormalise=True)
    sparse.load_state_dict(dense.state_dict())
    x = torch.randn(20, 7, generator=generator)
    kept = sparse.soft(x) > 0
    assert kept.sum(-1).tolist() == [2] * 20
    best = dense.soft(x).topk(2).indices
    assert torch.equal(kept.gather(-1, best), torch.ones(20, 2, dtype=torch.bool))


def test_corners_of_two_digits():
    assert corners(2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_bad_depth_is_named():
    with pytest.raises(ValueError, match="depth = 0: must be at least 1"):
        HypercubeGate(7, 0)
