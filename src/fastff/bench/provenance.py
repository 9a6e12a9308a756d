"""On what a number was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

import torch


def provenance(device: torch.device) -> dict[str, str | int]:
    """Return the columns that every row of a benchmark carries.

    `device_name`, `driver` (empty on a CPU), `torch`, `clock`, `threads` and `commit` (what
    FASTFF_COMMIT says where it is set, for code that was copied without its history; else of this
    checkout, "+" where it has changes, or modules that aren't in it).
    """
    return {
        "device_name": device_name(device),
        "driver": _driver() if device.type == "cuda" else "",
        "torch": str(torch.__version__),
        "clock": "perf_counter, device synchronised",
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def device_name(device: torch.device) -> str:
    """Return the name of a CUDA device, or of the processor with its number of cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = []
    with suppress(OSError):  # only Linux has it
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {len(names) or 1} cores"


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return _output(query).partition("\n")[0]


def _commit() -> str:
    if given := os.environ.get("FASTFF_COMMIT"):
        return given
    here = ["git", "-C", str(Path(__file__).parents[1])]
    if not _output([*here, "ls-files", "__init__.py"]):
        return ""  # a copy without history, which may lie in another repository
    commit = _output([*here, "rev-parse", "--short=12", "HEAD"])
    changed = _output([*here, "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}+" if changed or _output([*here, "status", "--porcelain", "."]) else commit


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
