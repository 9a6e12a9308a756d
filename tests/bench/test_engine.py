"""The engine's benchmark: what it writes, and that both sides really train."""

import re
import shutil
import subprocess

import pandas as pd
import pytest
import torch

from blobs import blobs
from fastff.bench.engine import PlainTraining, engine_benchmark
from fastff.bench.provenance import __file__ as PROVENANCE
from fastff.bench.provenance import provenance
from fastff.config.benchmarks import EngineBenchmarkSpec
from fastff.config.model import Grid
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe, SgdSpec
from fastff.data.prepare import prepare
from models import small_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("optimiser", [{}, {"optimiser": SgdSpec()}])
def test_the_plain_way_trains(workers, optimiser, generator):
    model = small_model(PRESETS["moe_mixture"], out_features=5, generator=generator)
    data = blobs()
    recipe = Recipe(epochs=6, batch_size=64, learning_rate=0.05, **optimiser)
    training = PlainTraining(model, data, recipe, workers)
    for _ in range(6):
        assert training.epoch() > 0
    with torch.no_grad():
        right = model(data.test_inputs).argmax(-1) == data.test_labels
    assert right.double().mean() > 0.8


def test_a_row_per_point_side_and_number_of_workers(tmp_path):
    spec = EngineBenchmarkSpec(
        dataset="mnist5k",
        variants=(PRESETS["fff_mixture_log"], PRESETS["mlp_relu"]),
        grid=Grid(depth=(1, 2), hidden_features=(4,)),
        recipe=Recipe(epochs=2, batch_size=256, learning_rate=1e-3),
        runs=2,
        workers=(0,),
        repeats=2,
    )
    table = engine_benchmark(spec, prepare("mnist5k", tmp_path), CPU)
    keys = ["variant", "depth", "side", "workers", "epochs"]
    assert table[keys].values.tolist() == [
        ["fff_mixture_log", 1, "plain", 0, 1],
        ["fff_mixture_log", 1, "engine", 0, 2],
        ["fff_mixture_log", 2, "plain", 0, 1],
        ["fff_mixture_log", 2, "engine", 0, 2],
        ["mlp_relu", 0, "plain", 0, 1],  # which has no depth, and so one point
        ["mlp_relu", 0, "engine", 0, 2],
    ]
    assert (table["s_per_run_epoch"] > 0).all()
    assert (table["s_q25"] <= table["s_per_run_epoch"]).all()
    assert (table["s_per_run_epoch"] <= table["s_q75"]).all()
    plain, engine = (table[table["side"] == side] for side in ("plain", "engine"))
    assert set(plain["runs"]) == {1}
    assert set(engine["runs"]) == {2 * table["threads"].iloc[0]}
    assert set(table["peak_bytes"]) == {0}
    assert set(provenance(CPU)) <= set(table.columns)
    table.to_csv(tmp_path / "table.csv", index=False)
    assert len(pd.read_csv(tmp_path / "table.csv")) == 6


def test_a_machine_is_named():
    found = provenance(CPU)
    assert "cores" in str(found["device_name"])
    assert found["driver"] == ""
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()


def git(folder, *arguments):
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *names, *arguments], check=True, capture_output=True)


def test_a_commit_is_that_of_the_code(tmp_path, monkeypatch):
    """Not that of a repository around a copy, and with a sign where modules aren't in it."""
    monkeypatch.delenv("FASTFF_COMMIT", raising=False)
    module = tmp_path / "copy" / "src" / "fastff" / "bench" / "provenance.py"
    module.parent.mkdir(parents=True)
    shutil.copy2(PROVENANCE, module)
    (module.parents[1] / "__init__.py").touch()
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr("fastff.bench.provenance.__file__", str(module))
    git(tmp_path, "init")
    git(tmp_path, "add", "thesis.tex")
    git(tmp_path, "commit", "-m", "A thesis")
    assert provenance(CPU)["commit"] == ""
    git(tmp_path, "add", "copy")
    git(tmp_path, "commit", "-m", "The code")
    assert re.fullmatch("[0-9a-f]{12}", provenance(CPU)["commit"])
    (module.parent / "mine.py").touch()
    assert provenance(CPU)["commit"].endswith("+")


def test_the_environment_may_say_which_commit(monkeypatch):
    monkeypatch.setenv("FASTFF_COMMIT", "0123abcd")
    assert provenance(CPU)["commit"] == "0123abcd"
    monkeypatch.delenv("FASTFF_COMMIT")
    monkeypatch.setenv("PATH", "")
    assert provenance(CPU)["commit"] == ""
