"""What the appendix says, computed from the repository's own files."""

from __future__ import annotations

import json
import lzma
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from fastff.artifact.costs import ALL, MIB
from fastff.config.load import Config
from fastff.data.prepare import DATASETS

GB, MINUTE = 1e9, 60
REFERENCE = Path("results") / "reference"
Row = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """A machine whose measurements are in the repository.

    Attributes:
        name: of its folder under `results/reference`.
        provenance: how its tidy tables came about; empty where it made none.
        costs: what runs of whole configs took there, as `measured_costs` returns it.

    """

    name: str
    provenance: Row
    costs: pd.DataFrame

    @property
    def device(self) -> str:
        """What was measured: a GPU, or a processor with its cores."""
        if self.provenance:
            return str(self.provenance["device_name"])
        return str(self.costs["device_name"].iloc[0]) if len(self.costs) else self.name

    @property
    def is_gpu(self) -> bool:
        """Whether a GPU was measured: only that has a driver."""
        return bool(self.provenance.get("driver"))

    def made(self, name: str) -> Row:
        """Return seconds, runs and peak bytes of a block of the reference; nothing if unknown."""
        return dict(self.provenance.get("made", {}).get(name, {}))


def machines(root: Path) -> list[Machine]:
    """Return the machines with measurements, those with a provenance first."""
    found = []
    for folder in sorted(path for path in (root / REFERENCE).iterdir() if path.is_dir()):
        record, costs = folder / "provenance.json", folder / "costs.csv"
        provenance = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        table = pd.read_csv(costs, keep_default_na=False) if costs.exists() else pd.DataFrame()
        if provenance or len(table):
            found.append(Machine(folder.name, provenance, table))
    return sorted(found, key=lambda machine: not machine.provenance)


def claims(root: Path, config: Config, measured: list[Machine]) -> list[Row]:
    """Return the ledger's claims with target, machine, cost and expected value; none without it.

    A claim about a CPU is of the first machine without a GPU; of any other, the reference's.
    """
    path = root / REFERENCE / "claims.csv"
    if not path.exists():
        return []
    numbers = {key: ["", "nan"] for key in ("effect", "low", "high")}
    ledger = pd.read_csv(path, keep_default_na=False, na_values=numbers)
    rows = []
    for claim in ledger.to_dict("records"):
        machine = _machine_of(str(claim["device"]), measured)
        block = str(claim["experiment"])
        rows.append(
            {str(key): value for key, value in claim.items()}
            | {"path": target_path(root, config, block, str(claim["target"]), machine)}
            | {"machine": machine.name if machine else "–"}
            | _reference_cost(root, machine, block)
            | {"expected": expected(claim["effect"], claim["low"], claim["high"], claim["unit"])}
        )
    return rows


def expected(effect: float, low: float, high: float, unit: str) -> str:
    """Return a value with its interval and unit, a dash where there is none."""
    if pd.isna(effect):
        return "–"
    sign = "" if unit in ("×", "depth", "") else "+"  # a ratio, a place, or a bare number
    value = f"{effect:{sign}.3g}"
    interval = "" if pd.isna(low) or pd.isna(high) else f" ({low:{sign}.3g} to {high:{sign}.3g})"
    return f"{value}{interval} {unit}".strip()


def target_path(
    root: Path, config: Config, block: str, target: str, machine: Machine | None
) -> str:
    """Return the committed table or figure that shows a claim, by its path here; "" for none."""
    choices = [
        Path(config.tables_from or "") / "tables" / f"{target}.md",
        *(Path("figures/reference") / kind / f"{target}.png" for kind in ("", "benchmarks")),
    ]
    if machine is not None:
        choices.append(REFERENCE / machine.name / "benchmarks" / f"{block}.csv")
    return next((str(path) for path in choices if (root / path).exists()), "")


def experiments(config: Config, measured: list[Machine]) -> list[Row]:
    """Return a config's experiments and benchmarks: what each draws, and what it took."""
    machine, costs = _costs_of(config, measured)
    rows = []
    for name, block in config.drawn().items():
        row = {"name": name, "figures": block.expand("figures", name)}
        row |= {"tables": block.expand("tables", name)}
        own = costs[costs["name"] == name] if machine else costs
        rows.append(row | {"machine": machine.name if machine and len(own) else "–"} | _cost(own))
    return rows


def total(config: Config, measured: list[Machine]) -> Row:
    """Return what a whole run of a config took, on the first machine that measured it."""
    machine, costs = _costs_of(config, measured)
    if machine is None:
        return {}
    row = costs[costs["name"] == ALL]
    keys = ("jobs", "device_name", "python", "torch", "commit", "note")
    return {"machine": machine.name} | {key: row.iloc[0][key] for key in keys} | _cost(row)


def trained(root: Path, machine: Machine) -> list[Row]:
    """Return what each block of the reference took on its machine."""
    return [
        {"name": name, "runs": made.get("runs", "–")}
        | {"seconds": f"{made['seconds']:.1f}", "per_run": _per_run(made)}
        | _reference_cost(root, machine, name)
        for name, made in machine.provenance.get("made", {}).items()
    ]


def datasets() -> list[Row]:
    """Return every dataset's licence, split, page and checksums."""
    return [
        {
            "name": name,
            "licence": source.licence,
            "split": source.split,
            "homepage": source.homepage,
            "package": source.package or "–",
            "archives": [pair for a in source.archives for pair in a.checksums().items()],
        }
        for name, source in DATASETS.items()
    ]


def versions(root: Path) -> list[tuple[str, str]]:
    """Return the locked version of each direct dependency of the study, by name."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE):
        locked.setdefault(name.lower(), []).append(version)
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cpu"], *extras["study"]]
    names = {re.split(r"[^\w.-]", text)[0].lower() for text in wanted} - {project["name"]}
    return [(name, " or ".join(dict.fromkeys(locked.get(name, ["–"])))) for name in sorted(names)]


def _costs_of(config: Config, measured: list[Machine]) -> tuple[Machine | None, pd.DataFrame]:
    """Return the first machine that measured a whole run of a config, and what it measured."""
    for machine in measured:
        if len(machine.costs):
            costs = machine.costs[machine.costs["config"] == config.name]
            if ALL in set(costs["name"]):
                return machine, costs
    return None, pd.DataFrame()


def _machine_of(device: str, measured: list[Machine]) -> Machine | None:
    return next((m for m in measured if m.is_gpu == (device != "cpu")), None)


def _reference_cost(root: Path, machine: Machine | None, block: str) -> Row:
    """Return minutes, GB of memory and of disk of a block of the reference; dashes if unknown."""
    made = machine.made(block) if machine else {}
    folder = root / REFERENCE / (machine.name if machine else "") / "tidy" / block
    size = sum(_unpacked(path) for path in sorted(folder.glob("*.csv.xz")))
    return {
        "minutes": digits(made["seconds"] / MINUTE) if "seconds" in made else "–",
        "memory": digits(made["peak_bytes"] / GB) if made.get("peak_bytes") else "–",
        "disk": digits(size / GB) if size else "–",
    }


@cache
def _unpacked(path: Path) -> int:
    with lzma.open(path) as file:
        return sum(len(part) for part in iter(lambda: file.read(2**20), b""))


def _cost(rows: pd.DataFrame) -> Row:
    """Return minutes, GB of memory and of disk of measured steps; dashes for none."""
    if not len(rows):
        return {"minutes": "–", "memory": "–", "disk": "–"}
    return {
        "minutes": digits(rows["wall_seconds"].sum() / MINUTE),
        "memory": digits(rows["peak_mib"].max() * MIB / GB),
        "disk": digits(rows["disk_mib"].sum() * MIB / GB),
    }


def _per_run(made: Row) -> str:
    return digits(made["seconds"] / made["runs"]) if made.get("runs") else "–"


def digits(value: float) -> str:
    """Return a number with two significant digits, and no exponent."""
    return f"{float(f'{value:.2g}'):.4g}" if value < 100 else f"{value:.0f}"


def listed(names: Iterable[str]) -> str:
    """Return names as code, with commas between."""
    return ", ".join(f"`{name}`" for name in names)
