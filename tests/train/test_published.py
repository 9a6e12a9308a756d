"""The published models: their sizes, and the options that only they have."""

import math

import pytest
import torch
import torch.nn.functional as F

from blobs import blobs
from fastff.config.gates import HypercubeGateSpec, LinearGateSpec, TreeGateSpec
from fastff.config.model import (
    BottleneckSpec,
    FeedForwardSpec,
    GridPoint,
    LinearSpec,
    MixtureSpec,
    NodeTreeSpec,
    RoutedSpec,
    SoftMergedSpec,
    Variant,
)
from fastff.config.presets import PRESETS
from fastff.config.published import PUBLISHED
from fastff.config.recipe import Recipe
from fastff.layers import StridedConvolutional, TreeGate
from fastff.train.build import Sizes, build_model
from fastff.train.loop import results_of, train_stack
from models import small_model

MNIST = (784, 10, (1, 28, 28))


def n_parameters(name: str, depth: int, hidden_features: int) -> int:
    variant = PUBLISHED[name]
    in_features, out_features, image_shape = MNIST
    spec = variant.model.resolved(GridPoint(depth, hidden_features))
    model = build_model(spec, Sizes(in_features, out_features, image_shape))
    return sum(parameter.numel() for parameter in model.parameters())


# The package of the FFF paper keeps the depth of a tree as a parameter: its models have one more.
@pytest.mark.parametrize(
    ("name", "depth", "hidden_features", "published"),
    [
        ("study_mlp", 3, 256, 203_530),
        ("study_fff_product", 3, 32, 209_095),
        ("study_fff_log", 3, 32, 209_095),
        ("study_moe", 3, 32, 209_872),
        ("study_moe_relu", 3, 32, 209_872),
        ("study_fff_log_relu_outputs", 3, 32, 209_095),
        ("study_moe_relu_outputs", 3, 32, 209_872),
        ("study_hypercube_relu_outputs", 3, 32, 205_952),
        ("study_hypercube", 3, 32, 205_952),
        ("study_mlp_to_plane", 4, 32, 201_506),
        ("study_fff_to_plane", 4, 32, 414_783 - 1),
        ("study_node_trees_to_plane", 4, 32, 195_208),
        ("study_cnn_to_plane", 4, 32, 21_014),
        ("study_fff_on_plane", 3, 32, 53_800 - 1),
        ("study_node_trees", 2, 32, 178_081),
        ("study_fff_top2", 3, 3, 24_544),
        ("study_node_tree", 3, 3, 5_558),
    ],
)
def test_a_model_has_as_many_parameters_as_published(name, depth, hidden_features, published):
    assert n_parameters(name, depth, hidden_features) == published


@pytest.mark.parametrize("variant", PUBLISHED.values(), ids=PUBLISHED)
def test_a_variant_is_what_its_values_say(variant):
    assert Variant.model_validate(variant.model_dump()) == variant


@pytest.mark.parametrize("bias", [True, False, "hidden", "output"])
@pytest.mark.parametrize("experts", [MixtureSpec, SoftMergedSpec])
def test_experts_have_the_biases_that_the_spec_says(experts, bias):
    layer = small_model(
        Variant(
            name="x", label="x", model=RoutedSpec(gate=LinearGateSpec(), experts=experts(bias=bias))
        )
    )
    assert (layer.experts.b_in is not None) == (bias in (True, "hidden"))
    assert (layer.experts.b_out is not None) == (bias in (True, "output"))
    plain = small_model(Variant(name="x", label="x", model=FeedForwardSpec(bias=bias)))
    assert (plain.experts.b_in is not None) == (bias in (True, "hidden"))


@pytest.mark.parametrize("spec", [LinearGateSpec, HypercubeGateSpec, TreeGateSpec])
def test_gates_have_a_bias_where_the_spec_says_so(spec):
    for bias in (False, True):
        model = RoutedSpec(gate=spec(bias=bias), experts=MixtureSpec())
        layer = small_model(Variant(name="x", label="x", model=model))
        assert (layer.gate.bias is not None) == bias


def test_node_trees_and_heads_have_a_bias_where_the_spec_says_so():
    for bias in (False, True):
        model = BottleneckSpec(body=NodeTreeSpec(bias=bias), head=LinearSpec(bias=bias))
        layer = small_model(Variant(name="x", label="x", model=model))
        assert (layer.body.b_in is not None) == (layer.head.bias is not None) == bias


@pytest.mark.parametrize("gate", ["linear", "hypercube"])
def test_relu_logits_are_the_softmax_of_what_is_above_0(gate, generator):
    name = {"linear": "study_moe_relu", "hypercube": "study_hypercube"}[gate]
    layer = small_model(PUBLISHED[name], generator=generator).double()
    x = torch.randn(40, 24, generator=generator, dtype=torch.float64)
    z = (x @ layer.gate.weight.mT).clamp_min(0)
    if gate == "hypercube":
        signs = [[1 if k >> (2 - j) & 1 else -1 for j in range(3)] for k in range(8)]
        z = z @ torch.tensor(signs, dtype=torch.float64).mT
    torch.testing.assert_close(layer.gate.soft(x), z.exp() / z.exp().sum(-1, keepdim=True))
    hard = layer.gate.hard(x).argmax(-1)
    torch.testing.assert_close(layer.gate.soft(x).gather(-1, hard[:, None])[:, 0],
                               layer.gate.soft(x).amax(-1))  # fmt: skip


def test_the_strided_network_is_torch_s(generator):
    layer = StridedConvolutional((2, 9, 8), (3, 4), 5, 6, generator=generator).double()
    modules = []
    for number, (n_in, n_out) in enumerate([(2, 3), (3, 4)]):
        convolution = torch.nn.Conv2d(n_in, n_out, 3, stride=2, padding=1).double()
        convolution.weight.data = getattr(layer, f"kernel_{number}").data
        convolution.bias.data = getattr(layer, f"bias_{number}").data
        modules += [convolution, torch.nn.PReLU().double()]
    bank = layer.experts
    hidden = torch.nn.Linear(4 * 3 * 2, 5).double()
    hidden.weight.data, hidden.bias.data = bank.w_in.data[0], bank.b_in.data[0]
    out = torch.nn.Linear(5, 6).double()
    out.weight.data, out.bias.data = bank.w_out.data[0].mT, bank.b_out.data[0]
    expected = torch.nn.Sequential(
        *modules, torch.nn.Flatten(), hidden, torch.nn.PReLU().double(), out
    )
    x = torch.randn(7, 2 * 9 * 8, generator=generator, dtype=torch.float64, requires_grad=True)
    images = x.unflatten(-1, (2, 9, 8))
    torch.testing.assert_close(layer(x), expected(images))
    assert torch.autograd.gradcheck(layer, x[:2])


def test_a_uniform_transition_starts_in_one_over_the_root_of_16(generator):
    gate = TreeGate(
        24, 3, form="learned_transition", transition_start="uniform", generator=generator
    )
    assert gate.transition.shape == (8, 14)
    assert 0.9 / 4 < gate.transition.abs().max() <= 1 / 4
    on_paths = gate.transition[gate.matrix > 0]
    assert 0.2 < (on_paths < 0).double().mean() < 0.8
    x = torch.randn(30, 24, generator=generator)
    before = gate.hard(x)
    with torch.no_grad():
        gate.transition.neg_()
    assert torch.equal(gate.hard(x), before)


@pytest.mark.parametrize("reduction", ["sum", "batch_mean", "mean"])
def test_hardening_is_reduced_as_the_spec_says(reduction, generator):
    spec = TreeGateSpec(hardening_weight=2.0, hardening_reduction=reduction)
    model = RoutedSpec(gate=spec, experts=MixtureSpec())
    layer = small_model(Variant(name="x", label="x", model=model), generator=generator).double()
    x = torch.randn(10, 24, generator=generator, dtype=torch.float64)
    p = torch.sigmoid(x @ layer.gate.weight.mT)
    entropies = -p * p.log() - (1 - p) * (1 - p).log()
    divisor = {"sum": 1, "batch_mean": 10, "mean": 10 * 7}[reduction]
    _, loss = layer.train().soft_with_loss(x)
    torch.testing.assert_close(loss, 2 * entropies.sum() / divisor)


def test_a_balance_weight_is_of_the_load_balanced_fff_s_loss(generator):
    spec = TreeGateSpec(form="product", balance_weight=0.5)
    model = RoutedSpec(gate=spec, experts=MixtureSpec())
    layer = small_model(Variant(name="x", label="x", model=model), generator=generator).double()
    x = torch.randn(10, 24, generator=generator, dtype=torch.float64)
    _, loss = layer.train().soft_with_loss(x)
    soft, hard = layer.gate.soft(x).sum(0), layer.gate.hard(x).sum(0)
    torch.testing.assert_close(loss, 0.5 * 8 / 10**2 * (soft * hard).sum())


def test_a_master_leaf_has_half_of_the_output_at_first(generator):
    layer = small_model(PUBLISHED["master_leaf_fff"], generator=generator).double()
    x = torch.randn(9, 24, generator=generator, dtype=torch.float64)
    master = layer.master
    beside = (x @ master.w_in[0].mT + master.b_in[0]).clamp_min(0) @ master.w_out[0]
    beside = beside + master.b_out[0]
    for hard in (False, True):
        tree = layer.experts(x, layer.gate(x, hard=hard))
        torch.testing.assert_close(layer(x, hard=hard), tree / 2 + beside / 2)
    assert master.hidden_features == 8
    assert (layer.training_width, layer.inference_width) == (8 * 6 + 8, 6 + 8)


def test_a_bottleneck_s_activation_is_of_what_its_head_gets(generator):
    layer = small_model(PUBLISHED["study_mlp_to_plane"], generator=generator).double()
    with torch.no_grad():
        layer.slope.fill_(0.5)
    x = torch.randn(9, 24, generator=generator, dtype=torch.float64)
    features = F.prelu(layer.body(x), torch.tensor(0.5, dtype=torch.float64))
    torch.testing.assert_close(layer.features(x), features)
    torch.testing.assert_close(layer(x), features @ layer.head.weight.mT + layer.head.bias)
    assert not torch.allclose(layer.features(x), layer.body(x))


PHASED = {"epochs": 4, "batch_size": 64, "learning_rate": 0.01}


def test_phases_give_trees_their_weights_epoch_by_epoch():
    phases = [
        {"epochs": 1, "hardening_weight": 1.0, "balance_weight": 1.0},
        {"epochs": 3, "hardening_weight": 3.0, "balance_weight": 0.0},
    ]
    recipe = Recipe(**PHASED, phases=phases)
    assert [recipe.phase_of(epoch) for epoch in (1, 2, 4)] == [
        recipe.phases[0], recipe.phases[1], recipe.phases[1],
    ]  # fmt: skip
    assert Recipe(**PHASED).phase_of(1) is None
    data = blobs()
    model = PUBLISHED["balanced_fff"].model.resolved(GridPoint(3, 8))

    def losses(recipe):
        changed = model.with_gates(**recipe.tree_options())
        (result,) = results_of(train_stack(changed, [5], recipe, data))
        return [epoch.train_loss for epoch in result.epochs]

    constant = Recipe(**PHASED, hardening_weight=1.0, balance_weight=1.0)
    phased = losses(recipe)
    assert phased[0] == pytest.approx(losses(constant)[0], rel=1e-6)
    assert phased[-1] != pytest.approx(losses(constant)[-1], rel=1e-6)
    same = [{"epochs": 2, "hardening_weight": 1.0, "balance_weight": 1.0}] * 2
    assert losses(Recipe(**PHASED, phases=same)) == pytest.approx(losses(constant), rel=1e-6)


def test_phases_are_as_long_as_the_training():
    with pytest.raises(ValueError, match="they have 3 epochs together, but epochs = 4"):
        Recipe(**PHASED, phases=[{"epochs": 3}])


def test_phases_have_the_same_weights():
    """A step that was captured without a loss would never have it."""
    phases = [{"epochs": 2, "hardening_weight": 1.0}, {"epochs": 2, "balance_weight": 1.0}]
    with pytest.raises(ValueError, match="each must give the same weights"):
        Recipe(**PHASED, phases=phases)


CONSTANT = {"schedule": {"kind": "constant"}}
FFF = PRESETS["fff_mixture_log"].model.resolved(GridPoint(3, 8))


def test_selection_on_the_test_part_needs_a_key_of_its_own():
    stopping = {"early_stopping": {"patience": 2}}
    with pytest.raises(ValueError, match="select_on_test = true says that it is to"):
        Recipe(**PHASED, **CONSTANT, **stopping)
    recipe = Recipe(**PHASED, **CONSTANT, **stopping, select_on_test=True)
    data = blobs()
    (result,) = results_of(train_stack(FFF, [5], recipe, data))
    best = max(epoch.accuracy_hard for epoch in result.epochs)
    assert result.test_accuracy_hard == pytest.approx(best)
    with pytest.raises(ValueError, match="select_on_test = true has a meaning only with"):
        Recipe(**PHASED, **CONSTANT, **stopping, select_on_test=True, validation_samples=64)
    with pytest.raises(ValueError, match="select_on_test = true has a meaning only with"):
        Recipe(**PHASED, select_on_test=True)


def test_a_run_is_trained_until_its_train_loss_stops_improving():
    stopping = {"early_stopping": {"metric": "train_loss", "patience": 2}}
    recipe = Recipe(**(PHASED | {"epochs": 60, "learning_rate": 0.1}), **CONSTANT, **stopping)
    data = blobs()
    results = results_of(train_stack(FFF, [5, 6], recipe, data))
    for result in results:
        losses = [epoch.train_loss for epoch in result.epochs]
        assert math.isclose(losses[result.best_epoch - 1], min(losses))
        assert len(losses) in (60, result.best_epoch + 2)
    assert any(len(result.epochs) < 60 for result in results)


@pytest.mark.parametrize(
    "name",
    ["study_moe_relu", "study_hypercube", "study_fff_to_plane", "study_learned_transition",
     "study_fff_top2", "study_node_trees", "study_cnn_to_plane", "study_fff_on_plane",
     "study_fff_small_relu_outputs", "study_fff_64_gelu_outputs",
     "master_leaf_fff", "hardening_mean_1"],
)  # fmt: skip
def test_a_published_model_learns(name):
    model, data = PUBLISHED[name].model.resolved(GridPoint(3, 8)), blobs()
    recipe = Recipe(epochs=3, batch_size=32, learning_rate=0.01)
    for result in results_of(train_stack(model, [5, 6], recipe, data)):
        losses = [epoch.train_loss for epoch in result.epochs]
        assert losses[-1] < losses[0]
