"""How an experiment's runs are split into jobs."""

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobs import blobs
from fastff.config.job import TrainSpec
from fastff.config.jobs import n_runs, named_jobs, shards, train_jobs
from fastff.config.load import parse_config
from fastff.data.names import outline
from fastff.tables.collect import collect
from fastff.tables.schema import TIDY
from fastff.train.job import train
from fastff.train.sizes import runs
from fastff.train.tables import tidy_tables, write_tables


def config_of(runs_per_job, *, seeds=2, runs_per_stack=10, own=None):
    block = {
        "title": "Trial",
        "dataset": "mnist5k",
        "seeds": list(range(seeds)),
        "recipe": {"epochs": 1, "batch_size": 64, "learning_rate": 0.01},
        "grid": {"depth": [1, 2], "hidden_features": [2, 3]},
        "variants": ["fff_mixture_log", "moe_mixture", "mlp_relu"],
        "equal_size": "mlp_relu",
        "record": ["gradients"],
        **(own or {}),
    }
    split = {} if runs_per_job == "unsaid" else {"runs_per_job": runs_per_job}
    execution = {"runs_per_stack": runs_per_stack, **split}
    return parse_config({"name": "trial", "experiments": {"trial": block}, **execution})


@given(
    n_points=st.integers(1, 30),
    n_seeds=st.integers(1, 30),
    runs_per_stack=st.integers(1, 12),
    runs_per_job=st.integers(1, 1000),
)
def test_a_job_has_whole_stacks_and_as_many_as_fit(n_points, n_seeds, runs_per_stack, runs_per_job):
    parts = shards(n_points, n_seeds, runs_per_stack=runs_per_stack, runs_per_job=runs_per_job)
    every = [(point, seed) for point in range(n_points) for seed in range(n_seeds)]
    assert [run for first, last in parts for run in every[first : last + 1]] == every
    for first, last in parts:
        assert every[first][1] % runs_per_stack == 0  # no stack is cut
        points = {point for point, _ in every[first : last + 1]}
        n_stacks = sum(
            -(-len([run for run in every[first : last + 1] if run[0] == point]) // runs_per_stack)
            for point in points
        )
        assert last - first < runs_per_job or n_stacks == 1
    for (first, _), (_, next_last) in pairwise(parts):
        assert next_last - first >= runs_per_job  # two neighbours would not fit into one


@given(
    seeds=st.integers(1, 7),
    runs_per_stack=st.integers(1, 4),
    runs_per_job=st.one_of(st.none(), st.integers(1, 40)),
)
def test_jobs_have_every_run_of_the_experiment_once_and_in_order(
    seeds, runs_per_stack, runs_per_job
):
    config = config_of(runs_per_job, seeds=seeds, runs_per_stack=runs_per_stack)
    data = outline("mnist5k")
    whole = [(s.variant.name, *run) for s in config.train_specs("trial") for run in runs(s, data)]
    jobs = train_jobs(config, "trial")
    assert whole == [(s.variant.name, *run) for s in jobs.values() for run in runs(s, data)]
    assert len(whole) == len(set(whole))
    for name, spec in jobs.items():
        variant, _, part = name.partition("/")
        assert variant == spec.variant.name
        (named,) = named_jobs(config, f"trial/{name}")
        assert named.model_dump_json() == spec.model_dump_json()  # a parameter of the rule
        if part:
            assert spec.runs == tuple(map(int, part.split("-")))
        else:
            assert spec.runs is None  # one job for all: as without a split


@pytest.mark.parametrize("runs_per_job", [None, 3])
def test_runs_are_counted_as_they_are_trained(runs_per_job):
    data = outline("mnist5k")
    jobs = train_jobs(config_of(runs_per_job), "trial")
    counted = {name: n_runs(spec) for name, spec in jobs.items()}
    assert counted == {name: len(runs(spec, data)) for name, spec in jobs.items()}
    if runs_per_job is None:  # two seeds of two widths, and of those that equal eight models
        assert 2 * 2 < counted["mlp_relu"] <= 2 * (2 + 3 * 8)


@pytest.mark.parametrize(
    ("of_all", "own", "expected"),
    [
        ("unsaid", {}, None),
        (None, {}, None),
        (5, {}, 5),
        (5, {"runs_per_job": 3}, 3),
        (5, {"runs_per_job": None}, None),
        ("unsaid", {"runs_per_job": 3}, 3),
    ],
)
def test_an_experiment_may_have_its_own_number(of_all, own, expected):
    config = config_of(of_all, own=own)
    assert config.runs_per_job_of("trial") == expected
    assert (len(train_jobs(config, "trial")) > 3) == (expected is not None)


@pytest.mark.parametrize("runs_per_job", [1, 4, 6])
def test_parts_collect_to_the_bytes_of_the_whole(runs_per_job, tmp_path):
    """Trained for real, in stacks of two."""
    data = blobs()

    def write(specs, folder):
        folders = []
        for name, spec in specs.items():
            (results,) = train([spec], data, runs_per_stack=2)
            folders.append(folder / "jobs" / name)
            write_tables(tidy_tables(spec, results), folders[-1])
        collect(folders, folder / "tidy")
        return len(folders)

    settings = {"seeds": 3, "runs_per_stack": 2, "own": {"equal_size": None}}
    n_whole = write(train_jobs(config_of(None, **settings), "trial"), tmp_path / "whole")
    n_parts = write(train_jobs(config_of(runs_per_job, **settings), "trial"), tmp_path / "parts")
    assert n_whole == 3 < n_parts
    for table in TIDY:
        parts, whole = (tmp_path / kind / "tidy" / f"{table}.csv" for kind in ("parts", "whole"))
        assert parts.read_bytes() == whole.read_bytes()
    assert len(pd.read_csv(tmp_path / "whole" / "tidy" / "runs.csv")) == (4 + 4 + 2) * 3


def _job(folder, **tables):
    folder.mkdir()
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_what_cannot_be_joined_is_refused(tmp_path):
    whole = _job(tmp_path / "whole", runs="a\n1\n", epochs="a\n1\n")
    others = {
        "has no tables": _job(tmp_path / "empty"),
        "none has no tables": tmp_path / "none",
        "fewer has runs; ": _job(tmp_path / "fewer", runs="a\n2\n"),
        "has columns b": _job(tmp_path / "other", runs="b\n2\n", epochs="a\n2\n"),
        "ends within a line": _job(tmp_path / "cut", runs="a\n2\n", epochs="a\n2"),
        "a job twice": whole,
    }
    for fault, other in others.items():
        with pytest.raises(ValueError, match=fault):
            collect([whole, other], tmp_path / "output")
    with pytest.raises(ValueError, match="ends within a line"):
        collect([others["ends within a line"]], tmp_path / "output")
    with pytest.raises(ValueError, match="empty has no tables"):
        collect([others["has no tables"]], tmp_path / "output")


def test_runs_that_there_are_not_are_refused():
    spec = config_of(None).train_specs("trial")[0]
    with pytest.raises(ValueError, match=r"runs = 6-8: allowed are runs 0-7"):
        runs(spec.model_copy(update={"runs": (6, 8)}), outline("mnist5k"))
    with pytest.raises(ValueError, match=r"runs = \[3, 2\]: the first is behind the last"):
        TrainSpec(**{**dict(spec), "runs": (3, 2)})
