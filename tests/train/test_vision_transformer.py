"""The vision transformer against torch's encoder, as a stack, and as the engine trains it."""

import pytest
import torch

from blobs import blobs
from fastff.config.gates import TreeGateSpec
from fastff.config.model import (
    FeedForwardSpec,
    GridPoint,
    MixtureSpec,
    RoutedSpec,
    VisionTransformerSpec,
)
from fastff.config.recipe import AugmentationSpec, Recipe
from fastff.train.build import Sizes, build_model, stack
from fastff.train.device import set_precision
from fastff.train.loop import results_of, train_stack

SIZES = Sizes(72, 5, image_shape=(3, 4, 6))
SMALL = {"n_blocks": 2, "patch": 2, "width": 12, "n_heads": 3}
FFF = VisionTransformerSpec(
    feed_forward=RoutedSpec(
        gate=TreeGateSpec(form="product", bias=True, hardening_weight=0.1),
        experts=MixtureSpec(bias=True),
    ),
    **SMALL,
).resolved(GridPoint(depth=3, hidden_features=2))
PLAIN = VisionTransformerSpec(feed_forward=FeedForwardSpec(bias=True), **SMALL)


def perturbed(spec, generator):
    """Return a model in float64 that has no parameter at its start."""
    model = build_model(spec, SIZES, generator=generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=generator, dtype=torch.float64
            )
    return model


def of_torch(block):
    """Return torch's encoder layer with a block's weights."""
    experts = block.feed_forward.experts
    layer = torch.nn.TransformerEncoderLayer(
        12, 3, experts.hidden_features, dropout=0.0, batch_first=True, norm_first=True
    )
    weights = {
        "self_attn.in_proj": block.queries_keys_values, "self_attn.out_proj": block.mixed,
        "norm1": block.norm_1, "norm2": block.norm_2,
    }  # fmt: skip
    state = {
        "linear1.weight": experts.w_in[0], "linear1.bias": experts.b_in[0],
        "linear2.weight": experts.w_out[0].mT, "linear2.bias": experts.b_out[0],
    }  # fmt: skip
    for name, part in weights.items():
        joint = "_" if name.endswith("in_proj") else "."
        state |= {f"{name}{joint}{key}": value for key, value in part.state_dict().items()}
    layer.double().load_state_dict(state)
    return layer


def test_it_is_torch_s_encoder_over_patches(generator):
    model = perturbed(PLAIN.resolved(GridPoint(depth=1, hidden_features=7)), generator)
    x = torch.randn(9, 72, generator=generator, dtype=torch.float64)
    images = x.unflatten(-1, (3, 4, 6))
    kernel = model.embedding.weight.unflatten(-1, (3, 2, 2))
    patches = torch.nn.functional.conv2d(images, kernel, model.embedding.bias, stride=2)
    none = torch.zeros(9, 1, 12, dtype=torch.float64)
    tokens = torch.cat([none, patches.flatten(2).mT], 1) + model.position
    for block in model.blocks:
        tokens = of_torch(block)(tokens)
    norm = torch.nn.LayerNorm(12).double()
    norm.load_state_dict(model.norm.state_dict())
    expected = norm(tokens)[:, 0] @ model.head.weight.mT + model.head.bias
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("shared", [False, True])
def test_a_stack_computes_what_its_parts_compute(shared, generator):
    parts = [perturbed(FFF, generator) for _ in range(3)]
    stacked = stack(parts)
    x = torch.randn(3, 7, 72, generator=generator, dtype=torch.float64)
    x = x[0] if shared else x
    outputs, losses = stacked.train().soft_with_loss(x)
    both, routing = stacked.eval().soft_and_hard(x)
    for run, part in enumerate(parts):
        own = x if shared else x[run]
        output, loss = part.train().soft_with_loss(own)
        torch.testing.assert_close(outputs[run], output)
        torch.testing.assert_close(losses[run], loss)
        for form, hard in enumerate((False, True)):
            torch.testing.assert_close(both[form, run], part.eval()(own, hard=hard))
        torch.testing.assert_close(routing[run], part.soft_and_hard(own)[1])
        torch.testing.assert_close(stacked.soft_weights(x)[run], part.soft_weights(own))
        torch.testing.assert_close(stacked.node_logits(x)[run], part.node_logits(own))


def test_every_block_counts_in_the_loss(generator):
    model = perturbed(FFF, generator).train()
    x = torch.randn(5, 72, generator=generator, dtype=torch.float64)
    _, loss = model.soft_with_loss(x)
    for block in model.blocks:
        block.feed_forward.gate.set_hardening(0.0)
        _, less = model.soft_with_loss(x)
        assert less < loss
        loss = less
    assert loss == 0


def test_the_engine_trains_it_apart_from_the_runs_beside_it():
    spec = FFF.model_copy(update={"dropout": 0.1})
    augmentation = AugmentationSpec(
        flips=("horizontal", "vertical"), rotate=10.0, translate=0.1, scale=0.1
    )
    recipe = Recipe(epochs=4, batch_size=64, learning_rate=0.005, augmentation=augmentation)
    data = blobs()
    together = results_of(train_stack(spec, [5, 6], recipe, data))
    for result, seed in zip(together, (5, 6), strict=True):
        (alone,) = results_of(train_stack(spec, [seed], recipe, data))
        losses = [[epoch.train_loss for epoch in one.epochs] for one in (alone, result)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
        assert alone.epochs[-1].train_loss < alone.epochs[0].train_loss
    plain = recipe.model_copy(update={"augmentation": None})
    (other,) = results_of(train_stack(spec, [5], plain, data))
    assert other.epochs[0].train_loss != together[0].epochs[0].train_loss


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_captured_steps_repeat_and_draw_anew():
    set_precision(torch.device("cuda"), tf32=False)
    spec = FFF.model_copy(update={"dropout": 0.1})
    augmentation = AugmentationSpec(flips=("horizontal",), rotate=10.0)
    recipe = Recipe(epochs=4, batch_size=64, learning_rate=0.005, augmentation=augmentation)
    first, second = (results_of(train_stack(spec, [5, 6], recipe, blobs("cuda"))) for _ in range(2))
    torch.use_deterministic_algorithms(False)
    assert first == second
    for result in first:
        assert result.epochs[-1].train_loss < result.epochs[0].train_loss


def test_frozen_boundaries_get_no_gradient(generator):
    tree = TreeGateSpec(form="product", bias=True, hard_training=True)
    routed = FFF.feed_forward.model_copy(update={"gate": tree})
    model = perturbed(FFF.model_copy(update={"feed_forward": routed}), generator).train()
    outputs, _ = model.soft_with_loss(torch.randn(5, 72, dtype=torch.float64, generator=generator))
    outputs.square().sum().backward()
    for name, parameter in model.named_parameters():
        is_moved = parameter.grad is not None and bool(parameter.grad.any())
        assert is_moved != ("gate" in name), name


def test_what_can_t_be_is_refused():
    with pytest.raises(ValueError, match="n_heads = 5: must divide width = 12"):
        VisionTransformerSpec(feed_forward=FeedForwardSpec(), **(SMALL | {"n_heads": 5}))
    spec = PLAIN.model_copy(update={"patch": 4}).resolved(GridPoint(1, 3))
    with pytest.raises(
        ValueError, match="patch = 4: must divide the image's height and width, 4 x"
    ):
        build_model(spec, SIZES)
    with pytest.raises(ValueError, match="needs inputs that are images"):
        build_model(spec, Sizes(72, 5))
