"""Small datasets in the formats of the real ones: IDX files, and records of bytes in a tar."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from fastff.data.cifar10 import CIFAR10_SOURCE, FOLDER, TEST_BATCH, TRAIN_BATCHES
from fastff.data.idx import MNIST_SOURCE
from fastff.data.source import Archive, DatasetSource

IDX_NAMES = tuple(name for archive in MNIST_SOURCE.archives for name in archive.members)
NOWHERE = "http://127.0.0.1:9/"  # the port of "discard": nothing answers


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


# IDX


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_files(seed: int = 0) -> dict[str, bytes]:
    """Return the four files of a dataset of 5 x 4 images, plain."""
    rng = np.random.default_rng(seed)
    arrays = []
    for n in (30, 20):
        arrays += [rng.integers(0, 256, (n, 5, 4)), rng.integers(0, 10, n)]
    return {name: idx(array) for name, array in zip(IDX_NAMES, arrays, strict=True)}


def gzipped(files: dict[str, bytes], mtime: int = 1) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(data, mtime=mtime) for name, data in files.items()}


def idx_source(files: dict[str, bytes], **changes: object) -> DatasetSource:
    """Return the description of `files` (plain); published is their gzipped form."""
    archives = tuple(
        Archive(f"{name}.gz", md5(gzipped(files)[f"{name}.gz"]), {name: sha256(data)})
        for name, data in files.items()
    )
    return replace(MNIST_SOURCE, name="small", archives=archives, base_urls=(NOWHERE,), **changes)


# CIFAR-10


def batch(images: np.ndarray, labels: np.ndarray) -> bytes:
    """Return a batch file of the binary version: images (n, 3, 32, 32)."""
    pixels = images.reshape(len(images), -1).astype(np.uint8)
    return np.concatenate([labels.astype(np.uint8)[:, None], pixels], axis=1).tobytes()


def cifar_parts(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images and labels of each batch, by its name."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.integers(0, 256, (7, 3, 32, 32)).astype(np.uint8), rng.integers(0, 10, 7))
        for name in (*TRAIN_BATCHES, TEST_BATCH)
    }


def cifar_batches(seed: int = 0) -> dict[str, bytes]:
    return {name: batch(*part) for name, part in cifar_parts(seed).items()}


def cifar_tar(batches: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {"batches.meta.txt": b"", **batches}.items():
            member = tarfile.TarInfo(name if "/" in name else f"{FOLDER}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def cifar_source(tar: bytes, batches: dict[str, bytes] | None = None) -> DatasetSource:
    """Return the description of an archive, and of unpacked batches where they are given."""
    members = {name: sha256(content) for name, content in (batches or {}).items()}
    archive = replace(CIFAR10_SOURCE.archives[0], published=sha256(tar), members=members)
    return replace(CIFAR10_SOURCE, name="small", archives=(archive,), base_urls=(NOWHERE,))
