"""Whole runs: the same bytes on any number of cores, every product there, clear failures."""

import json
import re
import shutil
import sys

import nbformat
import pandas as pd
import pytest
import yaml
from trees import TINY, TINY_PATH, copy_tree

from fastff.analysis import load_ledger
from fastff.config.load import CLAIM_FIGURES
from fastff.tables.schema import TIDY
from fastff.workflow.caches import FOLDERS, OWN

FIGURES = (".pdf", ".png", ".svg")


def test_every_product_is_there_and_whole(finished):
    for name, experiment in TINY.experiments.items():
        for figure in experiment.expand("figures", name):
            stem = finished.folder / "figures" / "tiny" / figure
            assert stem.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
            assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
            assert "</svg>" in stem.with_suffix(".svg").read_text()
        for table in experiment.expand("tables", name):
            stem = finished.folder / "results" / "tiny" / "tables" / table
            assert stem.with_suffix(".csv").read_text().count("\n") > 1
            assert stem.with_suffix(".md").read_text().startswith("|")
            assert r"\toprule" in stem.with_suffix(".tex").read_text()
            assert "</table>" in stem.with_suffix(".html").read_text()
        executed = finished.folder / "results" / "tiny" / "notebooks" / f"{name}.ipynb"
        cells = nbformat.read(executed, as_version=4).cells
        assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
        assert "</html>" in executed.with_suffix(".html").read_text()


def test_the_ledger_says_what_the_tables_can_test(finished):
    stem = finished.folder / "results" / "tiny" / "claims"
    ledger = load_ledger(stem.with_suffix(".csv")).set_index("claim")
    tested = ledger[ledger["verdict"] != "not tested"]  # of three seeds
    assert list(tested.index) == [
        "merged_tree_beats_mixed_tree",
        "mixed_tree_fits_better_than_merged_tree",
        "mixed_tree_overfits_more_than_merged_tree",
        "merging_raises_accuracy_at_depths_1_and_2",
    ]
    row = tested.iloc[0]
    assert (row["n"], row["n_shapes"], row["dataset"]) == (3, 4, "mnist5k")
    assert row["kind"] == "generalisation"  # the published value is of CIFAR-10
    assert row["low"] < row["effect"] < row["high"]
    reasons = ledger["reason"]
    assert reasons["merged_moe_beats_learned_router"] == "variant moe_soft_merged was not trained"
    assert reasons["relu_beats_softplus_mixed"] == ("2 seeds; at least 3 are needed")
    assert reasons["leak_costs_accuracy"] == "no runs of experiment study_mnist"
    assert reasons["fff_is_220_times_as_fast_as_feed_forward"] == (
        "no measurements of layer_benchmark"
    )
    assert re.search(r"\| not tested +\|", stem.with_suffix(".md").read_text())
    assert r"\toprule" in stem.with_suffix(".tex").read_text()
    for end, start in ((".pdf", b"%PDF"), (".png", b"\x89PNG"), (".svg", b"<?xml")):
        for name in CLAIM_FIGURES:
            figure = finished.folder / "figures" / "tiny" / f"{name}{end}"
            assert figure.read_bytes().startswith(start)
    page = finished.folder / "results" / "tiny" / "notebooks" / "claims.html"
    assert "Which claims hold?" in page.read_text()


@pytest.mark.slow
def test_two_runs_give_the_same_bytes_on_any_number_of_cores(finished, tmp_path):
    other = copy_tree(tmp_path / "other")
    other.snakemake("--cores", "1")
    command = [sys.executable, "-m", "fastff", "verify", str(finished.folder), str(other.folder)]
    command += ["--exact"]
    done = finished.run([*command, "--name", "tiny"])
    assert re.fullmatch(r"\d+ files identical, 0 not\n", done.stdout)
    products = sum(
        n_formats * len(experiment.expand(kind, name))
        for name, experiment in TINY.experiments.items()
        for kind, n_formats in (("figures", 3), ("tables", 4))
    )
    tidy = (len(TIDY) + 1) * len(TINY.experiments)  # and their checksums
    assert int(done.stdout.split()[0]) == products + tidy  # claims of speed are of times
    for end in ("csv", "md", "tex"):
        ledger = f"results/tiny/claims.{end}"
        assert (other.folder / ledger).read_bytes() == (finished.folder / ledger).read_bytes()

    table = other.folder / "results" / "tiny" / "tables" / "soft_merging.csv"
    table.write_bytes(table.read_bytes().replace(b"0", b"1", 1))
    (other.folder / "figures" / "tiny" / "soft_merging.pdf").unlink()
    done = finished.run([*command, "--name", "tiny"], check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [
        "differs: results/tiny/tables/soft_merging.csv",
        "only on the left: figures/tiny/soft_merging.pdf",
    ]


def test_a_job_repeats_by_hand_from_its_log(finished, tmp_path):
    log = finished.folder / "results/tiny/logs/train/gate_activation/fff_mixture_relu.log"
    command = re.search(r"command: (fastff train .*)", log.read_text()).group(1)
    by_hand = command.replace("results/tiny/jobs", str(tmp_path)).replace(
        "results/tiny/store", str(tmp_path / "store")
    )
    finished.run(["bash", "-c", by_hand])
    for name in ("runs", "epochs", "expert_counts"):
        job = f"gate_activation/fff_mixture_relu/{name}.csv"
        kept = finished.folder / "results" / "tiny" / "jobs" / job
        assert (tmp_path / job).read_bytes() == kept.read_bytes()


def test_a_failing_cell_fails_the_rule_and_leaves_the_notebook(edited):
    path = edited.folder / "notebooks" / "gate_activation.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("raise RuntimeError('a broken cell')"))
    nbformat.write(notebook, path)
    done = edited.snakemake("gate_activation", check=False)
    assert done.returncode != 0
    executed = (edited.folder / "results/tiny/notebooks/gate_activation.ipynb").read_text()
    assert "a broken cell" in executed
    assert not (edited.folder / "figures/tiny/gate_activation.pdf").exists()
    assert not (edited.folder / "results/tiny/notebooks/gate_activation.html").exists()
    assert (edited.folder / "figures/tiny/soft_merging.pdf").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"depth": [0]}, "experiments.soft_merging.grid.depth[0] = 0: Input should be greater"),
        ({"depth": [40]}, "experiments.soft_merging.grid.depth[0] = 40: Input should be less"),
        (
            {"dpeth": [1]},
            "experiments.soft_merging.grid: unknown key 'dpeth', did you mean 'depth'",
        ),
        ({"variants": ["x"]}, "experiments.soft_merging.variants[0] = 'x': unknown variant 'x'"),
        ({"dataset": "x"}, "experiments.soft_merging.dataset = 'x': Input should be 'mnist5k'"),
    ],
)
def test_a_bad_config_is_refused_before_any_job(edit, message, tmp_path):
    tree = copy_tree(tmp_path / "tree")
    values = yaml.safe_load(TINY_PATH.read_text())
    block = values["experiments"]["soft_merging"]
    for key, value in edit.items():
        (block["grid"] if key in ("depth", "dpeth") else block)[key] = value
    (tree.folder / "config" / "bad.yaml").write_text(yaml.safe_dump(values))
    done = tree.snakemake(config="bad", check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tree.folder / "results").exists()


def test_a_bad_claim_is_refused_before_any_job(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    tree.edit("config/claims.yaml", "experiment: soft_merging", "experiment: soft_mergin")
    done = tree.snakemake(check=False)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert (
        "claims.merged_tree_beats_mixed_tree.experiment = 'soft_mergin': unknown experiment"
        in printed
    )
    assert "did you mean 'soft_merging'?" in printed
    assert "Traceback" not in printed
    assert not (tree.folder / "results").exists()


@pytest.mark.slow
def test_results_go_where_the_config_says_and_nothing_elsewhere(finished, tmp_path, monkeypatch):
    """To other folders with all that a name may have, where there is no home to write to."""
    tree = copy_tree(tmp_path / "a tree")
    storage = tmp_path / """my "storage" isn't $HOME, is it? [ü] *;&(x)#%@!`h|\\"""
    values = yaml.safe_load(TINY_PATH.read_text())
    places = {f"{kind}_dir": storage / kind for kind in ("results", "figures", "data")}
    values |= {"name": "mine"} | {key: f"{place}/" for key, place in places.items()}
    values["experiments"] = {"again": values["experiments"]["gate_activation"]}
    values["experiments"]["again"]["notebook"] = "gate_activation"
    (tree.folder / "config" / "mine.yaml").write_text(json.dumps(values))
    shutil.copytree(finished.folder / "results" / "data", places["data_dir"])
    before = set(tree.folder.rglob("*"))
    for variable in (*FOLDERS, OWN, "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tree.folder / "README.md" / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    tree.snakemake(config="mine")
    for end in FIGURES:
        drawn = places["figures_dir"] / "mine" / f"again{end}"
        usual = finished.folder / "figures" / "tiny" / f"gate_activation{end}"
        assert drawn.read_bytes() == usual.read_bytes()
    table = places["results_dir"] / "mine" / "tables" / "again_comparisons.csv"
    usual = finished.folder / "results" / "tiny" / "tables" / "gate_activation_comparisons.csv"
    assert table.read_text().replace("again", "gate_activation") == usual.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"a tree", "tmp", storage.name}
    assert {path.name for path in storage.iterdir()} == {"results", "figures", "data"}
    made = {
        path for path in set(tree.folder.rglob("*")) - before if "__pycache__" not in path.parts
    }
    assert {path.relative_to(tree.folder).parts[0] for path in made} == {".snakemake"}


def test_a_run_says_what_it_took(finished, tmp_path):
    path = tmp_path / "costs.csv"
    command = [sys.executable, "-m", "fastff", "costs", "--configfile", "config/tiny.yaml"]
    finished.run([*command, "--output", str(path), "--note", "a trial"])
    costs = pd.read_csv(path)
    assert set(costs["note"]) == {"a trial"}
    steps = costs.groupby("name")["step"].agg(set)
    assert steps["mnist5k"] == {"prepare"}
    assert all(steps[name] == {"train", "collect", "draw"} for name in TINY.experiments)
    assert steps["claims"] == {"ledger", "draw"}
    whole = costs.set_index("name").loc["all"]
    parts = costs[costs["name"] != "all"]
    n_trained = sum(len(block.variants) for block in TINY.experiments.values())
    assert whole["jobs"] == parts["jobs"].sum() == 1 + n_trained + 2 * len(TINY.experiments) + 2
    assert whole["seconds"] == pytest.approx(parts["seconds"].sum(), abs=1)
    assert max(parts["wall_seconds"]) <= whole["wall_seconds"] < whole["seconds"]
    assert whole["disk_mib"] > parts["disk_mib"].sum() > 1
    assert (parts.loc[parts["step"] != "collect", "disk_mib"] > 0).all()


def test_a_run_says_how_far_it_is(finished):
    command = [sys.executable, "-m", "fastff", "progress", "results/tiny"]
    n_runs = sum(
        len(variant.models(block.grid)) * len(block.seeds)
        for block in TINY.experiments.values()
        for variant in block.variants
    )
    expected = f"tiny: {n_runs} of {n_runs} runs, training is done\n"
    assert finished.run(command).stdout == expected
    printed = "".join(path.read_text() for path in finished.folder.glob(".snakemake/log/*.log"))
    assert "From elsewhere: fastff progress results/tiny" in printed


def test_the_workflow_is_clean_of_lint(finished):
    done = finished.snakemake("--lint", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
