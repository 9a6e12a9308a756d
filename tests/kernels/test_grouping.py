"""The counting sort and its tiles."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import DEVICE, Draw, few

from fastff.kernels import tuning
from fastff.kernels.triton.grouping import group_rows


@few
@given(
    batch=st.integers(0, 600), n_groups=st.integers(1, 40), n_present=st.integers(1, 40),
    few=st.booleans(), tile=st.sampled_from([16, 32]), deterministic=st.booleans(),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_every_row_is_in_one_tile_of_its_group(
    batch, n_groups, n_present, few, tile, deterministic, seed
):
    group = Draw(seed, DEVICE).choice(min(n_present, n_groups), batch)
    torch.use_deterministic_algorithms(deterministic)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tuning, "FEW_GROUPS", 64 if few else 0)
            groups = group_rows(group, n_groups, tile)
    finally:
        torch.use_deterministic_algorithms(False)
    n_tiles = int(groups.tile_offsets[-1])
    assert n_tiles <= groups.max_tiles
    rows = []
    for of, first in zip(groups.tile_group[:n_tiles], groups.tile_first[:n_tiles], strict=True):
        end = min(int(first) + tile, int(groups.offsets[of + 1]))
        part = groups.order[first:end].long()
        assert 1 <= len(part) <= tile
        assert (group[part] == of).all()
        rows.append(part)
    together = torch.cat(rows) if rows else group
    assert together.sort().values.equal(torch.arange(batch, device=DEVICE))
    if few or deterministic:
        assert groups.order.long().equal(torch.sort(group, stable=True).indices)
