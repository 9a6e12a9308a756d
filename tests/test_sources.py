"""The files that a stage declares are those its code imports."""

import ast

import pytest

from fastff.sources import PACKAGE, STAGES, stage_digest, stage_files

ENTRY_POINTS = {
    "prepare": ["data/prepare.py"],
    "train": ["train/job.py", "train/tables.py", "train/store.py", "data/dataset.py"],
    "bench": ["bench/*.py"],
    "analysis": ["analysis/*.py"],
    "claims": ["claims/*.py"],
    "site": ["site/build.py"],
}


def imported(path):
    """Return the package's files that a module imports, by its source text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("fastff."):
                stem = PACKAGE.joinpath(*name.split(".")[1:])
                found |= {stem.with_suffix(".py"), stem / "__init__.py"}
    return {path for path in found if path.exists()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_all_it_imports(stage):
    todo = {path for pattern in ENTRY_POINTS[stage] for path in PACKAGE.glob(pattern)}
    todo = {path for path in todo if path.name != "command.py"}
    assert todo
    closure = set()
    while todo:
        path = todo.pop()
        closure.add(path)
        todo |= imported(path) - closure
    assert closure <= set(stage_files(stage))


def test_stages_do_not_share_more_than_they_must():
    assert not set(stage_files("analysis")) & set(PACKAGE.glob("layers/*.py"))
    assert not set(stage_files("train")) & set(PACKAGE.glob("analysis/*.py"))


def test_a_digest_is_of_one_stage():
    assert stage_digest("train") == stage_digest("train")
    assert len({stage_digest(stage) for stage in STAGES}) == len(STAGES)
