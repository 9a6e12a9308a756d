"""The how-to pages of docs/: what each says is done in a copy of the repository, in its order.

A page is read as steps. "Write `path`:" or "Append to `path`:" before a block of code says what
becomes of it; a block of `diff` is applied; a block of `sh` is run.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from trees import ROOT, Tree, copy_tree

STEP = re.compile(
    r"(?:^(?P<verb>Write|Append to) `(?P<path>[^`]+)`:\n\n)?"
    r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Step(NamedTuple):
    """One block of code of a page, with what is to be done with it."""

    verb: str
    path: str
    kind: str
    text: str


def steps_of(name: str) -> list[Step]:
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    return [Step(*(group or "" for group in found.groups())) for found in STEP.finditer(page)]


def follow(name: str, tree: Tree) -> str:
    """Do what a page says, and return what its commands printed."""
    printed = ""
    for step in steps_of(name):
        if step.verb:
            path = tree.folder / step.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if step.verb == "Append to" else "w", encoding="utf-8") as file:
                file.write(step.text)
        elif step.kind == "diff":
            (tree.folder / "page.diff").write_text(step.text, encoding="utf-8")
            tree.run(["git", "apply", "page.diff"])
        else:
            assert step.kind == "sh", f"{name}: what is to be done with {step.text!r}?"
            done = tree.run(["bash", "-euc", step.text])
            printed += done.stdout + done.stderr
    return printed


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return copy_tree(tmp_path / "tree")


def test_an_experiment(tree: Tree) -> None:
    shutil.copytree(ROOT / "results" / "reference", tree.folder / "results" / "reference")
    printed = follow("add_an_experiment", tree)
    assert re.search(r"^train +1$", printed, re.MULTILINE)
    assert re.search(r"^draw_gelu_leaves +1$", printed, re.MULTILINE)
    assert "figures/mine/gelu_leaves.pdf" in printed
    assert "results/mine/tables/gelu_leaves.csv" in printed


def test_a_claim(tree: Tree) -> None:
    runs = Path("results/reference/h100/tidy/hypercube_fashion_mnist")
    shutil.copytree(ROOT / runs, tree.folder / runs)
    follow("add_a_claim", tree)
    ledger = pd.read_csv(tree.folder / "results/my_claims.csv").set_index("claim")
    row = ledger.loc["hypercube_beats_moe"]
    assert row["n"] == 10  # seeds
    assert row["verdict"] != "not tested"
    assert row["low"] < row["effect"] < row["high"]


def test_a_timed_form(tree: Tree) -> None:
    follow("add_a_timed_form", tree)
    table = pd.read_csv(tree.folder / "results/mine/benchmarks/gate_benchmark.csv")
    assert set(table["variant"]) == {"linear", "hypercube"}
    assert set(table["device"]) == {"cpu"}


def test_a_dataset(tree: Tree) -> None:
    printed = follow("add_a_dataset", tree)
    assert (tree.folder / "results/data/digits.json").is_file()
    assert "results/mine/tables/node_tree.csv" in printed
    assert "digits" in (tree.folder / "workflow/schemas/config.schema.json").read_text()
