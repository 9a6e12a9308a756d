"""`fastff reference`: experiments of several datasets, launch after launch, into one folder."""

from dataclasses import replace

import pandas as pd
import pytest
import yaml

from blobs import blobs
from fastff.cli import main
from fastff.tables.provenance import launch_of, launches
from fastff.tables.read import load_tidy

BLOCK = {
    "title": "T", "notebook": "n", "seeds": [0, 1], "grid": {"depth": [1], "hidden_features": [2]},
    "recipe": {"epochs": 2, "batch_size": 64, "learning_rate": 0.01},
    "variants": ["fff_mixture_log", "moe_mixture"],
}  # fmt: skip


@pytest.fixture
def reference(tmp_path, monkeypatch):
    """Return a function that runs the command on a config of two datasets, and its folder."""
    monkeypatch.setattr(
        "fastff.workflow.reference.load",
        lambda path, device: replace(blobs(str(device)), name=path.stem),
    )
    blocks = {
        "first": BLOCK | {"dataset": "mnist5k"},
        "second": BLOCK | {"dataset": "mnist5k"},
        "other": BLOCK | {"dataset": "mnist"},
    }
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"name": "mine", "device": "cpu", "experiments": blocks}))
    output = tmp_path / "machine"

    def run(*arguments: str, data=("mnist5k.npz", "mnist.npz")) -> int:
        given = ("--configfile", str(config), "--data", *data, "--output", str(output))
        return main(["reference", *given, *arguments])

    return run, output


def test_launches_stand_beside_one_another(reference):
    run, output = reference
    assert run("--only", "first", "other") == 0
    assert run("--only", "second", data=["mnist5k.npz"]) == 0
    one, two = launches(output)
    assert list(one["made"]) == ["first", "other"]
    assert list(one["datasets"]) == ["mnist5k", "mnist"]
    assert list(two["datasets"]) == ["mnist5k"]
    assert two["made"]["second"]["runs"] == 4
    for name in ("first", "second", "other"):
        runs = load_tidy(output / "tidy" / name).runs
        assert set(runs["experiment"]) == {name}
        assert len(runs) == launch_of(output, name)["made"][name]["runs"]
    assert pd.read_csv(output / "tidy/other/runs.csv.xz")["dataset"].unique() == ["mnist"]


def test_what_is_made_anew_is_in_the_last_launch_alone(reference):
    run, output = reference
    assert run() == 0
    assert run("--only", "second") == 0
    assert [list(launch["made"]) for launch in launches(output)] == [["first", "other"], ["second"]]
    assert run("--only", "first", "other") == 0
    assert [list(launch["made"]) for launch in launches(output)] == [["second"], ["first", "other"]]


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        (["--only", "frist"], None, "--only: unknown experiment 'frist', did you mean 'first'?"),
        ([], ["mnist5k.npz"], "other: its dataset is mnist, but --data has mnist5k"),
    ],
)
def test_bad_input_is_refused_before_training(reference, capsys, arguments, data, message):
    run, output = reference
    more = {} if data is None else {"data": data}
    assert run(*arguments, **more) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not output.exists()
