"""The command line: what the workflow calls, by hand."""

import json

import pandas as pd
import pytest

from fastff.analysis.timings import read_times
from fastff.cli import build_parser, main
from fastff.cli.arguments import with_settings
from fastff.config.jobs import TRAIN_SETTINGS
from fastff.config.load import load_config
from fastff.data.prepare import prepare

CONFIG = """
name: trial
experiments:
  trial:
    title: A trial
    dataset: mnist5k
    seeds: [0, 1]
    recipe: {epochs: 1, batch_size: 500, learning_rate: 0.001}
    grid: {depth: [1], hidden_features: [2]}
    variants: [moe_mixture, moe_top1_switch]
benchmarks:
  race:
    title: A race
    kind: engine
    dataset: mnist5k
    recipe: {epochs: 2, batch_size: 500, learning_rate: 0.001}
    grid: {depth: [1], hidden_features: [2]}
    variants: [moe_mixture]
    runs: 1
    workers: [0]
    repeats: 1
"""

SPRINT = """
  sprint:
    title: A sprint
    kind: timing
    repeats: 1
    seconds: 0.0001
    cases:
      gates:
        device: cpu
        op: gate
        variants: [linear, descent_fused]
        in_features: 8
        batch: [4]
        depth: [2]
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare("mnist5k", tmp_path_factory.mktemp("data"))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text(CONFIG)
    return path


def test_an_experiment_trains_all_its_variants(prepared, config, tmp_path):
    output = tmp_path / "all"
    arguments = ["train", "--config", str(config), "--job", "trial"]
    assert main([*arguments, "--data", str(prepared), "--output", str(output)]) == 0
    runs = pd.read_csv(output / "runs.csv")
    assert list(runs["variant"]) == ["moe_mixture"] * 2 + ["moe_top1_switch"] * 2
    assert set(runs["experiment"]) == {"trial"}


def test_a_part_of_a_variant_s_runs(prepared, config, tmp_path, capsys):
    arguments = ["train", "--config", str(config), "--data", str(prepared)]
    arguments += ["--output", str(tmp_path / "part"), "--job"]
    assert main([*arguments, "trial/moe_mixture/1-1"]) == 0
    assert list(pd.read_csv(tmp_path / "part" / "runs.csv")["seed"]) == [1]
    assert main([*arguments, "trial/moe_mixture/1-2"]) == 2
    message = "trial moe_mixture, runs = 1-2: allowed are runs 0-1"
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_config_says_what_the_command_line_does_not(config):
    config.write_text(f"threads: 3\ndevice: cpu\ntf32: true\nfailed_runs: error\n{CONFIG}")
    given = ["train", "--config", str(config), "--job", "trial", "--data", "d", "--output", "o"]
    given += ["--threads", "2", "--no-tf32"]
    options = with_settings(build_parser().parse_args(given), load_config(config), TRAIN_SETTINGS)
    assert {name: getattr(options, name) for name in TRAIN_SETTINGS} == {
        "device": "cpu", "threads": 2, "runs_per_stack": 10, "stacks_at_once": 4,
        "checkpoint_seconds": 300.0, "failed_runs": "error", "tf32": False,
    }  # fmt: skip


def test_progress_is_plain_lines_without_a_terminal(prepared, config, tmp_path, capfd):
    arguments = ["train", "--config", str(config), "--job", "trial"]
    main([*arguments, "--data", str(prepared), "--output", str(tmp_path / "out")])
    lines = capfd.readouterr().err.splitlines()
    assert any(line.startswith("trial: 4 of 4 runs, 4/4 run epochs, ") for line in lines)
    assert not any("\r" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"--job": "tril"},
            "--job tril: unknown experiment 'tril', did you mean 'trial'? allowed: trial",
        ),
        (
            {"--job": "trial/none"},
            "--job trial/none: unknown variant of trial 'none'; allowed: moe_mixture, "
            "moe_top1_switch",
        ),
        (
            {"--job": "trial/moe_mixture/1"},
            "'1' should be the numbers of the first and the last run, such as 0-19",
        ),
        ({"--job": "trial/moe_mixture/"}, "'' should be the numbers of the first and the last"),
        (
            {"--job": "trial/moe_mixture/1-0"},
            "--job trial/moe_mixture/1-0: runs = [1, 0]: the first is behind the last",
        ),
        ({"--config": "none.yaml"}, "config file none.yaml: No such file"),
        ({"--data": "none.npz"}, "none"),
        ({"--device": "cuda"}, "torch finds no CUDA device here; allowed are auto, cpu"),
    ],
)
def test_bad_input_gives_one_line_and_code_2(changes, message, prepared, config, tmp_path, capsys,
                                             monkeypatch):  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    values = {
        "--config": str(config), "--job": "trial/moe_mixture",
        "--data": str(prepared), "--output": str(tmp_path / "out"), **changes,
    }  # fmt: skip
    assert main(["train", *(word for pair in values.items() for word in pair)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("fastff train: ")
    assert message in errors[-1]
    assert not (tmp_path / "out").exists()


def test_data_of_another_dataset_is_refused(prepared, config, tmp_path, capsys):
    config.write_text(CONFIG.replace("mnist5k", "fashion_mnist"))
    arguments = ["train", "--config", str(config), "--job", "trial"]
    arguments += ["--data", str(prepared), "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "is mnist5k; the job needs fashion_mnist" in capsys.readouterr().err


def test_the_first_line_of_the_log_repeats_the_command(caplog, tmp_path):
    with caplog.at_level("INFO"):
        main(["verify", str(tmp_path), str(tmp_path / "a b"), "--name", "x"])
    assert f"command: fastff verify {tmp_path} '{tmp_path}/a b' --name x" in caplog.text


def test_comparing_nothing_is_an_error(tmp_path, capsys):
    assert main(["verify", str(tmp_path), str(tmp_path), "--exact", "--name", "quick"]) == 2
    assert "holds no results of a config named quick" in capsys.readouterr().err


COMMANDS = ("prepare", "train", "collect", "bench", "reference", "claims", "verify")
OTHERS = ("plan", "costs", "artifact", "progress", "site", "schema", "export", "import")


@pytest.mark.parametrize("command", [*COMMANDS, *OTHERS])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: fastff {command}")
    assert len(text.splitlines()) > 5


def test_the_schema_is_json(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Config"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "0: must be at least 1"),
        ("-1", "-1: must be at least 1"),
        ("x", "invalid positive value: 'x'"),
    ],
)
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train --config c --job j --data d --output o", "--threads"),
        ("plan --config c", "--cores"),
        ("plan --config c", "--gpus"),
    ],
)
def test_counts_must_be_positive(command, option, value, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), option, value])
    assert stopped.value.code == 2
    assert f"argument {option}: {message}" in capsys.readouterr().err


def test_a_benchmark_of_training(prepared, config, tmp_path):
    output = tmp_path / "race.csv"
    arguments = ["bench", "--config", str(config), "--job", "race", "--data", str(prepared)]
    assert main([*arguments, "--device", "cpu", "--output", str(output)]) == 0
    assert list(pd.read_csv(output)["side"]) == ["plain", "engine"]


def test_operations_are_timed_without_a_dataset(config, tmp_path):
    config.write_text(CONFIG + SPRINT)
    output = tmp_path / "times.csv"
    what = ["--config", str(config), "--job", "sprint", "--device", "cpu"]
    assert main(["bench", *what, "--output", str(output)]) == 0
    table = pd.read_csv(output)
    assert table["variant"].tolist() == ["linear", "descent_fused"]
    assert table["process"].tolist() == [0, 0]


def test_operations_are_timed_in_several_processes(config, tmp_path):
    config.write_text(CONFIG + SPRINT.replace("timing\n", "timing\n    processes: 2\n"))
    output = tmp_path / "times.csv"
    what = ["--config", str(config), "--job", "sprint", "--device", "cpu"]
    assert main(["bench", *what, "--output", str(output)]) == 0
    table = read_times(output)
    assert table["variant"].tolist() == ["linear", "descent_fused"] * 2
    assert table["process"].tolist() == [0, 0, 1, 1]


def test_a_failed_process_gives_code_2_and_a_line(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fastff.bench.run.choose_device", lambda name: None)  # which no child takes
    config.write_text(CONFIG + SPRINT.replace("timing\n", "timing\n    processes: 2\n"))
    output = tmp_path / "times.csv"
    what = ["--config", str(config), "--job", "sprint", "--device", "cpu"]
    assert main(["bench", *what, "--output", str(output)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "fastff bench: process 0 of 2 ended with exit code 1"
    assert not output.exists()


def test_training_is_not_timed_without_a_dataset(config, tmp_path, capsys):
    what = ["--config", str(config), "--job", "race", "--output", str(tmp_path / "t.csv")]
    assert main(["bench", *what]) == 2
    assert "--data is missing: the benchmark trains on mnist5k" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_an_unknown_benchmark_is_named(prepared, config, tmp_path, capsys):
    arguments = ["bench", "--config", str(config), "--job", "sprint", "--data", str(prepared)]
    arguments += ["--output", str(tmp_path / "x.csv")]
    assert main(arguments) == 2
    message = "--job sprint: unknown benchmark 'sprint'; allowed: race"
    assert message in capsys.readouterr().err
    config.write_text(CONFIG[: CONFIG.index("benchmarks:")])
    assert main(arguments) == 2
    assert "--job sprint: the config has no benchmarks" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()
