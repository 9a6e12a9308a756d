"""A stage's digest is of the code that its result depends on, and of nothing else."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from blobs import blobs
from fastff.config.job import TrainSpec
from fastff.config.model import Grid
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.train.job import train
from fastff.workflow.digests import PACKAGE, STAGES, closure, stage_digest
from fastff.workflow.digests import _read as READ

TRAINING = {"runs", "train", "bench"}  # the stages that train
KINDS = (
    *("moe_mixture", "moe_noisy_top2", "hypercube_mixture", "fff_mixture_leak30"),
    *("fff_soft_merged_relu", "mlp_prelu", "node_trees_32", "cnn_to_plane", "fff_on_plane"),
)


def package(folder: Path, **files: str) -> Path:
    """Write a package `made_up` of these modules, a "__" in whose names stands for a folder."""
    root = folder / "made_up"
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in {root, *(path.parent for path in root.rglob("*.py"))}:
        (path / "__init__.py").touch()
    return root


def found(folder: Path, text: str, **files: str) -> set[str]:
    """Return the modules, without the package's name, that a module of this text leads to."""
    modules = closure(["made_up.start"], package(folder, start=text, **files))
    return {name.removeprefix("made_up.") for name in modules} - {"start"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import made_up.one, made_up.sub.two as two", {"one", "sub.two"}),
        ("from made_up.one import x", {"one"}),
        ("from made_up.sub.two import x", {"sub.two"}),  # nothing is taken from sub/__init__.py
        ("from made_up.sub import two", {"sub", "sub.two"}),
        ("from made_up.sub import x", {"sub"}),
        ("from .sub import two", {"sub", "sub.two"}),
        ("from .sub.two import x", {"sub.two"}),
        ("def f():\n    if x:\n        from made_up import one", {"made_up", "one"}),
        ("from made_up.deep import x", {"deep", "one"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import made_up.one", set()),
        ("if typing.TYPE_CHECKING:\n    pass\nelse:\n    import made_up.one", {"one"}),
        ("import importlib\nimportlib.import_module('made_up.one')", set()),
        ("import json, made_upper.one\nfrom one import x", set()),
    ],
)  # fmt: skip
def test_imports_are_followed(text, expected, tmp_path):
    files = {"one": "", "sub__two": "", "deep": "from made_up.one import y"}
    assert found(tmp_path, text, **files) == expected


def test_a_missing_module_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"made_up: there is no module made_up\.two"):
        closure(["made_up.two"], package(tmp_path, one=""))


TEXT = '''"""A module."""
import typing

X = 1  # a comment


class C:
    """A class."""

    y: int = 2
    """An attribute."""

    def f(self, a, *, b=None):
        """A method."""
        return f"a{a!r:>{b}}c" "d" f"{{{a}" + u"e", [x async for x in a], a[1:, ...], -1.0
'''
# The same for every version of Python: a run that was stored by one is found by another.
DIGEST = "3800e48f854a90b935b7e0a867d72217f7d23a84bb7d0f307a272fce7734f6b5"


def digest_of(folder, text, monkeypatch):
    monkeypatch.setattr("fastff.workflow.digests.STAGES", {"made_up": ("made_up.one",)})
    folder.mkdir()
    return stage_digest("made_up", package(folder, one=text))


def test_a_digest_is_the_same_for_every_version_of_python(tmp_path, monkeypatch):
    assert digest_of(tmp_path / "a", TEXT, monkeypatch) == DIGEST


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another"),
        ('"""A module."""\n', ""),
        ('"""A class."""', '"""Another class."""'),
        ('    """An attribute."""\n', ""),
        ('        """A method."""\n', '        """A method.\n\n        Of a class."""\n\n'),
        ("import typing\n", "import typing\n\nif typing.TYPE_CHECKING:\n    from ast import AST\n"),
        ("a[1:, ...]", "a[\n            1:,  # and all others\n            ...,\n        ]"),
    ],
)
def test_what_is_said_of_code_does_not_count(old, new, tmp_path, monkeypatch):
    assert old in TEXT
    assert digest_of(tmp_path / "a", TEXT.replace(old, new), monkeypatch) == DIGEST


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X = 1", "X = 2"),
        ("X = 1", "X = True"),
        ("X = 1", "X = '1'"),
        ("y: int", "z: int"),
        ("import typing", "import typing as t"),
        ("b=None", "b"),
        ("a, *, b", "a, b"),
        ("}}c", "}}C"),
        ("!r", "!s"),
        ("async ", ""),
        ("-1.0", "-1"),
        ("        return", "        pass\n        return"),
    ],
)
def test_code_counts(old, new, tmp_path, monkeypatch):
    assert old in TEXT
    assert digest_of(tmp_path / "a", TEXT.replace(old, new), monkeypatch) != DIGEST


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    return {stage: stage_digest(stage) for stage in STAGES}


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """A copy of the package, to edit."""
    copy = tmp_path_factory.mktemp("copied") / "fastff"
    return shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))


def test_a_digest_is_of_one_stage(digests):
    assert len({*digests.values()}) == len(STAGES)


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("layers/experts.py", "Banks of experts", "Collections of experts", set()),
        ("layers/experts.py", "# (..., e, h)", "# of hidden units", set()),
        ("data/images.py", '"""Images', "# Edited\n\n\n" '"""Pictures', set()),
        ("workflow/progress.py", '"starting"', '"about to start"', set()),
        ("workflow/digests.py", "RUNS = (", "NOTHING = ()\nRUNS = (", set()),
        ("cli/train.py", "MAX_SECONDS = 1e6", "MAX_SECONDS = 1e5", set()),
        ("__init__.py", '__version__ = "', '__version__ = "1.', set()),
        ("verify/exact.py", "", "ADDED = 1\n", set()),
        (
            *("config/timed_forms.py", '"tree, product"', '"tree, as a product"'),
            {"analysis", "bench", "claims", "site"},
        ),
        ("data/names.py", '"mnist": D', '"letters": D', {"bench", "site"}),
        ("config/presets.py", '"MoE, top-1, Switch"', '"Switch"', {"analysis", "site"}),
        ("config/display.py", '"MNIST-5k"', '"5,000 digits"', {"analysis", "claims", "site"}),
        ("layers/experts.py", "p * hidden", "hidden * p", {*TRAINING, "language", "site"}),
        ("data/images.py", "values = np.arange(256) / 255", "values = np.arange(256) / 256",
         {*TRAINING, "prepare", "site"}),
        ("data/mnist5k.py", "N_TEST = 1000", "N_TEST = 900", {"prepare"}),
        ("train/loop.py", "orders = [", "orders = [*()] + [", TRAINING),
        ("train/tables.py", '"best_epoch":', '"epoch_of_the_best":', {"train"}),
        ("tables/collect.py", "rows = [", "rows = [*()] + [", {"collect"}),
        ("kernels/numba/loops.py", "", "ADDED = 1\n", {"bench", "language"}),
        ("kernels/triton/numerics.py", "", "ADDED = 1\n", {"bench", "language"}),
        ("language/model.py", "STD = 0.02", "STD = 0.03", {"bench", "language"}),
        ("config/language_models.py", "BALANCE = 0.01", "BALANCE = 0.02", {"site"}),
        ("bench/measure.py", "", "ADDED = 1\n", {"bench"}),
        ("analysis/style.py", "", "ADDED = 1\n", {"analysis"}),
        ("claims/times.py", "", "ADDED = 1\n", {"claims"}),
        ("site/templates/index.rst.j2", "compared.", "compared here.", {"site"}),
    ],
)  # fmt: skip
def test_an_edit_changes_the_digests_of_what_it_touches(
    path, old, new, expected, digests, copied, monkeypatch
):
    edited = ".".join(["fastff", *Path(path).with_suffix("").parts]).removesuffix(".__init__")

    def read(package, name):  # all but the edited module once
        return (READ.__wrapped__ if name == edited else READ)(package, name)

    monkeypatch.setattr("fastff.workflow.digests._read", read)
    text = (copied / path).read_text()
    assert old in text
    (copied / path).write_text(text.replace(old, new, 1) if old else text + new)
    changed = {stage for stage in STAGES if stage_digest(stage, copied) != digests[stage]}
    (copied / path).write_text(text)
    assert changed == expected


def test_stages_stand_apart():
    runs = {name.split(".")[1] for name in closure(STAGES["runs"])}
    assert runs == {"config", "data", "files", "kernels", "layers", "train"}
    parts = ("errors", "experiment", "jobs", "load", "presets", "yaml_file")
    assert not {f"fastff.config.{part}" for part in parts} & {*closure(STAGES["runs"])}
    assert not {"fastff.kernels.numba", "fastff.kernels.triton"} & {*closure(STAGES["runs"])}
    for stage in STAGES:
        modules = closure(STAGES[stage])
        assert not {"fastff", "fastff.cli", "fastff.workflow.digests"} & {*modules}
        assert not [name for name in modules if name.startswith("fastff.cli")]


# Of what a stage's command does, all but this is its result: options, messages, and the key itself.
COMMAND_LINE = {
    *(
        "fastff.cli.arguments",
        "fastff.config.load",
        "fastff.config.errors",
        "fastff.config.jobs",
        "fastff.workflow.digests",
    ),
    *("fastff.claims.load", "fastff.claims.page"),
    "fastff.workflow.progress",
}


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("prepare", "cli/commands.py"),
        ("train", "cli/train.py"),
        ("collect", "cli/commands.py"),
        ("bench", "cli/commands.py"),
        ("claims", "cli/results.py"),
        ("site", "cli/results.py"),
    ],
)
def test_a_stage_has_all_that_its_command_calls(stage, path):
    tree = ast.parse((PACKAGE / path).read_text())
    (function,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == f"_{stage}"
    )
    called = {node.module for node in ast.walk(function) if isinstance(node, ast.ImportFrom)}
    assert called - {"fastff.files"} > called & COMMAND_LINE
    assert called - COMMAND_LINE <= {*closure(STAGES[stage]), "fastff.files"}
    assert called & {*closure(STAGES[stage])}


def copy_alone(stage: str, folder: Path) -> None:
    """Copy a stage's modules, and of the packages on the way to them an empty `__init__`."""
    for name in closure(STAGES[stage]):
        stem = PACKAGE.joinpath(*name.split(".")[1:])
        source = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
        target = folder / source.relative_to(PACKAGE.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    for path in [folder / "fastff", *(folder / "fastff").rglob("*")]:
        if path.is_dir():
            (path / "__init__.py").touch()


# Loads what stages have in common once, and then has a process for each.
ALONE = """
import importlib, json, os, sys
import matplotlib, numba, numpy, pandas, pydantic, scipy.stats, seaborn, sklearn, torch

def train(specs, tests):
    from fastff.config.job import TrainSpec
    from fastff.train.job import train
    sys.path.append(tests)
    from blobs import blobs
    specs = [TrainSpec.model_validate(spec) for spec in specs]
    jobs = train(specs, blobs(), runs_per_stack=2)
    print(json.dumps([[result.to_json() for result in job.values()] for job in jobs]), flush=True)

torch.set_num_threads(1)
for stage, modules in json.loads(sys.argv[1]).items():
    if (child := os.fork()) == 0:
        sys.path.insert(0, os.path.abspath(stage))
        for module in modules:
            importlib.import_module(module)
        if stage == "runs":
            train(json.loads(sys.argv[2]), sys.argv[3])
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"stage {stage}")
"""


def test_the_modules_of_a_stage_are_enough(tmp_path):
    """Without all others they load, and train to the same numbers.

    The kernels are none of those that train: a run that took one would end in an ImportError.
    """
    for stage in STAGES:
        copy_alone(stage, tmp_path / stage)
    specs = [
        TrainSpec(
            experiment="trial",
            dataset="mnist5k",
            variant=PRESETS[name],
            grid=Grid(depth=(2,), hidden_features=(4,)),
            seeds=(0, 1),
            recipe=Recipe(epochs=1, batch_size=64, learning_rate=0.01),
            record=("gradients", "expert_counts", "nodes"),
        )
        for name in KINDS
    ]
    values = json.dumps([spec.model_dump(mode="json") for spec in specs])
    done = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(STAGES), values, str(Path(__file__).parent)],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = train(specs, blobs(), runs_per_stack=2)
    results = [[result.to_json() for result in job.values()] for job in here]
    assert json.loads(done.stdout) == json.loads(json.dumps(results))
