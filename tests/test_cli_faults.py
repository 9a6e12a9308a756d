"""`fastff train` that is ended, or whose runs fail: exit codes, last lines, and what is left."""

import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch

from fastff.cli import main
from fastff.data.prepare import prepare
from fastff.train import loop

CONFIG = """
name: trial
experiments:
  trial:
    title: A trial
    dataset: mnist5k
    seeds: [0, 1, 2]
    recipe: {epochs: 80, batch_size: 100, learning_rate: 0.001}
    grid: {depth: [2], hidden_features: [8]}
    variants: [moe_mixture]
"""


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    (folder / "trial.yaml").write_text(CONFIG)
    data = prepare("mnist5k", folder)
    config = ["--config", str(folder / "trial.yaml"), "--job", "trial"]
    return ["train", *config, "--data", str(data), "--device", "cpu"]


@pytest.mark.parametrize(("choice", "code"), [("keep", 0), ("error", 1)])
def test_failed_runs_are_kept_or_an_error(choice, code, arguments, tmp_path, capsys, monkeypatch):
    original = loop._build

    def build(spec, seed, data):
        model = original(spec, seed, data)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(torch.inf if seed == 1 else 1.0)
        return model

    monkeypatch.setattr(loop, "_build", build)
    chosen = ["--failed-runs", choice, "--output", str(tmp_path)]
    assert main([*arguments, *chosen]) == code
    runs = pd.read_csv(tmp_path / "runs.csv").set_index("seed")
    assert runs["failed_epoch"].notna().tolist() == [False, True, False]
    assert runs["accuracy_hard"].notna().tolist() == [True, False, True]
    last = capsys.readouterr().err.splitlines()[-1]
    if choice == "error":
        assert last.startswith(
            "fastff train: failed_runs = error: 1 runs failed, the first: trial moe_mixture, "
            "depth 2, hidden 8, seed 1: the loss is no finite number in epoch 1"
        )


@pytest.mark.parametrize("option", ["--output", "--store"])
def test_a_file_in_place_of_a_folder_is_found_before_the_training(option, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    given = {"--output": tmp_path / "out", option: file / "inside"}
    arguments = [word for pair in given.items() for word in map(str, pair)]
    nothing = ["--config", "none.yaml", "--job", "trial", "--data", "none.npz"]
    assert main(["train", *nothing, *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"fastff train: [Errno 20] no folder: '{file}'"


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_ended_training_goes_on_to_the_same_tables(number, arguments, tmp_path):
    def start(name, *more):
        command = [sys.executable, "-m", "fastff", *arguments, "--output", str(tmp_path / name)]
        return subprocess.Popen([*command, *more], stderr=subprocess.PIPE, text=True)

    store = ["--store", str(tmp_path / "store"), "--checkpoint-seconds", "0"]
    with start("whole") as process:
        assert process.wait() == 0
    with start("ended", *store) as process:
        checkpoints = tmp_path / "store" / "checkpoints"
        while not list(checkpoints.glob("trial.*.checkpoint")):
            assert process.poll() is None
        os.kill(process.pid, number)
        lines = process.stderr.read().splitlines()
        code = process.wait()
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert lines[-1].startswith("fastff train: ")
        assert "the same command goes on from" in lines[-1]
    assert not (tmp_path / "ended").exists()
    with start("ended", *store) as process:
        text = process.stderr.read()
        assert process.wait() == 0
    assert "training goes on after epoch" in text
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "ended" / path.name).read_bytes() == path.read_bytes()
    assert list(checkpoints.iterdir()) == []
