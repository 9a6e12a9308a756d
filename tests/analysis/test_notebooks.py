"""Notebooks: stored bare, thin, and drawing what the config says they draw."""

import ast
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from boxes import breaches
from IPython.display import Image

from fastff.analysis import save_figure
from fastff.config.experiment import Experiment
from fastff.config.load import load_config

REPOSITORY = Path(__file__).parents[2]
CONFIG = load_config(REPOSITORY / "config" / "config.yaml")
NAMES = tuple(CONFIG.experiments)
BOOK = {name: block.notebook or name for name, block in CONFIG.drawn().items()}
BOOKS = (*dict.fromkeys(BOOK.values()), "claims")
# each notebook's own experiment: the first that it draws
FIRST = {BOOK[name]: name for name in reversed(NAMES)}
TIMED = tuple(name for name, block in CONFIG.benchmarks.items() if block.kind == "timing")
ENDINGS = ("pdf", "png", "svg")
FORMATS = {"figures": ENDINGS, "tables": ("csv", "md", "tex", "html")}
# Lines of the last finding: those of an entry per comparison and accuracy are not listed.
N_LINES = {
    "expert_distribution": 2 * 2,  # variants and depths
    "node_tree": 3,  # variants
    "projection": 4,
    "top_k": 4,
    "tree_regions": 1,
    "gradients": 4,  # variants that route
    "region_leak": 2,  # forms
    "parallel_trees": 1,
    "width_depth": 2 * 3,  # routed variants and notions of size
    "study_mnist": 8,  # variants
    "fff_table1": 4 + 2,  # variants and shapes
    "fff_table2": 3 * 2,
    "load_balance": 4 * 2,
    "hardening": 3 * 2,
}


# `make reference` draws whole grids; of large ones two depths and two widths will do here.
LARGE = {
    "soft_merging",
    "gate_activation",
    "expert_distribution",
    "learned_transition",
    "hypercube",
}


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


SEEN: dict[str, str] = {}  # the colour of each legend entry, in all figures of this process


def save_checked(figure, folder, name):
    """Save a figure, and check it by the rules for all figures."""
    saved = save_figure(figure, folder, name)
    assert breaches(figure, SEEN) == [], name
    return saved


def run_cells(book: nbformat.NotebookNode, parameters: dict) -> list[list[object]]:
    """Run a notebook's cells here, and return what each code cell displays.

    The workflow's tests run notebooks in kernels, as users do, which takes seconds to start.
    """
    namespace: dict[str, object] = {}
    shown: list[list[object]] = []
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        shown.append([])
        exec(compile(cell.source, "cell", "exec"), namespace)
        if "parameters" in cell.metadata.get("tags", []):
            assert parameters.keys() <= namespace.keys()
            namespace |= parameters
        if "save_figure" in namespace:
            namespace["save_figure"] = save_checked
        if "display" in namespace:
            namespace["display"] = lambda *outputs: shown[-1].extend(outputs)
    return shown


def parameters_of(block: Experiment, name: str, tidy: Path, folder: Path) -> dict:
    """Return a notebook's parameters, for a block under some name; it writes into `folder`."""
    return {
        "experiment": name,
        "title": block.title,
        "tidy": str(tidy),
        "figures": str(folder / "figures"),
        "tables": str(folder / "tables"),
        "labels": {variant.name: variant.label for variant in block.variants},
        "comparisons": [comparison.model_dump() for comparison in block.comparisons],
        "best_of_seeds": True,
    }


@pytest.mark.parametrize("name", BOOKS)
def test_stored_without_outputs(name):
    book = stored(name)
    nbformat.validate(book)
    assert book.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in book.cells]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("name", FIRST.values())
def test_parameters_are_those_that_the_workflow_gives(name):
    tagged = [c for c in stored(BOOK[name]).cells if "parameters" in c.metadata.get("tags", [])]
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
        "labels": {},
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
def test_draws_what_the_config_names(name, default_folders, tmp_path, monkeypatch):
    """The notebook serves any block, so it runs under another experiment's name."""
    block, alias = CONFIG.experiments[name], f"{name}_again"
    tidy = default_folders[name]
    if name in LARGE:
        tidy = corner(tidy, tmp_path / "tidy")
    monkeypatch.chdir(tmp_path)
    shown = run_cells(stored(BOOK[name]), parameters_of(block, alias, tidy, tmp_path))

    for kind, endings in FORMATS.items():
        stems = block.expand(kind, alias)
        expected = {f"{stem}.{ending}" for stem in stems for ending in endings}
        assert {path.name for path in (tmp_path / kind).iterdir()} == expected

    images = [output for outputs in shown for output in outputs if isinstance(output, Image)]
    assert len(images) == len(block.expand("figures", alias))
    assert all(image.alt for image in images)
    summary = pd.read_csv(tmp_path / "tables" / f"{alias}.csv")
    assert (summary["accuracy_hard_best"] <= 1).all()
    said = [output.data for output in shown[-1]]
    assert said[-1].count("\n") + 1 == N_LINES.get(name, len(block.comparisons) * 2 or 1)
    assert not any("nan" in text for text in said)


@pytest.mark.parametrize(
    ("name", "measured_here"), [*((name, True) for name in TIMED), ("node_tree_benchmark", False)]
)
def test_draws_times_that_the_config_names(name, measured_here, tmp_path, monkeypatch):
    """Of what this machine can't measure, the reference is drawn; the notebook serves any block.

    Of one number format only: `make reference` draws them all.
    """
    block, alias = CONFIG.benchmarks[name], f"{name}_again"
    tables = []
    for folder, device in zip(CONFIG.benchmarks_from, ("cuda", "cpu"), strict=True):
        table = pd.read_csv(REPOSITORY / folder / "benchmarks" / f"{name}.csv")
        assert set(table["device"]) == {device}
        tables.append(str(tmp_path / f"{device}.csv"))
        table[table["dtype"] == "float32"].to_csv(tables[-1], index=False)
    n_references = 1 if measured_here else 2  # the CPU's table as if it were this run's
    parameters = {
        "experiment": alias,
        "title": block.title,
        "measured": tables[n_references:],
        "references": tables[:n_references],
        "figures": str(tmp_path / "figures"),
        "tables": str(tmp_path / "tables"),
    }
    monkeypatch.chdir(tmp_path)
    shown = run_cells(stored(name), parameters)
    for kind, endings in FORMATS.items():
        stems = block.expand(kind, alias)
        expected = {f"{stem}.{ending}" for stem in stems for ending in endings}
        assert {path.name for path in (tmp_path / kind).iterdir()} == expected
    for stem in block.expand("tables", alias):
        devices = set(pd.read_csv(tmp_path / "tables" / f"{stem}.csv")["device"])
        assert devices == ({"cuda"} if "training" in stem else {"cpu", "cuda"})
    said = " ".join(output.data for output in shown[-1])
    assert "times faster" in said
    assert "nan" not in said


def test_the_notebook_of_claims_shows_the_ledger(tmp_path):
    ledger = REPOSITORY / "results" / "reference" / "claims.csv"
    parameters = {
        "title": "Which claims hold?",
        "ledger": str(ledger),
        "figures": str(tmp_path),
    }
    figure, tables, lines = run_cells(stored("claims"), parameters)[2:]
    assert {path.name for path in tmp_path.iterdir()} == {f"claims.{end}" for end in ENDINGS}
    assert figure[0].alt == "Which claims hold?"
    claims = pd.read_csv(ledger)
    assert tables[1].data.count("\n") == len(claims) + 1
    assert lines[0].data.count("\n") + 1 == len(claims)
    assert "nan" not in lines[0].data


@pytest.mark.parametrize("times", [[], ["h200", "epyc"]])
def test_draws_a_language_model(times, tmp_path, monkeypatch):
    """The reference's, with times and without."""
    reference = REPOSITORY / "results" / "reference"
    paths = [reference / machine / "benchmarks" / "language_benchmark.csv" for machine in times]
    block = load_config(REPOSITORY / "config" / "paper.yaml").language_models["language_model"]
    parameters = {
        "experiment": "mine",
        "title": block.title,
        "tidy": str(reference / "h200" / "tidy" / "language_model"),
        "times": [str(path) for path in paths],
        "labels": {variant.name: variant.label for variant in block.variants},
        "figures": str(tmp_path / "figures"),
        "tables": str(tmp_path / "tables"),
    }
    monkeypatch.chdir(tmp_path)
    shown = run_cells(stored("language_model"), parameters)
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {f"{name}.{end}" for name in block.expand("figures", "mine") for end in ENDINGS}
    table = pd.read_csv(tmp_path / "tables" / "mine.csv").set_index("variant")
    assert table.loc["dense_1536", "gap_share"] == 1
    assert table.loc["none", "gap_share"] == 0
    said, written = shown[-2][-1].data, shown[-1][-1].data
    assert "95 % of the gap, with 96 of 1,536 units a byte" in said
    assert len(written) > block.generated
    if times:
        timed = load_config(REPOSITORY / "config" / "paper.yaml").benchmarks["language_benchmark"]
        parameters = {
            "experiment": "timed",
            "title": timed.title,
            "measured": [],
            "references": [str(path) for path in paths],
            "figures": str(tmp_path / "figures"),
            "tables": str(tmp_path / "tables"),
        }
        run_cells(stored("language_benchmark"), parameters)
        table = pd.read_csv(tmp_path / "tables" / "timed_times.csv")
        # Two variants were timed compiled, too; what counts is the mode that all were timed in.
        assert (table.groupby(["device", "op"])["mode"].nunique() == 1).all()
        assert (table.groupby(["device", "op"])["label"].nunique() == len(block.variants)).all()
        ratios = table.pivot(index="label", columns=["device", "op"], values="ratio")
        assert (ratios.loc["feed-forward, 1536"] == 1).all()
        assert ratios.loc["experts by hash", ("cpu", "token")] > 1
