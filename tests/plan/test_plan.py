"""The plan of a config: its sums, its fit, and its command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.cli import main
from fastff.config import load_config
from fastff.plan.estimate import COLUMNS, make_plan
from fastff.plan.schedule import Job, wall_seconds
from fastff.plan.sources import basis
from fastff.plan.training import fit, left_out

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "config" / "smoke.yaml"


@given(st.lists(st.floats(0, 10), min_size=3, max_size=3), st.integers(0, 100))
def test_rates_are_found_again(rates, seed):
    terms = np.random.default_rng(seed).uniform(0.1, 1, (8, 3)) * [1, 1e6, 1e12]
    seconds = terms / [1, 1e6, 1e12] @ rates + 1e-3
    found = fit([*np.column_stack([terms, np.ones(8)])], seconds)
    assert terms @ found[:3] + found[3] == pytest.approx(seconds, rel=1e-3)
    assert (found >= 0).all()


def test_what_nothing_else_tells_of_is_far_off_when_left_out():
    terms = [[1, 0], [2, 0], [3, 0], [1, 5]]
    errors = left_out(terms, [1, 2, 3, 11])
    assert errors == pytest.approx([0, 0, 0, 1 / 11 - 1])


def test_wall_time_by_hand():
    blocks = [
        [Job("prepare", 5)],
        [Job("train", 30), Job("train", 20), Job("collect", 1), Job("draw", 10)],
        [Job("train", 15), Job("collect", 1), Job("draw", 10)],
        [Job("bench", 40, cores=2), Job("draw", 10)],
    ]
    # 5, then 30 beside 20, 15 after the shorter; 1 beside 1; 10 beside 10, and 10; 40 alone
    assert wall_seconds(blocks, cores=2, gpus=1) == 5 + 35 + 1 + 20 + 40
    assert wall_seconds(blocks, cores=1, gpus=1) == 5 + 65 + 2 + 30 + 40
    on_gpu = [[job._replace(gpus=1) for job in block if job.step == "train"] for block in blocks]
    assert wall_seconds(on_gpu, cores=16, gpus=1) == 65
    assert wall_seconds(on_gpu, cores=16, gpus=4) == 30


@pytest.fixture(scope="module")
def measured():
    return {device: basis(ROOT, device) for device in ("cpu", "cuda")}


def test_the_reference_is_predicted_from_its_other_experiments(measured):
    """The errors that the README tells of."""
    errors = {device: np.abs(one.training.errors()) for device, one in measured.items()}
    assert {device: len(error) for device, error in errors.items()} == {"cpu": 13, "cuda": 13}
    assert all(np.median(error) < 0.25 for error in errors.values())
    # memory, of which there is less to explain
    for one in measured.values():
        training = one.training
        peaks = [training.peak_of(demand) for demand in training.largest]
        ratio = np.asarray(peaks) / training.peak_bytes
        assert np.median(np.abs(ratio - 1)) < 0.1


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_plan_adds_up(device, measured):
    config = load_config(SMOKE)
    plan = make_plan(config, device, *measured[device], cores=4, gpus=2)
    table = plan.table.set_index("name")
    assert tuple(plan.table.columns) == COLUMNS
    assert set(config.drawn()) < set(table.index)
    for name in config.experiments:
        n_variants = len(config.experiments[name].variants)
        assert table.loc[name, "jobs"] == n_variants + 2  # collect and draw
    runs = {name: len(config.experiments[name].seeds) for name in ("top_k", "soft_merging")}
    assert table.loc["top_k", "runs"] == 4 * runs["top_k"]
    assert table.loc["soft_merging", "runs"] == 7 * 4 * runs["soft_merging"]
    whole, rows = table.loc["total"], table.drop("total")
    for key in ("runs", "jobs", "cpu_hours", "gpu_hours", "disk_mib"):
        assert whole[key] == pytest.approx(rows[key].sum())
    assert whole["peak_mib"] == rows["peak_mib"].max()
    assert (whole["gpu_hours"] > 0) == (whole["gpu_peak_mib"] > 0) == (device == "cuda")
    longest = 60 * rows["longest_job_minutes"].max()
    assert longest < plan.seconds < 3600 * whole["cpu_hours"]


def test_a_split_changes_jobs_and_not_runs(measured):
    config = load_config(SMOKE)
    split = config.model_copy(update={"runs_per_job": 3})
    whole, parts = (
        make_plan(one, "cpu", *measured["cpu"], cores=4).table.set_index("name")
        for one in (config, split)
    )
    assert whole.loc["total", "runs"] == parts.loc["total", "runs"]
    assert whole.loc["soft_merging", "jobs"] == 7 + 2
    assert parts.loc["soft_merging", "jobs"] == 7 * 4 + 2
    for key in ("longest_job_minutes", "peak_mib"):
        assert parts.loc["soft_merging", key] < whole.loc["soft_merging", key]


def test_what_was_not_measured_is_told(measured):
    config = load_config(ROOT / "config" / "paper.yaml")
    table = make_plan(config, "cuda", *measured["cuda"], cores=16).table.set_index("name")
    assert "dataset cifar10" in table.loc["soft_merging", "not_measured"]
    assert "dataset" not in table.loc["soft_merging_fashion_mnist", "not_measured"]


def test_the_command(tmp_path, capsys):
    output = tmp_path / "plan.csv"
    arguments = ["plan", "--configfile", str(SMOKE), "--root", str(ROOT), "--device", "cpu"]
    assert main([*arguments, "--cores", "2", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "On 2 cores: about" in printed
    assert "GPU" not in printed
    table = pd.read_csv(output)
    assert tuple(table.columns) == COLUMNS
    assert all(name in printed for name in table["name"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--cores": "0"}, "--cores 0: at least 1 is needed"),
        ({"--root": "nowhere"}, "has no */costs.csv; give --costs"),
        ({"--costs": "other.csv"}, "the costs are of a config named 'other', but no config in"),
        ({"--costs": "empty.csv"}, "has no column 'config'; `fastff costs` writes such tables"),
        ({"--configfile": "none.yaml"}, "config file none.yaml: No such file"),
    ],
)
def test_bad_input_is_refused(changes, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("other.csv").write_text("config,name,step,seconds\nother,one,train,3\n")
    Path("empty.csv").write_text("a,b\n")
    values = {"--configfile": str(SMOKE), "--root": str(ROOT), "--device": "cpu", **changes}
    assert main(["plan", *(word for pair in values.items() for word in pair)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
