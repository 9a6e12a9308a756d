"""Reading a prepared file, arrays with a record beside them, as it was written or not at all."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastff.data.errors import DataError


def read_record(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Return the record beside a prepared file. Raises DataError for one without these keys."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; prepare the dataset first") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); prepare the dataset again") from error
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise DataError(f"{path}: no key {missing[0]!r}; prepare the dataset again")
    return dict(record)


def read_arrays(path: Path, record: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return a prepared file's arrays. Raises DataError where they aren't those of its record."""
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; prepare the dataset first") from error
    with file:  # one handle, so that what was verified is what is read
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != record["sha256"]:
            raise DataError(
                f"{path}: {file.tell()} bytes with SHA-256 {found}; {path.with_suffix('.json')} "
                f"says {record['bytes']} bytes with {record['sha256']}; prepare the dataset again"
            )
        file.seek(0)
        try:
            arrays = np.load(file, allow_pickle=False)
            # Of a lone array, or a member that is none, numpy returns something else.
            if isinstance(arrays, np.lib.npyio.NpzFile):
                read = dict(arrays)
                if all(isinstance(array, np.ndarray) for array in read.values()):
                    return read
            raise ValueError("not an archive of arrays")
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: {error}; prepare the dataset again") from error
