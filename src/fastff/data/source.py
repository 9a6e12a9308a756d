"""What a dataset is made from: its archives, their checksums, and where they are found."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastff.data.download import (
    algorithm_of,
    check_mirror,
    checksum_bytes,
    checksum_file,
    download,
)
from fastff.data.errors import DataError
from fastff.data.images import LabelledImages

MOST_BYTES = 200_000_000  # that a gzipped file may hold: four times what the largest does


@dataclass(frozen=True)
class Archive:
    """One file that a dataset's publisher offers.

    Attributes:
        filename: its name in a folder, and below a base URL.
        published: checksum of the file as published, `algorithm:hexdigest`.
        members: checksums of the files in it, by name, where they are known. Unpacked, all
            together may stand for it.

    """

    filename: str
    published: str
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str | None:
        """Checksum of what a gzipped file holds, where it is known.

        A folder may have such a file compressed anew (as Debian does), since the content decides.
        """
        return self.members.get(self.filename.removesuffix(".gz"))

    def checksums(self) -> dict[str, str]:
        """Return the checksums that a folder's files are held to, by their names."""
        if self.content is not None:
            return {self.filename: self.content}
        return {self.filename: self.published, **self.members}


# Turns the files that `locate` found into (train, test).
Reader = Callable[["DatasetSource", tuple[Path, ...]], tuple[LabelledImages, LabelledImages]]


@dataclass(frozen=True)
class DatasetSource:
    """A dataset as published.

    Attributes:
        read: turns the archives, or their unpacked members, into (train, test).
        split: says in words which part is for training and which for test.
        subfolders: of a folder, where its files may lie as well: where the archive unpacks to, and
            where torchvision keeps them.
        pickles: names of the same data as Python pickles. They are refused: one can run any code.
        base_urls: tried in order. None at all means that the dataset comes with a package only.
        package: an installable package that holds the archives, if there is one.
        package_folder: returns the folder where that package puts them.
        package_install: the command that installs the package.

    """

    name: str
    read: Reader
    archives: tuple[Archive, ...]
    class_names: tuple[str, ...]
    split: str
    licence: str
    homepage: str
    subfolders: tuple[str, ...] = ()
    pickles: tuple[str, ...] = ()
    base_urls: tuple[str, ...] = ()
    package: str | None = None
    package_folder: Callable[[], Path] | None = None
    package_install: str | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def ways_to_get(self) -> str:
        """Return a sentence that says how the archives can be had."""
        ways = []
        if self.base_urls:
            files = ", ".join(
                f"{archive.filename} (or {', '.join(archive.members)})"
                if archive.members
                else archive.filename
                for archive in self.archives
            )
            below = f", itself or in {' or '.join(self.subfolders)}" if self.subfolders else ""
            ways.append(f"set the option `folder` to a folder that holds {files}{below}")
        if self.package_install:
            ways.append(f"run `{self.package_install}`")
        if self.base_urls:
            ways.append(
                f"let it be downloaded from {' or '.join(self.base_urls)} "
                "or from the base URL in the option `mirror`"
            )
        return f"To get {self.name}: {'; or '.join(ways)}."

    def damaged(self, file: str | Path, expected: str, found: str) -> DataError:
        """Return the error for a `file` whose checksum is `found` instead of `expected`."""
        return DataError(f"{file}: expected {expected}, found {found}. {self.ways_to_get()}")

    def verify_file(self, path: Path, expected: str) -> None:
        """Raise a `DataError` unless the file at `path` has the checksum `expected`."""
        found = checksum_file(path, algorithm_of(expected))
        if found != expected:
            raise self.damaged(path, expected, found)

    def read_content(self, path: Path, expected: str | None) -> bytes:
        """Return what a file holds, decompressed where its name ends in .gz.

        Args:
            path: the file.
            expected: checksum of the content; None where the file itself has been verified.

        Raises:
            DataError: the content has another checksum, or can't be decompressed.

        """
        if path.suffix != ".gz":
            content = path.read_bytes()
        else:
            try:
                with gzip.open(path) as file:
                    content = file.read(MOST_BYTES + 1)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                found = f"{checksum_file(path, 'sha256')} of a damaged gzip file ({error})"
                raise self.damaged(f"{path} (content)", expected or "a gzip file", found) from error
        if len(content) > MOST_BYTES:
            raise DataError(f"{path}: holds more than {MOST_BYTES:,} bytes. {self.ways_to_get()}")
        if expected is not None:
            found = checksum_bytes(content, algorithm_of(expected))
            if found != expected:
                raise self.damaged(f"{path} (content)", expected, found)
        return content


@dataclass(frozen=True)
class Located:
    """Where a dataset's archives were found.

    Attributes:
        origin: the place in words, for the record.
        paths: of each of the dataset's archives, in order, the archive or its unpacked members.

    """

    origin: str
    paths: tuple[Path, ...]


def locate(
    dataset: DatasetSource, data_dir: Path, *, folder: Path | None, mirror: str | None
) -> Located:
    """Find the archives: in `folder`, else from `mirror`, else in the package, else by download.

    Only a place that was not asked for and does not exist is passed over; a file that is missing
    or damaged in a place that was chosen is an error. Contents that have a checksum of their own
    are verified by the reader, every other archive here.

    Args:
        dataset: what to find.
        data_dir: downloads go to `<data_dir>/archives/<name>/`, and are used again from there.
        folder: a folder with the archives, or with their unpacked members; or the one above it.
        mirror: base URL to download from, instead of the dataset's own.

    Raises:
        DataError: an archive is missing or damaged, or the options do not fit.

    """
    if not dataset.base_urls and (folder is not None or mirror is not None):
        option = f"folder {str(folder)!r}" if folder is not None else f"mirror {mirror!r}"
        raise DataError(
            f"{dataset.name}: {option}; this dataset takes neither a folder nor a mirror, "
            f"it comes with the package {dataset.package}"
        )
    if folder is not None and mirror is not None:
        raise DataError(
            f"{dataset.name}: folder {str(folder)!r} and mirror {mirror!r}; allowed is one of them"
        )
    if folder is not None:
        return Located(f"folder {folder}", _find_all(dataset, folder))
    if mirror is None and dataset.package_folder is not None:
        installed = dataset.package_folder()
        if installed.is_dir() or not dataset.base_urls:
            return Located(f"package {dataset.package}", _find_all(dataset, installed))
    base_urls = (check_mirror(mirror),) if mirror is not None else dataset.base_urls
    return _download_all(dataset, data_dir / "archives" / dataset.name, base_urls)


def describe(located: Located) -> list[dict[str, Any]]:
    """Return name, size in bytes, MD5 and SHA-256 of every file that was read."""
    return [
        {
            "file": file.name,
            "bytes": file.stat().st_size,
            "md5": checksum_file(file, "md5").removeprefix("md5:"),
            "sha256": checksum_file(file, "sha256").removeprefix("sha256:"),
        }
        for file in located.paths
    ]


def _find_all(dataset: DatasetSource, folder: Path) -> tuple[Path, ...]:
    """Return the files of all archives, from the first place that has any of them."""
    if not folder.is_dir():
        raise DataError(f"folder {folder}: not a folder. {dataset.ways_to_get()}")
    names = {name for a in dataset.archives for name in (a.filename, *a.members)}
    for place in (folder, *(folder / name for name in dataset.subfolders)):
        if any((place / name).is_file() for name in names):
            return tuple(path for a in dataset.archives for path in _find(dataset, a, place))
    for name in dataset.pickles:
        if (folder / name).exists():
            raise DataError(
                f"{folder / name}: Python pickles, which can run any code, are not read. "
                f"{dataset.ways_to_get()}"
            )
    return _find(dataset, dataset.archives[0], folder)  # which isn't there


def _find(dataset: DatasetSource, archive: Archive, place: Path) -> tuple[Path, ...]:
    path = place / archive.filename
    if path.is_file():
        if archive.content is None:
            dataset.verify_file(path, archive.published)
        return (path,)
    members = {place / name: expected for name, expected in archive.members.items()}
    if not any(member.is_file() for member in members):
        raise dataset.damaged(path, archive.content or archive.published, "no such file")
    for member, expected in members.items():
        if not member.is_file():
            raise dataset.damaged(member, expected, "no such file")
    return tuple(members)


def _download_all(dataset: DatasetSource, folder: Path, base_urls: tuple[str, ...]) -> Located:
    paths = []
    for archive in dataset.archives:
        path = folder / archive.filename
        if path.exists():
            # It was whole when it was stored, so the user should hear of a change.
            dataset.verify_file(path, archive.published)
        else:
            _download_one(dataset, archive, path, base_urls)
        paths.append(path)
    return Located(f"download from {' or '.join(base_urls)}", tuple(paths))


def _download_one(
    dataset: DatasetSource, archive: Archive, path: Path, base_urls: tuple[str, ...]
) -> None:
    failures = []
    for base_url in base_urls:
        try:
            return download(base_url + archive.filename, path, archive.published)
        except DataError as error:
            failures.append(str(error))
    expected = f"expected {archive.published}"
    raise DataError(
        f"{path}: {expected}, found nothing to download: {'; '.join(failures)}. "
        f"{dataset.ways_to_get()}"
    )
