"""A training that was ended at any epoch goes on to the same bits, from its own checkpoint only."""

import hashlib
import io
import logging
import os
import signal

import pytest
import torch

from blobs import blobs
from fastff.config.model import GridPoint
from fastff.config.presets import PRESETS
from fastff.config.recipe import (
    AugmentationSpec,
    ConstantSpec,
    EarlyStoppingSpec,
    PhaseSpec,
    PlateauSpec,
    Recipe,
    SgdSpec,
)
from fastff.train.checkpoint import Checkpoint, Checkpoints
from fastff.train.device import set_precision
from fastff.train.graceful_shutdown import StoppedError, StopRequest
from fastff.train.job import train
from fastff.train.loop import results_of, train_stack

RECIPES = {
    "adamw": Recipe(epochs=5, batch_size=64, learning_rate=5e-3),
    "sgd": Recipe(epochs=5, batch_size=64, learning_rate=0.1, optimiser=SgdSpec()),
    "plateau": Recipe(
        epochs=5,
        batch_size=64,
        learning_rate=0.02,
        schedule=PlateauSpec(metric="train_loss", patience=1, factor=0.3),
    ),
    "stopping": Recipe(
        epochs=8,
        batch_size=64,
        learning_rate=1e-3,
        schedule=ConstantSpec(),
        validation_samples=64,
        early_stopping=EarlyStoppingSpec(metric="accuracy_hard", patience=3),
    ),
    "augmentation": Recipe(
        epochs=5,
        batch_size=64,
        learning_rate=5e-3,
        augmentation=AugmentationSpec(flips=("horizontal",), rotate=20.0),
    ),
    "phases": Recipe(
        epochs=5,
        batch_size=64,
        learning_rate=5e-3,
        phases=(
            PhaseSpec(epochs=3, hardening_weight=0.1, balance_weight=1.0),
            PhaseSpec(epochs=2, hardening_weight=0.3, balance_weight=0.0),
        ),
    ),
}
RECORD = ("gradients", "expert_counts", "nodes")
NAMES = (
    *("fff_mixture_log", "fff_mixture_leak30", "moe_noisy_top2", "fff_on_plane"),
    *("fff_mixture_learned_transition_top2", "node_tree_gelu"),
)
CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
)


@pytest.fixture(params=["cpu", CUDA])
def device(request):
    if request.param == "cuda":
        set_precision(torch.device("cuda"), tf32=False)
    yield request.param
    torch.use_deterministic_algorithms(False)


def checkpoint_of(folder, interval=0.0, stop=None, **context):
    context = {"recipe": {"epochs": 5, "batch_size": 64}, "sources": "abc"} | context
    return Checkpoint(folder / "one.checkpoint", context, interval, stop or StopRequest())


def training(name, recipe, data, checkpoint=None, **options):
    model = PRESETS[name].model.resolved(GridPoint(3, 8))
    options = {"record": RECORD, **options}
    return train_stack(model, (0, 1, 2), recipe, data, checkpoint=checkpoint, **options)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_to_the_same_bits(name, recipe, device, tmp_path):
    data = blobs(device)
    whole = results_of(training(name, recipe, data))
    for n_epochs in (2, 4):  # yields once per epoch, before its checkpoint
        ended = training(name, recipe, data, checkpoint_of(tmp_path))
        for _ in range(n_epochs):
            next(ended)
        ended.close()
    seen = []
    again = training(
        name, recipe, data, checkpoint_of(tmp_path), on_epoch=lambda epoch, _: seen.append(epoch)
    )
    assert results_of(again) == whole
    assert seen[:4] == [1, 2, 3, 4]


def test_a_failed_run_stays_failed(data, tmp_path):
    recipe = Recipe(
        epochs=6, batch_size=64, learning_rate=10.0, optimiser=SgdSpec(), schedule=ConstantSpec()
    )
    whole = results_of(training("mlp_relu", recipe, data, record=()))
    assert any(result.failure for result in whole)
    ended = training("mlp_relu", recipe, data, checkpoint_of(tmp_path), record=())
    next(ended), next(ended)
    ended.close()
    again = training("mlp_relu", recipe, data, checkpoint_of(tmp_path), record=())
    assert results_of(again) == whole


def test_a_short_training_writes_none(data, tmp_path):
    results_of(training("mlp_relu", RECIPES["adamw"], data, checkpoint_of(tmp_path, 300.0)))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(data, tmp_path):
    """The file of a training that was ended after an epoch."""
    ended = training("mlp_relu", RECIPES["adamw"], data, checkpoint_of(tmp_path))
    next(ended), next(ended)
    ended.close()
    return tmp_path / "one.checkpoint"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe": {"epochs": 9, "batch_size": 64}}, "is of another recipe.epochs: it is not"),
        ({"sources": "edited"}, "is of another sources: it is not used"),
        ({"sources": "x", "torch": "9"}, "is of another sources, torch: it is not used"),
    ],
)
def test_a_checkpoint_of_another_config_or_code_is_refused(change, said, saved, data, caplog):
    other = checkpoint_of(saved.parent, **change)
    with caplog.at_level(logging.WARNING):
        assert other.load() is None
    assert f"checkpoint {saved} {said}" in caplog.text
    results = results_of(training("mlp_relu", RECIPES["adamw"], data, other))
    assert results == results_of(training("mlp_relu", RECIPES["adamw"], data))


def test_a_checkpoint_of_another_model_of_its_shape_is_refused(data, tmp_path, caplog):
    files = Checkpoints(tmp_path, "one", {}, 0.0)
    names = ("moe_mixture", "moe_top1_switch")
    model, other = (PRESETS[name].model.resolved(GridPoint(3, 8)) for name in names)
    recipe = RECIPES["adamw"]
    ended = train_stack(model, (0, 1), recipe, data, checkpoint=files.of(model, (0, 1)))
    next(ended), next(ended)
    ended.close()
    with caplog.at_level(logging.WARNING):
        assert files.of(other, (0, 1)).load() is None
    assert "is of another model.gate.top_k: it is not used" in caplog.text
    assert files.of(model, (0, 1)).load()["epoch"] == 1


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def with_code(content: bytes) -> bytes:
    """Return a checkpoint with the right checksum that would run code where it is unpickled."""

    class Code:
        def __reduce__(self):
            return os.mkdir, ("unpickled",)

    written = io.BytesIO()
    torch.save({"context": "{}", "state": Code()}, written)
    body = written.getvalue()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flipped, "is damaged: training starts anew"),
        (lambda content: content[:-1000], "is damaged: training starts anew"),
        (lambda content: b"", "is damaged: training starts anew"),
        (with_code, "Weights only load failed"),
    ],
    ids=["a flipped bit", "truncated", "empty", "code"],
)
def test_a_damaged_checkpoint_is_refused(damage, said, saved, caplog, monkeypatch):
    monkeypatch.chdir(saved.parent)
    saved.write_bytes(damage(saved.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert checkpoint_of(saved.parent).load() is None
    assert f"checkpoint {saved}" in caplog.text
    assert said in caplog.text
    assert not (saved.parent / "unpickled").exists()


def test_sigterm_ends_the_epoch_with_a_checkpoint(data, tmp_path):
    recipe = RECIPES["adamw"]
    whole = results_of(training("mlp_relu", recipe, data))
    with StopRequest() as stop:
        running = training("mlp_relu", recipe, data, checkpoint_of(tmp_path, 300.0, stop))
        next(running), next(running)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError):
            next(running)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    state = checkpoint_of(tmp_path).load()
    assert state["epoch"] == 2
    assert results_of(training("mlp_relu", recipe, data, checkpoint_of(tmp_path))) == whole


def test_a_job_leaves_no_checkpoints(data, tmp_path):
    from test_failures import spec_of

    from fastff.train.job import job_checkpoints

    specs = [spec_of()]
    files = job_checkpoints(tmp_path, specs, [{}], 0.0, StopRequest())
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    left = [folder / f"trial.{name}.0.checkpoint" for name in ("fff_mixture_log", "mlp_relu")]
    for path in left:
        path.touch()
    assert train(specs, data, runs_per_stack=2, checkpoints=files) == train(
        specs, data, runs_per_stack=2
    )
    assert list(folder.iterdir()) == left[1:]


def test_a_part_of_a_job_leaves_the_checkpoints_of_others(data, tmp_path):
    from test_failures import spec_of

    from fastff.train.job import job_checkpoints

    specs = [spec_of().model_copy(update={"runs": (0, 1)})]
    files = job_checkpoints(tmp_path, specs, [{}], 0.0, StopRequest())
    other = tmp_path / "checkpoints" / "trial.fff_mixture_log.0.checkpoint"
    other.parent.mkdir()
    other.touch()
    (results,) = train(specs, data, runs_per_stack=2, checkpoints=files)
    assert [seed for _, seed in results] == list(spec_of().seeds[:2])
    assert list(other.parent.iterdir()) == [other]
