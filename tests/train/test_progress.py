"""The line that says how far a job is."""

import time

import pytest

from fastff.spec import Grid, Recipe, TrainSpec
from fastff.train.job import train
from fastff.train.progress import Progress, Standing
from fastff.train.store import RunStore, run_context
from fastff.zoo import ZOO

RUNS = {(0, seed): 4 for seed in range(3)}


def spec_of(seeds) -> TrainSpec:
    recipe = Recipe(epochs=2, batch_size=64, learning_rate=0.01)
    grid = Grid(depth=(1, 2), hidden_features=(4,))
    return TrainSpec(experiment="trial", dataset="mnist5k", variant=ZOO["moe_mixture"], grid=grid,
                     seeds=seeds, recipe=recipe)  # fmt: skip


def lines(capfd) -> list[str]:
    return [line for line in capfd.readouterr().err.splitlines() if " runs, " in line]


@pytest.fixture
def every_line(monkeypatch):
    monkeypatch.setattr("fastff.train.progress.LINE_INTERVAL", 0.0)


def test_the_line_counts_runs_epochs_and_time(every_line, capfd, monkeypatch):
    clock = iter([0.0, *[10.0] * 100])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with Progress("trial fff", RUNS, 5) as progress:
        progress.advance([(0, 0), (0, 1)], 2, "depth 1")
        progress.advance([(0, 0), (0, 1)], 3, "depth 1")
        progress.finish([(0, 0), (0, 1)])  # early: their last epochs are done with
        progress.advance([(0, 2)], 1, "depth 2")
    start, second, third, fourth, end = lines(capfd)
    assert start == "trial fff: 5 of 8 runs, 0/12 run epochs, 0.0/s, ? left; starting"
    assert second == "trial fff: 5 of 8 runs, 4/12 run epochs, 0.4/s, 00:20 left; depth 1"
    assert third == "trial fff: 5 of 8 runs, 6/12 run epochs, 0.6/s, 00:10 left; depth 1"
    assert fourth == "trial fff: 7 of 8 runs, 9/12 run epochs, 0.9/s, 00:03 left; depth 2"
    assert end.endswith("; done")


def test_a_stack_that_starts_again_counts_once(every_line, capfd):
    with Progress("trial fff", RUNS, 0) as progress:
        progress.advance([(0, 0), (0, 1), (0, 2)], 3, "")
        progress.advance([(0, 0)], 1, "")
    assert ", 7/12 run epochs, " in lines(capfd)[-1]


def test_epochs_of_a_checkpoint_are_no_speed(every_line, capfd):
    with Progress("trial fff", RUNS, 0) as progress:
        progress.advance([(0, 0), (0, 1), (0, 2)], 3, "", resumed=True)
    assert ", 9/12 run epochs, 0.0/s, ? left" in lines(capfd)[-1]


def test_in_a_slurm_job_the_line_is_in_its_own_log_too(every_line, capfd, monkeypatch):
    with Progress("trial fff", RUNS, 0):
        pass
    assert capfd.readouterr().out == ""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with Progress("trial fff", RUNS, 0):
        pass
    found = capfd.readouterr()
    assert found.out == found.err != ""


def test_the_last_line_of_a_log_is_read_back():
    standing = Standing("trial fff", 7, 8, 9, 12)
    text = f"INFO fff: 8 runs: 5 stored, 3 to train\n{Standing('trial fff', 5, 8, 0, 12)}, 0.0/s\n"
    assert Standing.last_of(f"{text}{standing}, 0.9/s, 00:03 left; x\nTraceback: \n") == standing
    assert Standing.last_of("INFO command: fastff train --spec {}\n") is None


def test_stored_runs_are_done(every_line, data, tmp_path, capfd):
    def run(seeds):
        spec = spec_of(seeds)
        train([spec], data, runs_per_stack=1, stores=[RunStore(tmp_path, run_context(spec, data))])
        return lines(capfd)

    assert run((0, 1))[0].startswith("trial moe_mixture: 0 of 4 runs, 0/8 run epochs, ")
    first, *_, last = run((0, 1, 2))
    assert first.startswith("trial moe_mixture: 4 of 6 runs, 0/4 run epochs, ")
    assert last.startswith("trial moe_mixture: 6 of 6 runs, 4/4 run epochs, ")
    assert run((0, 1, 2))[-1].startswith("trial moe_mixture: 6 of 6 runs, 0/0 run epochs, ")
