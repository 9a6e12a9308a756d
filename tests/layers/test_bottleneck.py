"""Two layers with few features between them."""

import pytest
import torch

from fastff.config.presets import PRESETS
from fastff.layers import Bottleneck, LinearLayer, NodeTree, TreeGate
from models import small_model


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", ["fff_to_plane", "fff_on_plane", "mlp_to_plane"])
def test_it_is_the_head_of_the_body(name, hard, generator):
    model = small_model(PRESETS[name], generator=generator).eval()
    x = torch.randn(9, 24, generator=generator)
    features = model.body(x, hard=hard)
    assert features.shape == (9, 2)
    torch.testing.assert_close(model(x, hard=hard), model.head(features, hard=hard))


def test_the_routing_is_that_of_the_part_that_routes(generator):
    x = torch.randn(9, 24, generator=generator)
    before = small_model(PRESETS["fff_to_plane"], generator=generator).eval()
    assert before.routed is before.body
    assert torch.equal(before.soft_and_hard(x)[1][:, 0], before.body.gate.hard(x))
    behind = small_model(PRESETS["fff_on_plane"], generator=generator).eval()
    assert behind.routed is behind.head
    features = behind.body(x)
    assert torch.equal(behind.soft_and_hard(x)[1][:, 0], behind.head.gate.hard(features))
    assert torch.equal(behind.node_logits(x)[:, 0], behind.head.gate.logits(features))
    assert torch.equal(behind.soft_weights(x), behind.head.gate.soft(features))
    assert torch.equal(before.soft_weights(x), before.body.gate.soft(x))
    both = Bottleneck(before.body, behind.head)
    assert both.routed is both.body
    neither = Bottleneck(LinearLayer(24, 2), LinearLayer(2, 4))
    assert neither.soft_and_hard(x)[1].shape == (9, 1, 1)
    assert neither.node_logits(x) is neither.node_weights() is neither.soft_weights(x) is None


def test_the_losses_of_both_parts_are_added(generator):
    model = small_model(PRESETS["fff_on_plane"], generator=generator)
    body = small_model(
        PRESETS["fff_mixture_log"].with_gates(hardening_weight=2.0),
        out_features=2,
        generator=generator,
    )
    model.head.gate.hardening_weight = 3.0
    both = Bottleneck(body, model.head).train()
    x = torch.randn(9, 24, generator=generator)
    features, first = body.soft_with_loss(x)
    outputs, second = model.head.soft_with_loss(features)
    found, loss = both.soft_with_loss(x)
    torch.testing.assert_close(found, outputs)
    torch.testing.assert_close(loss, first + second)
    torch.testing.assert_close(Bottleneck(body, LinearLayer(2, 4)).soft_with_loss(x)[1], first)
    assert small_model(PRESETS["mlp_to_plane"]).soft_with_loss(x)[1] is None


def test_a_tree_of_one_level_has_one_leaf_node(generator):
    tree = NodeTree(4, 3, levels=1, generator=generator)
    outputs, routing = tree.soft_and_hard(torch.randn(5, 4, generator=generator))
    assert tree.n_experts == 1
    assert routing.shape == (5, 1, 1)
    assert outputs.shape == (2, 5, 3)


def test_biases_of_a_plane_s_nodes_are_what_they_are(generator):
    model = small_model(PRESETS["fff_on_plane"], generator=generator)
    weights, biases = model.node_weights()
    assert isinstance(model.head.gate, TreeGate)
    assert torch.equal(weights[0], model.head.gate.weight)
    assert torch.equal(biases[0], model.head.gate.bias)
    assert small_model(PRESETS["fff_to_plane"]).node_weights()[1] is None
