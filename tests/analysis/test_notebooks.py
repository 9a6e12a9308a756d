"""Notebooks: stored bare, thin, and drawing what the config says they draw."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml

from fastff.config import load_config

REPOSITORY = Path(__file__).parents[2]
CONFIG = load_config(REPOSITORY / "config" / "config.yaml")
NAMES = tuple(CONFIG.experiments)
BOOKS = tuple(CONFIG.drawn())
# Lines of the last finding: those of an entry per comparison and accuracy are not listed.
N_LINES = {
    "expert_distribution": 2 * 2,  # variants and depths
    "node_tree": 3,  # variants
    "projection": 4,
    "tree_regions": 1,
    "gradients": 4,  # variants that route
    "region_leak": 2,  # forms
    "parallel_trees": 1,
    "width_depth": 2 * 3,  # routed variants and notions of size
}


# Other tests draw these grids whole; here two depths and two widths will do, in half the time.
LARGE = ("soft_merging", "gate_activation", "expert_distribution")


def corner(folder: Path, to: Path) -> Path:
    """Copy the tables with the first two depths and widths only."""
    to.mkdir()
    for path in folder.iterdir():
        table = pd.read_csv(path)
        for column in ("depth", "hidden_features"):
            table = table[table[column].isin(sorted(table[column].unique())[:2])]
        table.to_csv(to / path.name, index=False)
    return to


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", BOOKS)
def test_stored_without_outputs(name):
    book = stored(name)
    nbformat.validate(book)
    assert book.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in book.cells]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_that_the_workflow_gives(name):
    tagged = [c for c in stored(name).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    given = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(tagged[0].source).body
    }
    assert given == {
        "experiment": name,
        "title": CONFIG.experiments[name].title,
        "tidy": f"results/quick/tidy/{name}",
        "figures": "figures/quick",
        "tables": "results/quick/tables",
        "comparisons": [],
        "best_of_seeds": False,
    }


@pytest.mark.parametrize("name", BOOKS)
def test_notebooks_only_call_the_package(name):
    for cell in stored(name).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.Import | ast.FunctionDef | ast.BinOp)
            if isinstance(node, ast.ImportFrom):
                assert node.module in ("fastff.analysis", "IPython.display")


@pytest.mark.parametrize("name", NAMES)
def test_draws_what_the_config_names(name, default_folders, tmp_path):
    """The notebook serves any block, so it runs under another experiment's name."""
    block, alias = CONFIG.experiments[name], f"{name}_again"
    tidy = default_folders[name]
    if name in LARGE:
        tidy = corner(tidy, tmp_path / "tidy")
    parameters = {
        "experiment": alias,
        "title": block.title,
        "tidy": str(tidy),
        "figures": str(tmp_path / "figures"),
        "tables": str(tmp_path / "tables"),
        "comparisons": [comparison.model_dump() for comparison in block.comparisons],
        "best_of_seeds": True,
    }
    executed = tmp_path / "executed.ipynb"
    notebook = REPOSITORY / "notebooks" / f"{name}.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(executed)]
    command += ["--parameters_yaml", yaml.safe_dump(parameters), "--kernel", "python3"]
    command += ["--no-progress-bar", "--cwd", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    for kind, endings in (("figures", ("pdf", "png", "svg")), ("tables", ("csv", "md", "tex"))):
        stems = block.expand(kind, alias)
        expected = {f"{stem}.{ending}" for stem in stems for ending in endings}
        assert {path.name for path in (tmp_path / kind).iterdir()} == expected

    cells = nbformat.read(executed, as_version=4).cells
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    assert {output.output_type for output in shown} == {"display_data"}
    images = [output for output in shown if "image/png" in output.data]
    assert len(images) == len(block.expand("figures", alias))
    assert all(output.metadata["image/png"]["alt"] for output in images)
    summary = pd.read_csv(tmp_path / "tables" / f"{alias}.csv")
    assert (summary["accuracy_hard_best"] <= 1).all()
    said = [output.data["text/markdown"] for output in cells[-1].outputs]
    assert said[-1].count("\n") + 1 == N_LINES.get(name, len(block.comparisons) * 2 or 1)
    assert not any("nan" in text for text in said)
