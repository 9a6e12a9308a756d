"""The command line: what the workflow calls, by hand."""

import json

import pandas as pd
import pytest

from fastff.bench.command import bench_spec
from fastff.cli import build_parser, main
from fastff.config import load_config
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


def test_a_spec_and_a_config_file_train_the_same(prepared, config, tmp_path):
    shared = ["--data", str(prepared), "--device", "cpu"]
    by_config = ["--configfile", str(config), "--experiment", "trial", "--variant", "moe_mixture"]
    spec = load_config(config).train_specs("trial")[0].model_dump_json()
    file = tmp_path / "spec.json"
    file.write_text(spec)
    for name, what in {"a": by_config, "b": ["--spec", spec], "c": ["--spec", str(file)]}.items():
        assert main(["train", *what, *shared, "--output", str(tmp_path / name)]) == 0
    for table in ("runs", "epochs", "expert_counts"):
        texts = {(tmp_path / name / f"{table}.csv").read_text() for name in "abc"}
        assert len(texts) == 1


def test_an_experiment_trains_all_its_variants(prepared, config, tmp_path):
    output = tmp_path / "all"
    arguments = ["train", "--configfile", str(config), "--experiment", "trial"]
    assert main([*arguments, "--data", str(prepared), "--output", str(output)]) == 0
    runs = pd.read_csv(output / "runs.csv")
    assert list(runs["variant"]) == ["moe_mixture"] * 2 + ["moe_top1_switch"] * 2
    assert set(runs["experiment"]) == {"trial"}


def test_a_part_of_a_variant_s_runs(prepared, config, tmp_path, capsys):
    arguments = ["train", "--configfile", str(config), "--experiment", "trial"]
    arguments += ["--data", str(prepared), "--output", str(tmp_path / "part")]
    one = [*arguments, "--variant", "moe_mixture"]
    assert main([*one, "--runs", "1-1"]) == 0
    assert list(pd.read_csv(tmp_path / "part" / "runs.csv")["seed"]) == [1]
    for bad, message in {
        (*arguments, "--runs", "0-1"): "--runs needs --variant",
        (*one, "--runs", "1-0"): "--runs: runs = [1, 0]: the first is behind the last",
        (*one, "--runs", "1-2"): "trial moe_mixture, runs = 1-2: allowed are runs 0-1",
    }.items():
        assert main(list(bad)) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(SystemExit):
        main([*one, "--runs", "1"])
    assert "argument --runs: 1: should be two numbers, such as 0-19" in capsys.readouterr().err


def test_progress_is_plain_lines_without_a_terminal(prepared, config, tmp_path, capfd):
    arguments = ["train", "--configfile", str(config), "--experiment", "trial"]
    main([*arguments, "--data", str(prepared), "--output", str(tmp_path / "out")])
    lines = capfd.readouterr().err.splitlines()
    assert any(line.startswith("trial: 4 of 4 runs, 4/4 run epochs, ") for line in lines)
    assert not any("\r" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--experiment": "none"}, "--experiment none: allowed are trial"),
        ({"--variant": "none"}, "--variant none: allowed are moe_mixture, moe_top1_switch"),
        ({"--configfile": "none.yaml"}, "config file none.yaml: No such file"),
        ({"--data": "none.npz"}, "none"),
        ({"--device": "cuda"}, "torch finds no CUDA device here; allowed are auto, cpu"),
    ],
)
def test_bad_input_gives_one_line_and_code_2(changes, message, prepared, config, tmp_path, capsys,
                                             monkeypatch):  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    values = {
        "--configfile": str(config), "--experiment": "trial", "--variant": "moe_mixture",
        "--data": str(prepared), "--output": str(tmp_path / "out"), **changes,
    }  # fmt: skip
    assert main(["train", *(word for pair in values.items() for word in pair)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith("fastff train: ")
    assert message in errors[-1]
    assert not (tmp_path / "out").exists()


def test_a_bad_spec_names_its_keys(prepared, tmp_path, capsys):
    spec = json.dumps({"experiment": "x", "dataset": "mnist"})
    arguments = ["--data", str(prepared), "--output", str(tmp_path / "out")]
    assert main(["train", "--spec", spec, *arguments]) == 2
    printed = capsys.readouterr().err
    for key in ("variant", "grid", "seeds", "recipe"):
        assert f"{key}: Field required" in printed


def test_data_of_another_dataset_is_refused(prepared, config, tmp_path, capsys):
    config.write_text(CONFIG.replace("mnist5k", "fashion_mnist"))
    arguments = ["train", "--configfile", str(config), "--experiment", "trial"]
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


@pytest.mark.parametrize(
    "command", [*COMMANDS, "plan", "costs", "artifact", "progress", "site", "schema"]
)
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
        ("train --spec {} --data d --output o", "--threads"),
        ("plan --configfile c", "--cores"),
        ("plan --configfile c", "--gpus"),
    ],
)
def test_counts_must_be_positive(command, option, value, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), option, value])
    assert stopped.value.code == 2
    assert f"argument {option}: {message}" in capsys.readouterr().err


def test_a_benchmark_by_spec(prepared, config, tmp_path):
    spec = load_config(config).benchmarks["race"].spec().model_dump_json()
    output = tmp_path / "race.csv"
    arguments = ["bench", "--spec", spec, "--data", str(prepared), "--device", "cpu"]
    assert main([*arguments, "--output", str(output)]) == 0
    assert list(pd.read_csv(output)["side"]) == ["plain", "engine"]


def test_a_benchmark_of_a_config_file(config):
    options = ["bench", "--configfile", str(config), "--benchmark", "race"]
    given = build_parser().parse_args([*options, "--data", "x.npz", "--output", "x.csv"])
    assert bench_spec(given) == load_config(config).benchmarks["race"].spec()


def test_operations_are_timed_without_a_dataset(config, tmp_path):
    config.write_text(CONFIG + SPRINT)
    output = tmp_path / "times.csv"
    what = ["--configfile", str(config), "--benchmark", "sprint", "--device", "cpu"]
    assert main(["bench", *what, "--output", str(output)]) == 0
    table = pd.read_csv(output)
    assert table["variant"].tolist() == ["linear", "descent_fused"]
    spec = load_config(config).benchmarks["sprint"].spec().model_dump_json()
    again = ["bench", "--spec", spec, "--output", str(output), "--device", "cpu"]
    assert main(again) == 0
    assert pd.read_csv(output)["variant"].tolist() == ["linear", "descent_fused"]


def test_training_is_not_timed_without_a_dataset(config, tmp_path, capsys):
    what = ["--configfile", str(config), "--benchmark", "race", "--output", str(tmp_path / "t.csv")]
    assert main(["bench", *what]) == 2
    assert "--data is missing: the benchmark trains on mnist5k" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_an_unknown_benchmark_is_named(prepared, config, tmp_path, capsys):
    arguments = ["bench", "--configfile", str(config), "--benchmark", "sprint"]
    code = main([*arguments, "--data", str(prepared), "--output", str(tmp_path / "x.csv")])
    assert code == 2
    assert "--benchmark sprint: allowed are race" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()
