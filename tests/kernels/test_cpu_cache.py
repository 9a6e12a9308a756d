"""Numba's cache where nothing can be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import fastff

SCRIPT = """
import logging
import torch
logging.basicConfig(level=logging.INFO)
import fastff.kernels
leaf = fastff.kernels.route(torch.ones(2, 3), torch.ones(7, 3))
assert fastff.__file__.startswith({folder!r}) and leaf.tolist() == [7, 7]
"""


def test_a_package_and_a_home_that_cannot_be_written(tmp_path):
    shutil.copytree(
        Path(fastff.__file__).parent, tmp_path / "fastff",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    file = tmp_path / "fastff/kernels/__pycache__"  # a file, since root may write to any folder
    file.touch()
    places = dict.fromkeys(["HOME", "XDG_CACHE_HOME"], f"{file}/home")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(folder=str(tmp_path))],
        env={**environment, **places, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("kernels are compiled anew in every process") == 1
