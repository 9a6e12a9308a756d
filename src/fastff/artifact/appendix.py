"""The artifact appendix: prose from a template, every number from a file of the repository."""

from __future__ import annotations

import lzma
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from fastff.artifact.costs import ALL, COLUMNS, MIB
from fastff.config.load import Config, load_config
from fastff.data.prepare import DATASETS
from fastff.data.text import SHAKESPEARE_SHA256
from fastff.data.text_names import SHAKESPEARE
from fastff.tables.format import DASH
from fastff.tables.provenance import Launch, launches

CONFIGS = ("config", "reference", "paper", "smoke")
REFERENCE = Path("results") / "reference"
GB, MINUTE = 1e9, 60
Row = dict[str, Any]


def appendix(root: Path) -> str:
    """Return the text of docs/artifact.md for a repository.

    Args:
        root: the repository's folder, with `config/`, `results/reference/`, `requirements.lock` and
            `pyproject.toml`.

    Raises:
        ConfigError: for a config that can't be read.
        OSError: for another file that is missing.

    """
    configs = {name: load_config(root / "config" / f"{name}.yaml") for name in CONFIGS}
    measured = machines(root)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["listed"] = lambda names: ", ".join(f"`{name}`" for name in names)
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment.get_template("appendix.md.j2").render(
        configs=configs,
        claims=_claims(root, configs["reference"], measured),
        machines=measured,
        costs=_costs(configs["config"], measured),
        references=[(m, [(one, _trained(root, m, one)) for one in m.launches]) for m in measured],
        datasets=DATASETS,
        text={"name": SHAKESPEARE, "checksum": SHAKESPEARE_SHA256},
        versions=versions(root),
    )


@dataclass(frozen=True)
class Machine:
    """A machine whose measurements are in the repository.

    Attributes:
        name: of its folder under `results/reference`.
        launches: how its tidy tables came about, as `provenance.launches` returns it.
        costs: what runs of whole configs took there, as `measured_costs` returns it.
        devices: what trained or was timed there: a GPU, or a processor with its cores.

    """

    name: str
    launches: list[Launch]
    costs: pd.DataFrame
    devices: tuple[str, ...]

    @property
    def made(self) -> dict[str, Row]:
        """Seconds, runs and peak bytes of each block of the reference that it trained."""
        return {name: cost for launch in self.launches for name, cost in launch["made"].items()}


def machines(root: Path) -> list[Machine]:
    """Return the machines with measurements, those that trained a reference first."""
    found = []
    for folder in sorted(path for path in (root / REFERENCE).iterdir() if path.is_dir()):
        made, costs = launches(folder), folder / "costs.csv"
        table = pd.DataFrame(columns=list(COLUMNS))
        if costs.exists():
            table = pd.read_csv(costs, keep_default_na=False)
        timed = [
            pd.read_csv(path, usecols=["device_name"])["device_name"]
            for path in sorted((folder / "benchmarks").glob("*.csv"))
        ]
        names = [launch["device_name"] for launch in made]
        devices = tuple(dict.fromkeys([*names, *pd.concat([table["device_name"], *timed])]))
        if devices:
            found.append(Machine(folder.name, made, table, devices))
    return sorted(found, key=lambda machine: not machine.launches)


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
    return [(name, " or ".join(dict.fromkeys(locked.get(name, [DASH])))) for name in sorted(names)]


def _claims(root: Path, config: Config, measured: list[Machine]) -> list[Row]:
    """Return the ledger's claims with target, machine, cost and expected value; none without it.

    A claim on runs is of the machine that trained them, one on times of that which has the device.
    """
    path = root / REFERENCE / "claims.csv"
    if not path.exists():
        return []
    numbers = {key: ["", "nan"] for key in ("effect", "low", "high")}
    ledger = pd.read_csv(path, keep_default_na=False, na_values=numbers)
    rows = []
    for claim in ledger.to_dict("records"):
        timed = (m for m in measured if claim["dataset"] in m.devices)
        trained = (m for m in measured if claim["experiment"] in m.made)
        machine = next(timed if claim["device"] else trained, None)
        rows.append(
            {str(key): value for key, value in claim.items()}
            | {"path": _target_path(root, config, claim["experiment"], claim["target"], machine)}
            | {"machine": machine.name if machine else DASH}
            | _reference_cost(root, machine, claim["experiment"])
            | {"expected": expected(claim["effect"], claim["low"], claim["high"], claim["unit"])}
        )
    return rows


def expected(effect: float, low: float, high: float, unit: str) -> str:
    """Return a value with its interval and unit, a dash where there is none."""
    if pd.isna(effect):
        return DASH
    sign = "" if unit in ("×", "depth", "") else "+"  # a ratio, a place, or a bare number
    value = f"{effect:{sign}.3g}"
    interval = "" if pd.isna(low) or pd.isna(high) else f" ({low:{sign}.3g} to {high:{sign}.3g})"
    return f"{value}{interval} {unit}".strip()


def _target_path(
    root: Path, config: Config, block: str, target: str, machine: Machine | None
) -> str:
    """Return the committed table or figure that shows a claim, by its path here; "" for none."""
    choices = [
        *(Path(folder) / "tables" / f"{target}.md" for folder in config.tables_from),
        *(Path("figures/reference") / kind / f"{target}.png" for kind in ("", "benchmarks")),
    ]
    if machine is not None:
        choices.append(REFERENCE / machine.name / "benchmarks" / f"{block}.csv")
    return next((str(path) for path in choices if (root / path).exists()), "")


def _costs(config: Config, measured: list[Machine]) -> dict[str, Row]:
    """Return machine, minutes, GB of memory and of disk by experiment or benchmark.

    They are of the first machine that measured a whole run of the config, with dashes for what it
    didn't measure. `all` is the whole run, where there is one, with all that its row says.
    """
    unknown = dict.fromkeys(("machine", "minutes", "memory", "disk"), DASH)
    costs = dict.fromkeys(config.drawn(), unknown)
    for machine in measured:
        rows = machine.costs[machine.costs["config"] == config.name]
        whole = rows[rows["name"] == ALL]
        if len(whole):
            took = rows.groupby("name").agg(
                minutes=("wall_seconds", "sum"),
                memory=("peak_mib", "max"),
                disk=("disk_mib", "sum"),
            )
            shown = (took / [MINUTE, GB / MIB, GB / MIB]).map(digits).assign(machine=machine.name)
            costs |= shown.to_dict("index")
            costs[ALL] = {**whole.iloc[0], **costs[ALL]}
            break
    return costs


def _trained(root: Path, machine: Machine, launch: Launch) -> list[Row]:
    """Return what each block of the reference that a launch made took on its machine."""
    return [
        {"name": name, "runs": made.get("runs", DASH), "seconds": f"{made['seconds']:.1f}"}
        | {"per_run": digits(made["seconds"] / made["runs"]) if made.get("runs") else DASH}
        | _reference_cost(root, machine, name)
        for name, made in launch["made"].items()
    ]


def _reference_cost(root: Path, machine: Machine | None, block: str) -> Row:
    """Return minutes, GB of memory and of disk of a block of the reference; dashes if unknown."""
    made = machine.made.get(block, {}) if machine else {}
    folder = root / REFERENCE / (machine.name if machine else "") / "tidy" / block
    size = sum(_unpacked_size(path) for path in sorted(folder.glob("*.csv.xz")))
    return {
        "minutes": digits(made["seconds"] / MINUTE) if "seconds" in made else DASH,
        "memory": digits(made["peak_bytes"] / GB) if made.get("peak_bytes") else DASH,
        "disk": digits(size / GB) if size else DASH,
    }


@cache
def _unpacked_size(path: Path) -> int:
    with lzma.open(path) as file:
        return file.seek(0, os.SEEK_END)


def digits(value: float) -> str:
    """Return a number with two significant digits, and no exponent."""
    return f"{float(f'{value:.2g}'):.4g}" if value < 100 else f"{value:.0f}"
