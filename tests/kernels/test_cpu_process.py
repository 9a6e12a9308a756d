"""The CPU kernels in processes of their own: where nothing can be written, and at their end."""

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
    # a file, since root may write to any folder
    file = tmp_path / "fastff/kernels/numba/__pycache__"
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


AT_THE_END = """
import atexit, threading, torch
from fastff import NodeTree
torch.set_num_threads(2)
x, tree = torch.randn(3000, 64), NodeTree(64, 64, levels=9).eval()
with torch.no_grad():
    wanted = tree(x)

def check(where):
    with torch.no_grad():
        print(where, torch.equal(tree(x), wanted), flush=True)

def late():
    threading.main_thread().join()
    check("thread")

atexit.register(check, "exit")
threading.Thread(target=late).start()
"""


def test_layers_work_after_the_main_thread_has_ended():
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout == "thread True\nexit True\n", done.stderr
