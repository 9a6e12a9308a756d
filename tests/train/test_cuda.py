"""The same engine on a CUDA device."""

import pytest
import torch
from blobs import blobs

from fastff.spec import GridPoint, Recipe
from fastff.train.loop import train_stack
from fastff.zoo import ZOO

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("variant", ZOO.values(), ids=ZOO)
def test_results_agree_with_the_cpu(variant):
    recipe = Recipe(epochs=4, batch_size=64, learning_rate=5e-3)
    on_cpu, on_cuda = (
        train_stack(variant, variant.model.point(GridPoint(3, 8)), [0, 1, 2], recipe, blobs(device))
        for device in ("cpu", "cuda")
    )
    for mine, theirs in zip(on_cpu, on_cuda, strict=True):
        for name in ("train_loss", "validation_loss", "validation_loss_hard"):
            expected = getattr(mine.epochs[-1], name)
            assert getattr(theirs.epochs[-1], name) == pytest.approx(expected, rel=1e-3)
