"""Timing in several processes: the rows of all, one that fails, and that none is left behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from fastff.bench.processes import timed_in_processes
from fastff.bench.timing import timing_benchmark
from fastff.config.benchmarks import TimingBenchmarkSpec, TimingCase
from fastff.tables.schema import TIMINGS

CONFIG = f"""
name: trial
extends: [{Path(__file__).parents[2] / "config" / "smoke.yaml"}]
benchmarks:
  sprint:
    title: A sprint
    kind: timing
    processes: 2
    repeats: 1000
    seconds: 1.0
    cases:
      gates: {{device: cpu, op: gate, variants: [linear], in_features: 8, batch: [4], depth: [2]}}
"""
CASE = TimingCase(
    device="cpu", op="gate", variants=("linear", "descent"), in_features=8, batch=(4,), depth=(1, 2)
)
SPEC = TimingBenchmarkSpec(cases={"gates": CASE}, processes=2, repeats=2, seconds=1e-4)


class CalledInChild:
    """What calls a function where it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_the_rows_of_every_process_follow_each_other():
    table = timed_in_processes(timing_benchmark, SPEC, [torch.device("cpu")])
    assert tuple(table.columns) == TIMINGS.header
    assert table["process"].tolist() == [0] * 4 + [1] * 4
    one = timed_in_processes(
        timing_benchmark, SPEC.model_copy(update={"processes": 1}), [torch.device("cpu")]
    )
    assert one["process"].tolist() == [0] * 4
    given = [name for name in (*TIMINGS.keys, *TIMINGS.given) if name != "process"]
    for process in (0, 1):
        rows = table[table["process"] == process].reset_index(drop=True)
        assert rows[given].equals(one[given])
    assert table["median_us"].nunique() > 4


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (CalledInChild(os._exit, 7), 7),
        (CalledInChild(signal.raise_signal, signal.SIGKILL), -9),
        (CalledInChild(str, "no device"), 1),
    ],
)
def test_a_process_that_fails_says_its_exit_code(fault, code, capfd):
    with pytest.raises(ChildProcessError, match=f"^process 0 of 2 ended with exit code {code}$"):
        timed_in_processes(timing_benchmark, SPEC, [fault])
    assert ("'str' object has no attribute 'type'" in capfd.readouterr().err) == (code == 1)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_ended_benchmark(number, tmp_path):
    config, output = tmp_path / "trial.yaml", tmp_path / "sprint.csv"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "fastff", "bench", "--config", str(config), "--job", "sprint"]
    command += ["--device", "cpu", "--output", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        while not process.stderr.readline().startswith("INFO process 0: "):
            assert process.poll() is None
        os.kill(process.pid, number)
        lines = process.stderr.read().splitlines()  # until no process can write any more
        code = process.wait()
    deadline = time.monotonic() + 10
    while (left := at_work_in(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert code == (128 + number if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert lines[-1].startswith("fastff bench: interrupted; ")
    assert not output.exists()


def at_work_in(folder: Path) -> list[str]:
    """Return the ids of the processes that work in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # it has just ended, or is a zombie
            if link.readlink() == folder:
                found.append(link.parent.name)
    return found
