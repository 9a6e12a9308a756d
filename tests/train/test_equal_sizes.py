"""Feed-forward layers as large as other models."""

import pytest

from blobs import blobs
from fastff.config.job import Sized, TrainSpec
from fastff.config.model import Grid
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.train.build import Sizes, build_model
from fastff.train.sizes import equal_widths, models, runs
from models import small_model

GRID = Grid(depth=(1, 3), hidden_features=(4, 8))


def n_parameters(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("baseline", ["mlp_relu", "mlp_prelu"])
@pytest.mark.parametrize("name", ["fff_mixture_log", "moe_noisy_top2", "fff_soft_merged_relu"])
def test_each_model_has_its_three_equals(name, baseline):
    widths = equal_widths(PRESETS[baseline], [Sized(variant=PRESETS[name], grid=GRID)], blobs())
    assert widths == sorted(set(widths))
    sizes = {"in_features": 24, "out_features": 5}
    layers = {w: small_model(PRESETS[baseline], hidden_features=w, **sizes) for w in widths}
    for spec in PRESETS[name].models(GRID):
        model = build_model(spec, Sizes(**sizes))
        assert {model.training_width, model.inference_width} <= set(widths)
        nearest = min(abs(n_parameters(layer) - n_parameters(model)) for layer in layers.values())
        assert nearest <= (24 + 5) / 2  # no width comes closer than half a hidden unit


def test_a_job_trains_its_grid_and_then_the_equals():
    spec = TrainSpec(
        experiment="trial",
        dataset="mnist5k",
        variant=PRESETS["mlp_relu"],
        grid=GRID,
        seeds=(0,),
        recipe=Recipe(epochs=1, batch_size=8, learning_rate=0.1),
        equal_to=(
            Sized(variant=PRESETS["moe_mixture"], grid=Grid(depth=(1,), hidden_features=(4,))),
        ),
    )
    # the MoE: 2 x 24 in the gate, 2 x 4 x (24 + 5) in the experts: 9.66 hidden units
    assert [model.shape.hidden_features for model in models(spec, blobs())] == [4, 8, 10]
    assert [model.shape.hidden_features for model, _ in runs(spec, blobs())] == [4, 8, 10]
