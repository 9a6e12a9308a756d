"""Checksums written as `algorithm:hexdigest`, such as `md5:8d4fb7e6...`."""

import hashlib
from pathlib import Path


def checksum_bytes(content: bytes, algorithm: str) -> str:
    """Return `algorithm:hexdigest` of `content`."""
    # They detect damage, so a machine that forbids MD5 for security may still compute it.
    return f"{algorithm}:{hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()}"


def checksum_file(path: Path, algorithm: str) -> str:
    """Return `algorithm:hexdigest` of the file at `path`.

    Raises:
        OSError: the file cannot be read.

    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def algorithm_of(checksum: str) -> str:
    """Return the algorithm that `checksum` names: `md5` for `md5:8d4fb7e6...`."""
    return checksum.partition(":")[0]
