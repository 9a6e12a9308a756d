"""Results as a tar file, and back, with every byte checked."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fastff.archive.crate import METADATA, crate
from fastff.config.load import load_config
from fastff.files import SUMS, atomic_path, check_sums, digest_of, require_folder

# What is left out of a folder of results: it is of the machine, or is made again from the rest.
LEFT_OUT = ("logs", "site", "parameters", "site.json", "rule_graph.dot")
UNPACKED_BYTES = 100 * 2**30  # at most


class ArchiveError(ValueError):
    """A file that is no archive of results; the message names it and the fault."""


def export_results(results: Path, target: Path, repository: Path) -> int:
    """Write the results of a run, figures apart, as a tar file.

    It holds finished runs, tables, executed notebooks, the config, the datasets' records, the
    workflow, and for all of it `SHA256SUMS` and an RO-Crate's description. Names are sorted, owners
    and modes are all the same, so that the same files give the same bytes, also once imported.

    Args:
        results: the folder of a run, such as `results/mine`, with its `config.yaml`.
        target: the file; `.tar`, or `.tar.xz` to compress it.
        repository: the clone that made them: its workflow and citation come along.

    Returns:
        The number of files.

    Raises:
        ArchiveError: for a folder that holds no results, or a name of another kind.
        OSError: for what can't be read or written.

    """
    packed = _is_packed(target)
    if not (results / "config.yaml").is_file() or not (results / "tidy").is_dir():
        raise ArchiveError(f"{results}: no results of a run; they have config.yaml and tidy/")
    files = {path.relative_to(results).as_posix(): path for path in _files(results)}
    config = load_config(results / "config.yaml")
    for name in sorted({block.dataset for block in config.experiments.values()}):
        record = Path(config.data_dir) / f"{name}.json"
        files |= {f"datasets/{name}.json": record} if record.is_file() else {}
    for path in sorted((repository / "workflow").glob("**/*")):
        if path.is_file() and path.suffix in ("", ".smk"):
            files[f"workflow/{path.relative_to(repository / 'workflow').as_posix()}"] = path
    newest = max(int(path.stat().st_mtime) for path in files.values())
    contents = {METADATA: json.dumps(crate(files, repository, newest), indent=1).encode()}
    digests = {name: digest_of(path.read_bytes()) for name, path in files.items()}
    digests |= {name: digest_of(content) for name, content in contents.items()}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    contents = {SUMS: "".join(lines).encode(), **contents}
    with (
        atomic_path(target) as temporary,
        tarfile.open(temporary, "w:xz" if packed else "w:") as tar,
    ):
        for name, content in contents.items():
            _add(tar, name, content, newest)
        for name, path in sorted(files.items()):
            _add(tar, name, path.read_bytes(), int(path.stat().st_mtime))
    return len(files) + len(contents)


def import_results(source: Path, folder: Path) -> int:
    """Unpack what `export_results` wrote into a new folder, whole and checked or not at all.

    An archive is somebody else's: only plain files are taken, whose names are in its manifest and
    lead nowhere else.

    Returns:
        The number of files.

    Raises:
        ArchiveError: for a file that is no such archive, is damaged, or has other files than its
            manifest; and for a folder that isn't empty.
        OSError: for what can't be read or written.

    """
    require_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ArchiveError(f"{folder}: has files; give an empty folder, or one that isn't there")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        unpacked = Path(temporary) / "results"
        n_files = _unpack(source, unpacked)
        if folder.is_dir():
            folder.rmdir()
        unpacked.rename(folder)
    return n_files


@contextmanager
def as_folder(path: Path) -> Iterator[Path]:
    """Yield a folder of results, or for an archive of them a temporary one with its content."""
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "results"
        _unpack(path, folder)
        yield folder


def _files(results: Path) -> Iterator[Path]:
    """Yield the files of a run, but hidden ones and what is left out."""
    for path in sorted(results.rglob("*")):
        parts = path.relative_to(results).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and parts[0] not in LEFT_OUT:
            yield path


def _is_packed(path: Path) -> bool:
    if path.name.endswith((".tar", ".tar.xz")):
        return path.suffix == ".xz"
    raise ArchiveError(f"{path}: the name should end in .tar or .tar.xz")


def _add(tar: tarfile.TarFile, name: str, content: bytes, time: int) -> None:
    entry = tarfile.TarInfo(name)  # of nobody
    entry.size, entry.mtime = len(content), time
    tar.addfile(entry, io.BytesIO(content))


def _unpack(source: Path, folder: Path) -> int:
    folder.mkdir()
    n_bytes = n_files = 0
    try:
        with tarfile.open(source, "r:xz" if _is_packed(source) else "r:") as tar:
            for entry in tar:
                name = PurePosixPath(entry.name)
                if not entry.isreg() or name.is_absolute() or ".." in name.parts:
                    raise ArchiveError(f"{source}: {entry.name!r} is no plain file inside it")
                n_bytes += entry.size
                n_files += 1
                if n_bytes > UNPACKED_BYTES:
                    raise ArchiveError(f"{source}: holds more than {UNPACKED_BYTES:,} bytes")
                tar.extract(entry, folder, filter="data")
    except (tarfile.TarError, EOFError, lzma.LZMAError) as error:
        raise ArchiveError(f"{source} is no archive of results: {error}") from None
    try:
        check_sums(folder)
    except ValueError as error:
        raise ArchiveError(f"{source}: {error}") from None
    return n_files
