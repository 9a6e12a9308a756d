"""Writing files so that a reader never sees half of one, and knowing who writes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

SUMS = "SHA256SUMS"
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)


def hold(path: Path) -> IO[str] | None:
    """Return an open file that is locked until this process ends.

    However the process ends, even by SIGKILL, the lock ends with it. The processes that it starts
    don't have it.

    Returns:
        The file, to be kept open; None where the file system has no locks, and nobody can tell.

    Raises:
        BlockingIOError: where another process has it.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise
        return None
    return file


def require_folder(path: Path) -> None:
    """Raise NotADirectoryError where no folder can be, for there is a file on the way to it."""
    for place in (path, *path.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "no folder", str(place))


class ChecksumError(ValueError):
    """A file that was changed after it was made; the message names it."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; on success it becomes `path`, on error it goes.

    Parents are made. The data is on disk before the name is, so that a crash leaves the old file
    or the new one, whole.

    Raises:
        OSError: where the file can't be written: a full or read-only disk, or a device, which must
            not become a file. It names `path`, also where the call that failed knows no name, or
            only the temporary one.

    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "neither a file nor a new name", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary: Path | None = None
    handle: int | None = None
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        temporary = Path(name)
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's 0600 would lock out who shares the folder
        temporary.replace(path)
    except OSError as error:
        own = str(path.parent / f".{path.name}.")
        named = error.filename is None or str(error.filename).startswith(own)
        if error.errno not in OF_THE_DISK or not named:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def write_checked(path: Path, content: bytes | memoryview) -> None:
    """Write a file behind a line with its SHA-256, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(f"{digest_of(content)}\n".encode())
        file.write(content)


def read_checked(path: Path) -> bytes:
    """Return what `write_checked` wrote. Raises ValueError for a file that is damaged."""
    digest, _, content = path.read_bytes().partition(b"\n")
    if digest != digest_of(content).encode():
        raise ValueError("its checksum is wrong")
    return content


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the checksums of a folder's files beside them, as `sha256sum --check` reads them."""
    digests = {name: digest_of((folder / name).read_bytes()) for name in names}
    with atomic_path(folder / SUMS) as path:
        path.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))


def check_sums(folder: Path) -> None:
    """Raise ChecksumError unless a folder has the files of its checksums, all and no others."""
    sums = folder / SUMS
    if not sums.is_file():
        raise ChecksumError(f"{SUMS} is missing")
    digests = _read_sums(sums)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if odd := sorted((found - {SUMS}) ^ digests.keys()):
        where = f"not in {SUMS}" if odd[0] in found else "missing"
        raise ChecksumError(f"{odd[0]} is {where}")
    for name, digest in digests.items():
        if digest_of((folder / name).read_bytes()) != digest:
            raise ChecksumError(f"{name} has another checksum than {SUMS} says")


def digest_of(content: bytes | memoryview) -> str:
    """Return the SHA-256 of a content, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _read_sums(sums: Path) -> dict[str, str]:
    lines = sums.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def check_sum(path: Path) -> None:
    """Raise ChecksumError for a file that is other than its checksum beside it says, if one is."""
    sums = path.with_name(SUMS)
    if not sums.exists():
        return
    digest = _read_sums(sums).get(path.name)
    if digest is not None and digest != digest_of(path.read_bytes()):
        raise ChecksumError(f"{path} was changed: {sums} has another checksum")


def _sweep(path: Path) -> None:
    """Delete the temporary files of `path` that a killed process has left: no one holds them."""
    for other in path.parent.iterdir():
        if other.name.startswith(f".{path.name}.") and other.suffix == path.suffix:
            # open for writing, as a network file system wants it for an exclusive lock
            with suppress(OSError), other.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                other.unlink()
