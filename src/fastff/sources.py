"""Which source files the result of a stage depends on.

The workflow gives them to its rules as inputs, so that an edit reruns what it touches, and the
run store makes their digest part of a run's key.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent
# what layers import of the kernels; those themselves are loaded where inference uses them
KERNELS = (
    *("kernels/__init__.py", "kernels/activations.py", "kernels/backends.py", "kernels/check.py"),
    *("kernels/dispatch.py", "kernels/functions.py", "kernels/ops.py", "kernels/reference.py"),
)
TRAIN = (
    *("data/__init__.py", "data/dataset.py", "data/errors.py", "data/images.py"),
    *(
        "data/names.py",
        "files.py",
        "sources.py",
        "spec/*.py",
        "tidy.py",
        "layers/*.py",
        "train/*.py",
    ),
    *KERNELS,
)
ANALYSIS = (
    *("data/__init__.py", "data/names.py", "columns.py", "files.py", "spec/*.py", "zoo.py"),
    "analysis/*.py",
)
STAGES: dict[str, tuple[str, ...]] = {
    "prepare": ("data/*.py", "files.py"),
    "train": TRAIN,
    "bench": (*TRAIN, "bench/*.py", "faults.py", "kernels/*.py", "kernels/cuda/*.py"),
    "analysis": ANALYSIS,
    "claims": (
        *(*ANALYSIS, "claims/*.py", "config.py", "experiment.py", "faults.py", "yaml_file.py"),
        *("data/checksum.py", "data/download.py", "data/errors.py"),
    ),
    "site": (
        *(*TRAIN, *ANALYSIS, "site/*.py", "site/templates/*", "site/static/*"),
        *("artifact/costs.py", "jobs.py", "data/outline.py"),
        *("bench/provenance.py", "config.py", "experiment.py", "faults.py", "yaml_file.py"),
        *("data/checksum.py", "data/download.py"),
    ),
}


def stage_files(stage: str) -> list[Path]:
    """Return the source files of a stage, sorted. Raises KeyError for an unknown stage.

    The command line is none of them: what a command is called with, the workflow says.
    """
    files = {path for pattern in STAGES[stage] for path in PACKAGE.glob(pattern)}
    return sorted(path for path in files if path.name != "command.py")


def stage_digest(stage: str) -> str:
    """Return the SHA-256 of a stage's source files: names and contents."""
    digest = hashlib.sha256()
    for path in stage_files(stage):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(PACKAGE)} {len(content)}\n".encode() + content)
    return digest.hexdigest()
