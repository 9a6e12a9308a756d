"""The wheel, installed where there are torch, numpy and what these need, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from packaging.requirements import Requirement

import fastff
from fastff import MixtureExperts, RoutedLayer, TreeGate

ROOT = Path(__file__).parents[1]
UNUSED = shutil.ignore_patterns("__pycache__", "*.egg-info")

SCRIPT = """
import logging, sys
from importlib.metadata import version
from importlib.util import find_spec

for name in ("matplotlib", "numba", "pandas", "pydantic", "scipy", "snakemake", "yaml"):
    assert find_spec(name) is None, name

import fastff
assert "torch" not in sys.modules
assert fastff.__file__.startswith(sys.prefix), fastff.__file__
assert fastff.__version__ == version("fastff")

logging.basicConfig(level=logging.INFO)
import torch
fff = fastff.RoutedLayer(fastff.TreeGate(6, 4), fastff.MixtureExperts(16, 6, 3, 4))
fff.load_state_dict(torch.load("state.pt"))
x = torch.load("x.pt")
soft = fff(x)
soft.sum().backward()
fff.eval()
with torch.no_grad():
    hard = fff(x)
    fff(x)
torch.save([soft.detach(), fff.gate.weight.grad, hard], "results.pt")
"""


def run(folder: Path, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command without this environment's variables."""
    left_out = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    done = subprocess.run(command, cwd=folder, env=kept, text=True, capture_output=True)
    assert done.returncode == 0 or not check, done.stderr
    return done


def with_needs(names: Iterable[str]) -> list[metadata.Distribution]:
    """Return installed distributions, and those that they need."""
    found: dict[str, metadata.Distribution] = {}
    waiting, seen = [Requirement(name) for name in names], set()
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        found[wanted.name] = metadata.distribution(wanted.name)
        for needed in map(Requirement, found[wanted.name].requires or []):
            extras = wanted.extras or {""}
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return list(found.values())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy: a build leaves files beside the sources."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=UNUSED)
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", built)
    run(source, sys.executable, "-m", "pip", "wheel", *options, source)
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a fresh environment with the wheel, and links to what it needs."""
    folder = tmp_path_factory.mktemp("light")
    run(folder, sys.executable, "-m", "venv", "--without-pip", "venv")
    programs = folder / "venv/bin"
    install = ("install", "--no-index", "--no-deps", wheel)
    run(folder, sys.executable, "-m", "pip", "--python", programs / "python", *install)
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    for one in with_needs(["torch", "numpy"]):
        for name in {file.parts[0] for file in one.files or []} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(str(one.locate_file(name)))
    return programs


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    inside = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert "fastff/py.typed" in inside
    files = [path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*") if path.is_file()]
    caches = ("__pycache__", "fastff.egg-info")
    assert inside == {str(path) for path in files if not set(caches) & set(path.parts)}


def test_the_wheel_needs_torch_and_numpy_alone(wheel: Path) -> None:
    (about,) = metadata.distributions(path=[str(wheel)])
    needed = [one for one in map(Requirement, about.requires or []) if one.marker is None]
    assert {one.name for one in needed} == {"numpy", "torch"}
    assert about.version == fastff.__version__


def test_layers_work_there_as_here_and_tell_of_numba_once(
    programs: Path, tmp_path: Path, generator: torch.Generator
) -> None:
    gate = TreeGate(6, 4, generator=generator)
    fff = RoutedLayer(gate, MixtureExperts(16, 6, 3, 4, generator=generator))
    x = torch.randn(9, 6, generator=generator)
    torch.save(fff.state_dict(), tmp_path / "state.pt")
    torch.save(x, tmp_path / "x.pt")
    done = run(tmp_path, programs / "python", "-c", SCRIPT)
    (line,) = [line for line in done.stderr.splitlines() if "numba" in line]
    assert line == (
        "INFO:fastff:layers take their plain, slower form on cpu: numba can't be imported "
        "(No module named 'numba')"
    )
    soft, slope, hard = torch.load(tmp_path / "results.pt")
    expected = fff(x)
    expected.sum().backward()
    torch.testing.assert_close(soft, expected.detach())
    torch.testing.assert_close(slope, gate.weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(hard, fff.eval()(x))


@pytest.mark.parametrize("command", [("fastff",), ("fastff", "schema"), ("python", "-m", "fastff")])
def test_the_command_says_what_it_needs(
    command: tuple[str, ...], programs: Path, tmp_path: Path
) -> None:
    done = run(tmp_path, programs / command[0], *command[1:], check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "fastff[study]" in line
