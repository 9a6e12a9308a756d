"""How far a run is, from its plan and the logs of its jobs."""

import json
import os
from dataclasses import replace

import pytest

from fastff.cli import main
from fastff.progress.line import Standing
from fastff.progress.overall import PLAN, overall
from fastff.progress.plan import PlannedJob, read_plan, write_plan

NAMES = ("stored", "done", "under_way", "earlier", "waiting")
JOBS = [
    PlannedJob(f"trial {name}", f"logs/train/trial/{name}.log", 10, 5, name != "stored")
    for name in NAMES
]


@pytest.fixture
def folder(tmp_path):
    """Results of a run of five jobs, one of which had been trained, that started 100 s ago."""
    folder = tmp_path / "quick"
    write_plan(folder / PLAN, JOBS)
    started = read_plan(folder / PLAN).started
    for name, age, standing in (
        ("stored", -1000, Standing("trial stored", 10, 10, 50, 50)),
        ("done", 1, Standing("trial done", 10, 10, 50, 50)),
        ("under_way", 90, Standing("trial under_way", 8, 12, 25, 30)),  # 6 of its runs were stored
        ("earlier", -5, Standing("trial earlier", 10, 10, 50, 50)),  # of the run before
    ):
        log = folder / f"logs/train/trial/{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{standing}, 1.0/s, 00:00 left; x\n" if name != "waiting" else "")
        os.utime(log, (started + age, started + age))
    return folder


def test_it_counts_what_is_stored_done_and_under_way(folder):
    started = read_plan(folder / PLAN).started
    found = overall(folder, now=lambda: started + 100)
    assert (found.n_done, found.n_runs) == (10 + 10 + 8, 10 + 10 + 12 + 10 + 10)
    # 75 epochs in 100 s; 5 of the job under way and 50 of each other are missing
    assert found.seconds_left == pytest.approx(105 * 100 / 75)
    assert str(found) == "quick: 28 of 52 runs, 02:20 left of training: trial under_way 8/12"


def test_a_line_names_a_few_jobs_only(folder):
    jobs = tuple(Standing(f"trial {name}", 0, 4, 0, 4) for name in "abcde")
    line = str(replace(overall(folder), under_way=jobs, silent=0.0))
    assert line.endswith(": trial a 0/4, trial b 0/4, trial c 0/4, 2 more")


def test_before_the_first_epoch_nothing_tells_the_time(folder):
    for log in (folder / "logs" / "train").rglob("*.log"):
        log.unlink()
    assert str(overall(folder)) == "quick: 10 of 50 runs, ? left of training, none under way"


def test_time_left_is_of_training_only(folder):
    line = str(replace(overall(folder), seconds_left=0.0, under_way=()))
    assert line == "quick: 28 of 52 runs, training is done"


def test_a_line_says_when_no_job_has_said_anything_for_long(folder):
    started = read_plan(folder / PLAN).started
    assert "nothing new" not in str(overall(folder, now=lambda: started + 90 + 59))
    line = str(overall(folder, now=lambda: started + 90 + 3723))
    assert line.endswith(": trial under_way 8/12, nothing new for 1:02:03")


def test_a_log_without_a_line_is_of_a_job_that_starts(folder):
    (folder / "logs/train/trial/waiting.log").write_text("INFO command: fastff train\n")
    assert "trial waiting 0/10" in str(overall(folder))


def test_the_command_prints_one_line(folder, capsys):
    assert main(["progress", str(folder)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("quick: 28 of 52 runs, ")


@pytest.mark.parametrize("content", [None, "{", "[]", json.dumps({"started": 0, "jobs": [{}]})])
def test_where_no_run_was_started_the_file_is_named(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / PLAN).parent.mkdir()
        (tmp_path / PLAN).write_text(content)
    assert main(["progress", str(tmp_path)]) == 2
    assert str(tmp_path / PLAN) in capsys.readouterr().err.splitlines()[-1]
