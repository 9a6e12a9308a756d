"""The line that says how far a job is."""

import time

import pytest

from blobs import blobs
from fastff.config.job import TrainSpec
from fastff.config.model import Grid, Point
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.progress.line import Progress, Standing
from fastff.train.job import train
from fastff.train.store import RunStore, run_context

ONE, TWO = Point(1, 4), Point(2, 4)
RUNS = {(0, ONE, 0): 4, (0, ONE, 1): 4, (0, TWO, 0): 4}
FIRST, LAST = [*RUNS][:2], [*RUNS][2:]


def spec_of(seeds=(0,), variant="moe_mixture") -> TrainSpec:
    recipe = Recipe(epochs=2, batch_size=64, learning_rate=0.01)
    grid = Grid(depth=(1, 2), hidden_features=(4,))
    return TrainSpec(experiment="trial", dataset="mnist5k", variant=PRESETS[variant], grid=grid,
                     seeds=seeds, recipe=recipe)  # fmt: skip


def lines(capfd) -> list[str]:
    return [line for line in capfd.readouterr().err.splitlines() if " runs, " in line]


@pytest.fixture
def every_line(monkeypatch):
    monkeypatch.setattr("fastff.progress.line.LINE_INTERVAL", 0.0)


def test_the_line_counts_runs_epochs_and_time(every_line, capfd, monkeypatch):
    clock = iter([0.0, *[10.0] * 100])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with Progress([spec_of()], RUNS, [5]) as progress:
        progress.advance(FIRST, 2, 0.5)
        progress.advance(FIRST, 3, 0.25)
        progress.finish(FIRST)  # early: their last epochs are done with
        progress.advance(LAST, 1, 0.125)
    start, second, third, fourth, end = lines(capfd)
    title, where = "trial moe_mixture", "moe_mixture, depth"
    assert start == f"{title}: 5 of 8 runs, 0/12 run epochs, 0.0/s, ? left; starting"
    assert second == (
        f"{title}: 5 of 8 runs, 4/12 run epochs, 0.4/s, 00:20 left; "
        f"{where} 1, hidden 4, epoch 2, loss 0.5000"
    )
    assert third == (
        f"{title}: 5 of 8 runs, 6/12 run epochs, 0.6/s, 00:10 left; "
        f"{where} 1, hidden 4, epoch 3, loss 0.2500"
    )
    assert fourth == (
        f"{title}: 7 of 8 runs, 9/12 run epochs, 0.9/s, 00:03 left; "
        f"{where} 2, hidden 4, epoch 1, loss 0.1250"
    )
    assert end.endswith("; done")


def test_several_jobs_are_one_experiment(every_line, capfd, caplog):
    specs = [spec_of(), spec_of(variant="moe_top1_switch")]
    leaky = (1, Point(1, 4, 0.3), 0)
    with caplog.at_level("INFO"), Progress(specs, {leaky: 2, (0, ONE, 0): 2}, [3, 0]) as progress:
        progress.advance([leaky], 1, 0.5)
    found = lines(capfd)
    assert found[0].startswith("trial: 3 of 5 runs, 0/4 run epochs, ")
    where = "moe_top1_switch, depth 1, hidden 4, region leak 0.3, epoch 1, loss 0.5000"
    assert found[1].endswith(f"; {where}")
    assert caplog.messages == [
        "moe_mixture: 4 runs: 3 stored, 1 to train",
        "moe_top1_switch: 1 runs: 0 stored, 1 to train",
    ]


def test_a_stack_that_starts_again_counts_once(every_line, capfd):
    with Progress([spec_of()], RUNS, [0]) as progress:
        progress.advance(RUNS, 3, 0.5)
        progress.advance(FIRST[:1], 1, 0.5)
    assert ", 7/12 run epochs, " in lines(capfd)[-1]


def test_epochs_of_a_checkpoint_are_no_speed(every_line, capfd):
    with Progress([spec_of()], RUNS, [0]) as progress:
        progress.advance(RUNS, 3, 0.5, resumed=True)
    assert ", 9/12 run epochs, 0.0/s, ? left" in lines(capfd)[-1]


def test_in_a_slurm_job_the_line_is_in_its_own_log_too(every_line, capfd, monkeypatch):
    with Progress([spec_of()], RUNS, [0]):
        pass
    assert capfd.readouterr().out == ""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with Progress([spec_of()], RUNS, [0]):
        pass
    found = capfd.readouterr()
    assert found.out == found.err != ""


def test_the_last_line_of_a_log_is_read_back():
    standing = Standing("trial fff", 7, 8, 9, 12)
    text = f"INFO fff: 8 runs: 5 stored, 3 to train\n{Standing('trial fff', 5, 8, 0, 12)}, 0.0/s\n"
    assert Standing.last_of(f"{text}{standing}, 0.9/s, 00:03 left; x\nTraceback: \n") == standing
    assert Standing.last_of("INFO command: fastff train --config c.yaml --job trial\n") is None


def test_stored_runs_are_done(every_line, tmp_path, capfd):
    data = blobs()

    def run(seeds):
        spec = spec_of(seeds)
        store = RunStore(tmp_path, run_context(spec, data, "code"))
        train([spec], data, runs_per_stack=1, stores=[store], watch=Progress)
        return lines(capfd)

    assert run((0, 1))[0].startswith("trial moe_mixture: 0 of 4 runs, 0/8 run epochs, ")
    first, *_, last = run((0, 1, 2))
    assert first.startswith("trial moe_mixture: 4 of 6 runs, 0/4 run epochs, ")
    assert last.startswith("trial moe_mixture: 6 of 6 runs, 4/4 run epochs, ")
    assert run((0, 1, 2))[-1].startswith("trial moe_mixture: 6 of 6 runs, 0/0 run epochs, ")
