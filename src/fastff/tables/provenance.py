"""What made the tables of a reference: a record per launch of `fastff reference`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = "provenance.json"
Launch = dict[str, Any]


def launches(folder: Path) -> list[Launch]:
    """Return the records of a reference's folder, the earliest first; none where it has no file.

    Each has the command, commit, versions and device, `datasets` with their checksums, and `made`:
    seconds, runs and peak bytes by experiment or benchmark. Each of these is in one record only.
    """
    path = folder / FILE
    found: list[Launch] = []
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    return found


def with_launch(earlier: list[Launch], launch: Launch) -> list[Launch]:
    """Return the records with one more, less what it made anew."""
    kept = []
    for record in earlier:
        made = {name: cost for name, cost in record["made"].items() if name not in launch["made"]}
        if made:
            kept.append({**record, "made": made})
    return [*kept, launch]


def launch_of(folder: Path, name: str) -> Launch | None:
    """Return the record that an experiment or benchmark is in; None for none."""
    return next((record for record in launches(folder) if name in record["made"]), None)
