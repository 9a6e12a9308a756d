"""Files of a run store: results by a key of everything that they depend on.

A store may be somebody else's. Each result has the name of its file with it, so that files that
trade places are damaged ones, and no name leads out of the store.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastff.files import read_checked, write_checked

NAME = re.compile(r"[0-9a-f]{64}\.json")  # of a result's file
# of an entry that can't be used, whatever is wrong with it
DAMAGED = (ValueError, KeyError, TypeError, AttributeError)


def entry_path(folder: Path, key: Mapping[str, Any]) -> Path:
    """Return the file of a result: its name is the SHA-256 of its key, JSON values."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return folder / digest[:2] / f"{digest}.json"


def write_entries(path: Path, values: Mapping[str, Any]) -> None:
    """Write results by their files' names, whole or not at all."""
    write_checked(path, json.dumps(values).encode())


def read_entries(path: Path) -> dict[str, Any]:
    """Return results by their files' names. Raises ValueError for a file that is damaged."""
    values = json.loads(read_checked(path))
    if not isinstance(values, dict) or not all(map(NAME.fullmatch, values)):
        raise ValueError("it has other keys than names of runs")
    return values
