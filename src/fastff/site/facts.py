"""Where a run's results come from: commit, versions, machines, data, and times of its jobs."""

from __future__ import annotations

import json
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from fastff.artifact.costs import MEASURED, measured_jobs
from fastff.bench.provenance import provenance
from fastff.config.load import Config
from fastff.site.manifest import Manifest
from fastff.tables.format import DASH
from fastff.tables.provenance import launches
from fastff.train.device import choose_device

MEASURED_ON = ("device_name", "driver", "torch", "commit")
Facts = dict[str, str]


def here() -> Facts:
    """Return the machine (its GPU where there is one) and the code that write a site."""
    found = provenance(choose_device("auto"))
    facts = {"machine": found["device_name"], "driver": found["driver"], "commit": found["commit"]}
    system = f"{platform.system()} {platform.machine()}"
    facts |= {"system": system, "Python": platform.python_version()}
    return {key: str(value) for key, value in facts.items() if value}


def versions() -> pd.DataFrame:
    """Return the installed version of the package and of what it needs, a row each."""
    needed = [re.split(r"[^\w.-]", text)[0] for text in metadata.requires("fastff") or []]
    found = []
    for name in sorted({"fastff", *needed}, key=str.lower):
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue  # of an optional group
    return pd.DataFrame(found, columns=["package", "version"])


def dates(manifest: Manifest) -> Facts:
    """Return when the oldest and the newest of the figures were drawn."""
    figures = [f"{stem}.svg" for block in manifest.drawn().values() for stem in block.figures]
    times = sorted(Path(path).stat().st_mtime for path in figures)
    shown = [f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC" for time in times]
    return {"first figure drawn": shown[0], "last figure drawn": shown[-1]}


def jobs(config: Config, manifest: Manifest) -> pd.DataFrame:
    """Return time and memory of each job that Snakemake measured, a row each."""
    found = measured_jobs(config, Path(manifest.jobs))
    parts = [path.relative_to(manifest.jobs).with_suffix("").parts for path in found["path"]]
    found["path"] = ["/".join(names[2:]) or names[-1] for names in parts]
    for column in MEASURED:
        found[column] = [DASH if pd.isna(value) else f"{value:.1f}" for value in found[column]]
    shown = ["step", "of", "job", "seconds", "CPU seconds", "peak memory (MiB)"]
    return found.set_axis(shown, axis=1)


def datasets(manifest: Manifest) -> pd.DataFrame:
    """Return source and checksums of the prepared datasets, a row for each file."""
    rows = []
    for path in manifest.datasets:
        record = _read(Path(path))
        about = {"dataset": record["name"], "source": record["source"]}
        about |= {"licence": record["licence"], "split": record["split"]}
        files = [(archive["file"], archive["sha256"]) for archive in record["archives"]]
        for file, digest in [*files, ("prepared", record["sha256"])]:
            rows.append(about | {"file": file, "SHA-256": digest})
    return pd.DataFrame(rows)


def machines(manifest: Manifest) -> pd.DataFrame:
    """Return where the benchmarks were measured, a row for each machine and commit."""
    rows = []
    for name, block in manifest.blocks.items():
        for path in block.data:
            header = pd.read_csv(path, nrows=0).columns
            if not set(MEASURED_ON) <= set(header):
                continue
            table = pd.read_csv(path, usecols=list(MEASURED_ON), dtype=str, keep_default_na=False)
            told = table.drop_duplicates()[list(MEASURED_ON)]
            rows += [(name, *row) for row in told.itertuples(index=False)]
    return pd.DataFrame(rows, columns=["benchmark", "machine", "driver", "torch", "commit"])


def earlier(manifest: Manifest) -> dict[str, Facts]:
    """Return the provenance of earlier results that this run has drawn, by folder and launch."""
    found = {}
    for folder in manifest.earlier:
        for number, launch in enumerate(launches(Path(folder)), 1):
            record = {**launch["versions"], **launch}
            record["datasets"] = ", ".join(" ".join(pair) for pair in launch["datasets"].items())
            record["made"] = ", ".join(launch["made"])
            facts = {key: str(value) for key, value in record.items() if key != "versions"}
            found[f"{folder}, launch {number}"] = facts
    return found


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
