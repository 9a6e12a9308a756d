"""What libraries write for themselves lies in the temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import nbformat
import pytest

from fastff.workflow.caches import FOLDERS, OWN, cache_folder, redirect_caches

# Writes every cache that there is without a GPU: fonts, compiled loops, a kernel's history.
USE_ALL = """
import fastff.workflow.caches; fastff.workflow.caches.redirect_caches()
import torch, matplotlib.font_manager, IPython
from fastff import kernels
kernels.route(torch.zeros(2, 4), torch.zeros(3, 4))
IPython.core.interactiveshell.InteractiveShell.instance().run_cell("1 + 1")
print("used")
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    clean = (*FOLDERS, OWN, "JUPYTER_PATH", "JUPYTER_PREFER_ENV_PATH", "PYTHONSAFEPATH")
    kept = {key: value for key, value in os.environ.items() if key not in clean}
    with mock.patch.dict(os.environ, kept, clear=True):
        yield folder


def test_the_folder_is_the_user_s_own_and_stays(temporary):
    folder = cache_folder()
    assert folder == temporary / f"fastff-{os.geteuid()}" == cache_folder()
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_name_that_another_has_taken_is_not_used(kind, temporary, tmp_path, monkeypatch):
    taken = temporary / f"fastff-{os.geteuid()}"
    if kind == "open to others":
        taken.mkdir()
        taken.chmod(0o777)
    elif kind == "a link":
        taken.symlink_to(tmp_path)
    else:
        taken.touch()
    folder = cache_folder()
    assert folder != taken
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv(OWN, str(folder))
    assert cache_folder() == folder  # processes that inherit it share it


def test_what_the_user_has_set_stays(temporary, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", "/my/fonts")
    redirect_caches()
    assert os.environ["MPLCONFIGDIR"] == "/my/fonts"
    assert os.environ["NUMBA_CACHE_DIR"] == str(cache_folder() / "numba")


def test_a_job_on_another_machine_has_its_own(temporary, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", "/my/kernels")
    redirect_caches()
    other = temporary / "of the job"
    other.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(other))
    redirect_caches()
    assert os.environ["NUMBA_CACHE_DIR"] == str(other / f"fastff-{os.geteuid()}" / "numba")
    assert os.environ["TRITON_CACHE_DIR"] == "/my/kernels"


def test_nothing_is_written_to_the_home_or_beside_the_code(tmp_path):
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    unset = (*FOLDERS, OWN, "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if key not in unset}
    variables = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    package = Path(sys.modules["fastff"].__file__).parent
    before = set(package.rglob("*.nb[ic]"))
    done = subprocess.run([sys.executable, "-c", USE_ALL], env=kept | variables, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.endswith(": 2\nused\n")
    assert list((tmp_path / "home").iterdir()) == []
    assert set(package.rglob("*.nb[ic]")) == before
    made = {path.name for path in (tmp_path / "tmp" / f"fastff-{os.geteuid()}").iterdir()}
    assert made == {"matplotlib", "numba", "ipython"}


def test_kernels_run_the_environment_s_packages_alone(temporary, tmp_path):
    """In a folder with a module `pandas`, by a user with startup files and a kernel `python3`."""
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "one.py"
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    for path in (startup, kernel):
        path.parent.mkdir(parents=True)
    startup.write_text("started = True")
    kernel.write_text(
        json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"})
    )
    (tmp_path / "pandas.py").write_text("raise SystemExit")
    code = "import pandas\nassert pandas.DataFrame and 'started' not in globals()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, tmp_path / "in.ipynb")
    os.environ["IPYTHONDIR"] = str(tmp_path / "ipython")
    os.environ["JUPYTER_PATH"] = os.environ["JUPYTER_DATA_DIR"] = str(tmp_path / "jupyter")
    redirect_caches()
    command = ["papermill", "in.ipynb", "out.ipynb", "--kernel", "python3", "--no-progress-bar"]
    program = [sys.executable, "-m", *command]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
