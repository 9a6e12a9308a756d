"""What a run took, from the measurements of its jobs."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastff.artifact.costs import COLUMNS, _covered, measured_costs
from fastff.cli import main
from fastff.config.load import parse_config

CONFIG = parse_config(
    {
        "name": "trial",
        "experiments": {
            "one": {
                "title": "One",
                "dataset": "mnist5k",
                "seeds": [0],
                "recipe": {"epochs": 1, "batch_size": 500, "learning_rate": 0.001},
                "grid": {"depth": [1], "hidden_features": [2]},
                "variants": ["moe_mixture", "moe_top1_switch"],
            }
        },
    }
)
HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def run(tmp_path):
    """A finished run: two jobs that overlap by five seconds, one that follows, and the data."""
    jobs = {
        "results/trial/benchmarks/prepare/mnist5k.tsv": (100, 10, 300),
        "results/trial/benchmarks/train/one/moe_mixture.tsv": (120, 20, 700),
        "results/trial/benchmarks/train/one/moe_top1_switch.tsv": (130, 15, 900),
        "results/trial/benchmarks/train/one/moe_mixture/0-0.tsv": (
            125,
            90,
            9000,
        ),  # another split's
        "results/trial/benchmarks/collect/one.tsv": (140, 5, "NA"),
        "results/trial/benchmarks/draw/one.tsv": (150, 10, 400),
        "results/trial/benchmarks/ledger.tsv": (155, 5, 100),
    }
    for name, (end, seconds, memory) in jobs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEAD}{seconds}\t0:00:01\t{memory}\t1\t1\t1\t0\t0\t0\t{seconds / 2}\n")
        os.utime(path, (end, end))
    for name, size in {
        "results/trial/jobs/one/moe_mixture/runs.csv": 3,
        "results/trial/tidy/one/runs.csv": 5,
        "results/trial/tables/one.csv": 1,
        "figures/trial/one.png": 2,
        "figures/trial/one_more.png": 7,  # of another experiment
        "results/trial/notebooks/one.html": 4,
        "results/data/mnist5k.npz": 6,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size * 2**20))
    return tmp_path


def test_costs_of_a_run(run):
    costs = measured_costs(CONFIG, run, "a note")
    assert tuple(costs.columns) == COLUMNS
    found = costs.set_index(["name", "step"])
    assert list(found.loc[("one", "train"), ["jobs", "seconds", "wall_seconds"]]) == [2, 35, 30]
    assert found.loc[("one", "train"), "peak_mib"] == 900
    assert found.loc[("one", "train"), "disk_mib"] == 3
    assert found.loc[("one", "collect"), "disk_mib"] == 5
    assert found.loc[("one", "draw"), "disk_mib"] == 1 + 2 + 4
    assert found.loc[("mnist5k", "prepare"), "disk_mib"] == 6
    whole = found.loc[("all", "all")]
    assert list(whole[["jobs", "seconds", "wall_seconds"]]) == [6, 65, 60]
    assert whole["cpu_seconds"] == 32.5
    assert whole["disk_mib"] == pytest.approx(28, abs=0.1)
    assert set(costs["note"]) == {"a note"}


def test_a_run_without_measurements_is_refused(run, tmp_path, capsys):
    for path in run.glob("results/trial/benchmarks/*/**/*.tsv"):
        path.unlink()
    with pytest.raises(ValueError, match="has no measurements of one: run the whole config first"):
        measured_costs(CONFIG, run)
    arguments = ["--configfile", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "x.csv")]
    assert main(["costs", *arguments]) == 2
    assert "none.yaml: No such file" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=8))
def test_time_that_jobs_share_counts_once(jobs):
    seconds = {second for start, length in jobs for second in range(start, start + length)}
    ends = [float(start + length) for start, length in jobs]
    assert _covered(ends, [float(length) for _, length in jobs]) == len(seconds)
