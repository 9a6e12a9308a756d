"""Inputs of any strides and leading dimensions: what counts is their values; outputs are plain."""

import functools

import definition
import pytest
import torch
from cases import (
    BATCH,
    MODES,
    I,
    O,
    call,
    check,
    close,
    draw,
    every_layer,
    every_mode,
    expected,
    inputs,
    shared,
)


def wide(seed, rows=BATCH, columns=I):
    return draw(rows, columns, seed=seed)


LAYOUTS = {  # of a seed: views whose strides are not those of a plain (b, i)
    "contiguous": lambda seed: wide(seed),
    "one row": lambda seed: wide(seed, 1),
    "expanded row": lambda seed: wide(seed, 1).expand(BATCH, I),
    "class token": lambda seed: wide(seed, 1).view(1, 1, I).expand(BATCH, 1, I),
    "expanded batch": lambda seed: wide(seed, 3).unsqueeze(0).expand(4, 3, I),
    "expanded rows": lambda seed: wide(seed, 3).unsqueeze(1).expand(3, 4, I),
    "expanded feature": lambda seed: wide(seed, BATCH, 1).expand(BATCH, I),
    "sliding windows": lambda seed: wide(seed, 1, I + BATCH)[0].unfold(0, I, 1),
    "windows with steps": lambda seed: wide(seed, 1, I + 2 * BATCH)[0].unfold(0, I, 2),
    "windows of a batch": lambda seed: wide(seed, 2, I + 3).unfold(1, I, 1),
    "transposed": lambda seed: wide(seed, I, BATCH).mT,
    "steps": lambda seed: wide(seed, 2 * BATCH, 3 * I)[::2, ::3],
    "columns": lambda seed: wide(seed, BATCH, 2 * I)[:, 3 : 3 + I],
    "negative view": lambda seed: torch._neg_view(wide(seed)),
    "conjugate's imaginary part": lambda seed: torch.complex(wide(seed), wide(seed + 1))
    .conj().imag,
    "overlapping": lambda seed: wide(seed).as_strided((BATCH, I), (1, 3)),
    "swapped dimensions": lambda seed: wide(seed).view(2, 3, I).transpose(0, 1),
    "features first": lambda seed: wide(seed, I, BATCH).view(I, 2, 3).permute(1, 2, 0),
    "1-D": lambda seed: wide(seed, 1)[0],
    "1-D with a step": lambda seed: wide(seed, 1, 2 * I)[0, ::2],
    "3-D": lambda seed: wide(seed).view(2, 3, I),
    "5-D": lambda seed: wide(seed).view(2, 1, 3, 1, I),
    "parameter": lambda seed: torch.nn.Parameter(wide(seed)),
}  # fmt: skip
EMPTY = ((0,), (2, 0), (0, 3, 1))


@functools.cache
def clear_seed(name, layout):
    """Return the first seed of a layout that makes all choices clear."""
    layer = shared(name).train()
    for seed in range(1000):
        if definition.margin(layer, LAYOUTS[layout](seed).reshape(-1, I)).min() > 2e-3:
            return seed
    raise AssertionError("no seed gives clear choices")


@every_layer
@pytest.mark.parametrize("layout", LAYOUTS)
@every_mode
def test_strides(name, layout, mode):
    check(shared(name), mode, LAYOUTS[layout](clear_seed(name, layout)))


@every_layer
@pytest.mark.parametrize("shape", EMPTY)
@every_mode
def test_no_rows(name, shape, mode):
    out = call(shared(name), mode, torch.empty(*shape, I))
    assert out.shape == (*shape, O)


@every_layer
@pytest.mark.parametrize("shape", [(BATCH,), (2, 3), ()])
@every_mode
def test_outputs_are_contiguous_and_new(name, shape, mode):
    layer = shared(name)
    x = inputs(name, *shape) if shape else inputs(name, 1)[0]
    before, out = x.clone(), call(layer, mode, x)
    out.view(-1)
    assert out.dtype == torch.float32 and out.shape == (*shape, O)
    assert out.untyped_storage().data_ptr() not in {
        t.untyped_storage().data_ptr() for t in (x, *layer.state_dict().values())
    }
    assert torch.equal(x, before)


@every_layer
def test_rows_of_views_share_a_call_of_many_rows(name):
    # from 1,024 rows on a tree's rows are sorted
    layer, rows = shared(name), inputs(name)
    x = rows[2:3].expand(2000, I)
    close(call(layer, MODES[0], x), expected(layer, MODES[0], rows[2:3]).expand(2000, O))
