"""What is recorded of a model, against the model itself, one run at a time."""

import pytest
import torch

from blobs import blobs
from fastff.config.model import Point
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.layers import NodeTree
from fastff.layers.tree import node_entropies, node_visits
from fastff.train.build import stack
from fastff.train.evaluate import Part
from fastff.train.loop import results_of, train_stack
from fastff.train.recording import snapshots
from models import small_model

RECORD = ("expert_counts", "nodes", "projections")


@pytest.fixture
def part(generator) -> Part:
    """More samples than one chunk has."""
    x = torch.randn(300, 24, generator=generator)
    return Part(x, torch.randint(0, 4, (300,), generator=generator))


def pair(name, generator):
    models = [small_model(PRESETS[name], generator=generator).eval() for _ in range(2)]
    return models, stack(models).eval()


@pytest.mark.parametrize("name", PRESETS)
def test_expert_counts_are_the_routing_s_by_class(name, part, generator):
    models, together = pair(name, generator)
    taken = snapshots(together, part, 4, [3, 4], ("expert_counts",))
    assert [snapshot.epoch for snapshot in taken] == [3, 4]
    for model, snapshot in zip(models, taken, strict=True):
        routing = model.soft_and_hard(part.inputs)[1] > 0  # (b, t, e)
        expected = [
            [
                [int((routing[:, tree, expert] & (part.labels == c)).sum()) for c in range(4)]
                for expert in range(model.n_experts)
            ]
            for tree in range(model.n_trees)
        ]
        assert snapshot.expert_counts == expected
        assert snapshot.visits == snapshot.features == []


@pytest.mark.parametrize("name", ["fff_mixture_log", "fff_on_plane", "node_trees_to_plane"])
def test_nodes_are_those_of_the_tree_that_routes(name, part, generator):
    models, together = pair(name, generator)
    for model, snapshot in zip(models, snapshots(together, part, 4, [0, 0], RECORD), strict=True):
        z = model.node_logits(part.inputs)  # (b, t, n)
        leaf = model.soft_and_hard(part.inputs)[1].argmax(-1)  # (b, t)
        depth = (model.n_experts).bit_length() - 1
        visits = node_visits(leaf.T, depth)
        n_nodes = z.shape[-1]
        assert snapshot.visits == visits[:, :n_nodes].tolist()
        routed = model.routed if hasattr(model, "routed") else model
        if isinstance(routed, NodeTree):
            assert snapshot.entropy == []
        else:
            expected = node_entropies(z).double().mean(0)
            torch.testing.assert_close(
                torch.tensor(snapshot.entropy, dtype=torch.float64), expected.detach(), rtol=1e-5,
                atol=1e-7,
            )  # fmt: skip
        if name == "fff_on_plane":
            lines = torch.tensor(snapshot.lines)
            features = model.body(part.inputs)
            logits = features @ lines[0, :, :2].T + lines[0, :, 2]
            torch.testing.assert_close(logits, z[:, 0])
        else:
            assert snapshot.lines == []


def test_projections_are_the_hard_form_s_features(part, generator):
    models, together = pair("fff_to_plane", generator)
    for model, snapshot in zip(
        models, snapshots(together, part, 4, [9, 9], ("projections",)), strict=True
    ):
        features = model.body(part.inputs, hard=True)
        torch.testing.assert_close(torch.tensor(snapshot.features), features, atol=5.1e-4, rtol=0)
        assert snapshot.experts == model.body.gate.leaf(part.inputs).tolist()
        assert snapshot.classes == part.labels.tolist()
        assert snapshot.expert_counts == []


def test_at_most_1000_samples_are_projected(generator):
    model = stack([small_model(PRESETS["mlp_to_plane"], generator=generator)]).eval()
    part = Part(torch.randn(2100, 24, generator=generator), torch.zeros(2100, dtype=torch.long))
    (snapshot,) = snapshots(model, part, 4, [1], ("projections",))
    assert len(snapshot.features) == len(snapshot.classes) == len(snapshot.experts) == 1000
    assert set(snapshot.experts) == {0}


def test_epochs_between_the_first_and_the_last_are_recorded_as_asked():
    recipe = Recipe(epochs=7, batch_size=64, learning_rate=0.01)
    args = (PRESETS["fff_on_plane"].model.resolved(Point(3, 8)), [0, 1], recipe, blobs())
    recorded = results_of(train_stack(*args, record=RECORD, record_every=3))
    for run in recorded:
        assert [snapshot.epoch for snapshot in run.snapshots] == [0, 3, 6, 7]
        assert all(s.features and s.lines and s.expert_counts for s in run.snapshots)
    plain = results_of(train_stack(*args))
    for run, other in zip(recorded, plain, strict=True):
        assert run.epochs == other.epochs  # looking changes nothing
        assert run.snapshots[-1].expert_counts == other.snapshots[-1].expert_counts
        assert [snapshot.epoch for snapshot in other.snapshots] == [7]
