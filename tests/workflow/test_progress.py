"""The line that says how far a job is, and the one of a whole run."""

import json
import os

import pytest

from blobs import blobs
from fastff.cli import main
from fastff.config.job import TrainSpec
from fastff.config.model import Grid, Point
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.train.job import train
from fastff.train.store import RunStore, run_context
from fastff.workflow.progress import JOBS, Progress, TrainingJob, run_progress, write_jobs

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
    monkeypatch.setattr("fastff.workflow.progress.LINE_INTERVAL", 0.0)


def test_the_line_counts_runs_epochs_and_time(every_line, capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    with Progress([spec_of()], RUNS, [5]) as progress:
        clock[0] = 10.0
        progress.advance(FIRST, 2, 0.5)
        progress.advance(FIRST, 3, 0.25)
        progress.finish(FIRST)  # early: their last epochs are done with
        progress.advance(LAST, 1, 0.125)
    start, second, third, _, fourth, end = lines(capfd)
    title, where = "trial moe_mixture", "moe_mixture, depth"
    assert start == f"{title}: 5 of 8 runs, 0/12 run epochs, ? left, starting"
    assert second == (
        f"{title}: 5 of 8 runs, 4/12 run epochs, 00:20 left, "
        f"{where} 1, hidden 4, epoch 2, loss 0.5000"
    )
    assert third == (
        f"{title}: 5 of 8 runs, 6/12 run epochs, 00:10 left, "
        f"{where} 1, hidden 4, epoch 3, loss 0.2500"
    )
    assert fourth == (
        f"{title}: 7 of 8 runs, 9/12 run epochs, 00:03 left, "
        f"{where} 2, hidden 4, epoch 1, loss 0.1250"
    )
    assert end.endswith(", done")


def test_several_jobs_are_one_experiment(every_line, capfd, caplog):
    specs = [spec_of(), spec_of(variant="moe_top1_switch")]
    leaky = (1, Point(1, 4, 0.3), 0)
    with caplog.at_level("INFO"), Progress(specs, {leaky: 2, (0, ONE, 0): 2}, [3, 0]) as progress:
        progress.advance([leaky], 1, 0.5)
    found = lines(capfd)
    assert found[0].startswith("trial: 3 of 5 runs, 0/4 run epochs, ")
    where = "moe_top1_switch, depth 1, hidden 4, region leak 0.3, epoch 1, loss 0.5000"
    assert found[1].endswith(f", {where}")
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
    assert ", 9/12 run epochs, ? left" in lines(capfd)[-1]


def test_in_a_slurm_job_the_line_is_in_its_own_log_too(every_line, capfd, monkeypatch):
    with Progress([spec_of()], RUNS, [0]):
        pass
    assert capfd.readouterr().out == ""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with Progress([spec_of()], RUNS, [0]):
        pass
    found = capfd.readouterr()
    assert found.out == found.err != ""


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


NAMES = ("stored", "done", "under_way", "earlier", "waiting")
TRAINING = [TrainingJob(f"logs/train/trial/{name}.log", 10, 5, name != "stored") for name in NAMES]


def started_in(folder) -> float:
    return json.loads((folder / JOBS).read_text())["started"]


@pytest.fixture
def folder(tmp_path):
    """Results of a run of five jobs, one of which had been trained, that started 100 s ago."""
    folder = tmp_path / "quick"
    write_jobs(folder, TRAINING)
    started = started_in(folder)
    for name, age, counts in (
        ("stored", -1000, "10 of 10 runs, 50/50"),
        ("done", 1, "10 of 10 runs, 50/50"),
        ("under_way", 90, "8 of 12 runs, 25/30"),  # 6 of its runs were stored
        ("earlier", -5, "10 of 10 runs, 50/50"),  # of the run before
    ):
        log = folder / f"logs/train/trial/{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        lines = f"trial {name}: 0 of 10 runs, 0/50 run epochs, ? left, starting\n"
        log.write_text(f"{lines}trial {name}: {counts} run epochs, 00:01 left, x\nTraceback: \n")
        os.utime(log, (started + age, started + age))
    return folder


def test_it_counts_what_is_stored_done_and_under_way(folder):
    started = started_in(folder)
    # 75 epochs in 100 s; 5 of the job under way and 50 of each other are missing
    line = run_progress(folder, now=lambda: started + 100)
    assert line == "quick: 28 of 52 runs, 02:20 left of training"


def test_before_the_first_epoch_nothing_tells_the_time(folder):
    for log in (folder / "logs" / "train").rglob("*.log"):
        log.unlink()
    assert run_progress(folder) == "quick: 10 of 50 runs, ? left of training"


def test_when_all_is_trained_the_line_says_so(folder):
    write_jobs(folder, TRAINING[:1])
    assert run_progress(folder) == "quick: 10 of 10 runs, training is done"
    write_jobs(folder, [])
    assert run_progress(folder) == "quick: 0 of 0 runs, training is done"


def test_a_log_without_a_line_is_of_a_job_that_starts(folder):
    write_jobs(folder, TRAINING[-1:])
    (folder / TRAINING[-1].log).write_text("INFO command: fastff train\n")
    assert run_progress(folder) == "quick: 0 of 10 runs, ? left of training"


def test_the_command_prints_one_line(folder, capsys):
    assert main(["progress", str(folder)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("quick: 28 of 52 runs, ")


@pytest.mark.parametrize("content", [None, "{", "[]", json.dumps({"started": 0, "jobs": [{}]})])
def test_where_no_run_was_started_the_file_is_named(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / JOBS).parent.mkdir()
        (tmp_path / JOBS).write_text(content)
    assert main(["progress", str(tmp_path)]) == 2
    assert str(tmp_path / JOBS) in capsys.readouterr().err.splitlines()[-1]
