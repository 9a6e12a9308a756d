"""Plans from the measured costs of the repository."""

from pathlib import Path

import numpy as np
import pytest

from fastff.config.load import load_config
from fastff.plan.estimate import make_plan
from fastff.plan.sources import basis

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def device(request):
    return request.param


@pytest.fixture(scope="module")
def measured(device):
    return basis(ROOT, device)


def test_each_experiment_is_predicted_from_the_others(measured):
    training = measured.training
    errors = np.abs(training.errors())
    assert len(errors) == 13
    assert np.median(errors) < 0.3
    peaks = np.asarray([training.peak_of(demand) for demand in training.largest])
    assert np.median(np.abs(peaks / training.peak_bytes - 1)) < 0.1


def test_every_config_can_be_planned(device, measured):
    for name in ("config", "smoke", "paper", "reference"):
        config = load_config(ROOT / "config" / f"{name}.yaml")
        plan = make_plan(config, device, measured, cores=16)
        table = plan.table.set_index("name")
        assert set(config.drawn()) < set(table.index)
        whole = table.loc["total"]
        if config.tables_from is not None:
            assert whole["runs"] == 0
            continue
        assert whole["runs"] == sum(table.loc[name, "runs"] for name in config.experiments)
        assert (whole["gpu_hours"] > 0) == (whole["gpu_peak_mib"] > 0) == (device == "cuda")
        assert 0 < plan.seconds < 3600 * (whole["gpu_hours"] + whole["cpu_hours"])
        if name == "paper":
            assert "dataset cifar10" in table.loc["soft_merging", "not_measured"]
            known = table.loc["soft_merging_fashion_mnist", "not_measured"]
            assert ("dataset fashion_mnist" in known) == (device == "cpu")
