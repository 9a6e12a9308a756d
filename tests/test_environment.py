"""One list of versions for make, conda and CI, and the Makefile's choice of an environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import fastff

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
GROUPS = [PROJECT["dependencies"], *EXTRAS.values()]
# An extra that builds on another names the package itself.
DECLARED = [Requirement(text) for group in GROUPS for text in group if "fastff[" not in text]
# A requirement of the lock goes over several lines, one for each hash.
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
LINES = [line.partition(" --hash=") for line in LOCK if not line.lstrip().startswith("#")]
PINS = [Requirement(pin.strip()) for pin, _, _ in LINES]
TRIED = SpecifierSet(">=3.11,<3.13")
PLATFORMS = [
    {"python_full_version": python, "sys_platform": system, "platform_machine": machine}
    | {"python_version": python[:4]}
    for python in ("3.11.2", "3.11.14", "3.12.1", "3.12.12")
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]


def pins(environment: dict[str, str]) -> dict[str, str]:
    """Return name -> version of the lock's lines for a platform, by default this one."""
    found: dict[str, str] = {}
    for requirement in PINS:
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"requirements.lock pins {name} twice for {environment}"
            (found[name],) = (specifier.version for specifier in requirement.specifier)
    return found


def is_installed(name: str, version: str) -> bool:
    """Tell whether the version is the installed one, but for a local part such as `+cpu`."""
    found = metadata.distributions(name=name)
    return any(SpecifierSet(f"=={version}").contains(one.version) for one in found)


def test_the_layers_need_torch_and_numpy_and_the_study_the_rest() -> None:
    assert {Requirement(text).name for text in PROJECT["dependencies"]} == {"numpy", "torch"}
    assert [Requirement(text).name for text in EXTRAS["cpu"]] == ["numba"]
    assert "fastff[cpu]" in EXTRAS["study"]
    for name in EXTRAS.keys() - {"cpu", "study"}:
        assert "fastff[study]" in EXTRAS[name], name


def test_every_line_of_the_lock_is_one_exact_version() -> None:
    for pin in PINS:
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        assert "*" not in str(pin.specifier), pin


def test_every_line_of_the_lock_has_the_hashes_of_its_files() -> None:
    """So that pip installs nothing else under this name and version, from whatever index."""
    for pin, option, rest in LINES:
        hashes = f"{option}{rest}".split()
        assert hashes, pin
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), pin


@pytest.mark.parametrize("environment", PLATFORMS, ids=lambda e: "-".join(e.values()))
def test_the_lock_pins_every_dependency_in_its_range(environment: dict[str, str]) -> None:
    locked = pins(environment)
    for requirement in DECLARED:
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"requirements.lock lacks {requirement}"
        assert requirement.specifier.contains(version), f"{version} is not in {requirement}"


def test_the_lock_names_what_the_installed_packages_need() -> None:
    """Follows the dependencies of packages whose installed version is the pinned one."""
    locked = pins({})
    waiting = [canonicalize_name(requirement.name) for requirement in DECLARED]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        assert name in locked, f"requirements.lock lacks {name}"
        if name not in seen and is_installed(name, locked[name]):
            needed = map(Requirement, metadata.requires(name) or [])
            here = [one for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
            waiting += [canonicalize_name(one.name) for one in here]
        seen.add(name)


def test_torch_and_torchvision_are_a_pair() -> None:
    locked = pins({})
    if not is_installed("torchvision", locked["torchvision"]):
        pytest.skip("only the installed torchvision tells its torch, and it is not the pinned one")
    needed = map(Requirement, metadata.requires("torchvision") or [])
    (torch,) = [one for one in needed if one.name == "torch" and one.marker is None]
    assert torch.specifier.contains(locked["torch"])


def test_conda_installs_the_lock_only() -> None:
    """And not the package: where hashes are asked for, pip refuses a folder, which has none."""
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, *tools, pip = content["dependencies"]
    assert content["name"] == PROJECT["name"]
    assert content["channels"] == ["conda-forge"]
    assert Requirement(python).name == "python"
    assert Requirement(python).specifier == TRIED
    assert tools == ["pip", "make"]
    assert pip == {"pip": ["-r requirements.lock"]}
    commands = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    assert "conda activate fastff && pip install --no-deps --editable ." in commands
    assert "pip install --no-deps --requirement requirements-text.lock" in commands


def test_environments_have_a_python_that_was_tried_and_the_package_takes_later_ones() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "(3, 11) <= sys.version_info < (3, 13)" in makefile
    assert all(TRIED.contains(platform["python_full_version"]) for platform in PLATFORMS)
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(">=3.11")
    assert "3.13 is untried" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == fastff.__version__
    assert citation["license"] == PROJECT["license"]


BROKEN = "#!/bin/sh\necho 'python: command not found' >&2\nexit 127\n"
# Makes a .venv whose python notes what it is asked, and fails where a file `broken` says so.
WORKING = """#!/bin/sh
[ "$2" = venv ] || exit 0
mkdir -p .venv/bin && rm -f .venv/.* 2>/dev/null
cat > .venv/bin/python <<'end'
#!/bin/sh
[ "$1" = -c ] && { echo "$PWD/.venv/bin"; exit; }
echo "$*" >> asked
[ ! -e broken ]
end
chmod +x .venv/bin/python
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the files that the choice reads, and `programs` where one python works."""
    folder = tmp_path / "a clone"
    (folder / "programs").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements-text.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("python", "python3", "python3.11", "python3.12"):
        program = folder / "programs" / name
        program.write_text(WORKING if name == "python3.12" else BROKEN, encoding="utf-8")
        program.chmod(0o755)
    return folder


def make(folder: Path, *words: str, programs: str = "") -> subprocess.CompletedProcess[str]:
    # A make that runs these tests must not pass its own options on.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MF"))}
    kept["PATH"] = f"{programs or folder / 'programs'}{os.pathsep}{kept['PATH']}"
    return subprocess.run(["make", *words], cwd=folder, env=kept, text=True, capture_output=True)


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text(encoding="utf-8").splitlines()


def test_clean_empties_folders_through_links(clone: Path) -> None:
    stored = clone / "storage"
    for name in ("reference/kept.csv", "quick/made.csv"):
        (stored / name).parent.mkdir(parents=True)
        (stored / name).touch()
    (clone / "results").symlink_to(stored)
    assert make(clone, "clean").returncode == 0
    assert [path.name for path in stored.rglob("*.csv")] == ["kept.csv"]


def test_make_skips_a_broken_python_and_installs_once(clone: Path) -> None:
    first = make(clone, "env")
    assert first.returncode == 0, first.stderr
    lock, package, text = asked(clone)
    assert lock.endswith("--requirement requirements.lock")
    assert text.endswith("--no-deps --require-hashes --requirement requirements-text.lock")
    assert "--no-deps" in package
    assert package.endswith("--editable .")
    assert make(clone, "env").returncode == 0
    assert len(asked(clone)) == 3


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize(
    ("changed", "installs"),
    [("requirements.lock", 3), ("requirements-text.lock", 2), ("pyproject.toml", 2)],
)
def test_make_installs_again_what_changed(
    clone: Path, changed: str, installs: int, active: bool
) -> None:
    make(clone, "env")
    later = (clone / ".venv/.installed").stat().st_mtime + 10
    os.utime(clone / changed, (later, later))
    if active:
        shutil.copy(clone / ".venv/bin/python", clone / "programs")
    assert make(clone, "env").returncode == 0
    assert len(asked(clone)) == 3 + installs


def test_make_does_an_interrupted_install_again(clone: Path) -> None:
    (clone / "broken").touch()
    assert make(clone, "env").returncode != 0
    (clone / "broken").unlink()
    assert make(clone, "env").returncode == 0
    installed = ["requirements.lock", ".", "requirements-text.lock"]
    assert [line.split()[-1] for line in asked(clone)] == ["requirements.lock", *installed]


def test_make_says_that_no_python_fits(clone: Path) -> None:
    shutil.copy(clone / "programs/python", clone / "programs/python3.12")
    done = make(clone, "env")
    assert done.returncode != 0
    assert "No Python 3.11 or 3.12" in done.stderr
    assert "python3.11 python3.12 python3" in done.stderr
    assert not (clone / ".venv").exists()


def test_make_uses_the_active_environment_of_this_checkout_only(clone: Path) -> None:
    package = find_spec("fastff")
    if package is None or not Path(str(package.origin)).is_relative_to(ROOT):
        pytest.skip("the tests run with a package that is not this checkout's")
    commands = sysconfig.get_path("scripts")
    here = make(ROOT, "--dry-run", "run", programs=commands)
    assert f'"{commands}/snakemake"' in here.stdout
    (clone / "src/fastff").mkdir(parents=True)
    (clone / "src/fastff/__init__.py").touch()
    elsewhere = make(clone, "--dry-run", "run", programs=commands)
    assert f'"{clone}/.venv/bin/snakemake"' in elsewhere.stdout
