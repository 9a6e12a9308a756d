"""The page docs/add_a_gate.md, done: a gate is one class, one spec and one line."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "add_a_gate.md").read_text(encoding="utf-8")
IMPORTS = (
    "from fastff.layers.cosine_gate import CosineGate\n"
    "from fastff.config.gates import CosineGateSpec\n"
)


@pytest.fixture(scope="module")
def with_gate(tmp_path_factory) -> Path:
    """Return a folder with a copy of the package, to which the page's blocks are added."""
    folder = tmp_path_factory.mktemp("with_gate")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    a_class, a_spec = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (line,) = re.findall(r"`(\w+: \w+,)`", PAGE)
    files = re.findall(r"`(src/[\w/]+\.py)`", PAGE)
    assert len(files) == 4, "the base class, and the three files to change"
    new, spec, build = (folder / name for name in files[1:])
    assert not new.exists()
    new.write_text(a_class, encoding="utf-8")
    spec.write_text(f"{spec.read_text(encoding='utf-8')}\n\n{a_spec}", encoding="utf-8")
    text = build.read_text(encoding="utf-8")
    (table,) = re.findall(r"^GATES: .*= \{\n", text, re.MULTILINE)
    text = text.replace(table, f"{IMPORTS}\n{table}    {line}\n")
    build.write_text(text, encoding="utf-8")
    (variant,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    experiment = {
        "title": "A new gate", "notebook": "trial", "dataset": "mnist5k", "seeds": [0, 1],
        "recipe": {"epochs": 2, "batch_size": 64, "learning_rate": 0.01},
        "grid": {"depth": [2], "hidden_features": [4]}, "record": ["gradients", "expert_counts"],
        "variants": [yaml.safe_load(variant)],
    }  # fmt: skip
    config = {"name": "new_gate", "experiments": {"trial": experiment}}
    (folder / "new_gate.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str) -> str:
    """Return what Python prints with the changed package."""
    paths = os.pathsep.join(map(str, (folder / "src", ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": paths},
        text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_it_is_planned_and_trained(with_gate):
    found = json.loads(run(with_gate, str(ROOT / "tests" / "train_new_gate.py"), "new_gate.yaml"))
    assert Path(found["package"]).is_relative_to(with_gate)
    assert found["parts"] == {"gate": 4, "expert_in": 4, "expert_out": 4}
    assert found["planned"] == found["trained"]
    assert found["largest_gradient"] > 0
    assert found["alone"] == found["stacked"]
    assert found["accuracy"] > 0.5  # of five classes
    assert found["n_experts"] > 1


def test_it_is_in_the_contract(with_gate):
    files = ("registry", "overrides", "strides", "copies", "not_finite", "wrong_inputs")
    paths = [str(ROOT / "tests" / "contract" / f"test_{name}.py") for name in files]
    options = ("-q", "-m", "", "-k", "cosine", "-p", "no:cacheprovider", "-n", "0")
    printed = run(with_gate, "-m", "pytest", *options, *paths)
    assert int(re.findall(r"(\d+) passed", printed)[0]) > 50


@pytest.mark.slow
def test_the_whole_contract_and_the_command_that_plans(with_gate):
    options = ("-q", "-m", "", "-k", "cosine", "-p", "no:cacheprovider", "-n", "0")
    run(with_gate, "-m", "pytest", *options, str(ROOT / "tests" / "contract"))
    plan = ("plan", "--configfile", "new_gate.yaml", "--root", str(ROOT), "--device", "cpu")
    assert "trial" in run(with_gate, "-m", "fastff", *plan)


def test_the_page_is_short():
    assert len(PAGE.splitlines()) <= 60
