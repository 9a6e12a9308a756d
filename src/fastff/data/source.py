"""What a dataset is made from: its archives, their checksums, and where they are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Archive:
    """One file that a dataset's publisher offers.

    Attributes:
        filename: its name in a folder, and below a base URL.
        published: checksum of the file as published, `algorithm:hexdigest`.
        unpacked: name of its unpacked form, a file that may stand for it.
        content: checksum of the decompressed content. Where it is given, a folder may hold the
            archive compressed anew (as Debian does), since the content decides.

    """

    filename: str
    published: str
    unpacked: str | None = None
    content: str | None = None


# Reads a dataset's archives, in the order of `DatasetSource.archives`, into (train, test).
Reader = Callable[["DatasetSource", tuple[Path, ...]], tuple[LabelledImages, LabelledImages]]


@dataclass(frozen=True)
class DatasetSource:
    """A dataset as published.

    Attributes:
        read: turns the archives into (train, test).
        split: says in words which part is for training and which for test.
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
                f"{archive.filename} (or {archive.unpacked})"
                if archive.unpacked
                else archive.filename
                for archive in self.archives
            )
            ways.append(f"set the option `folder` to a folder that holds {files}")
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

    def verify_content(self, content: bytes, expected: str, origin: str | Path) -> None:
        """Raise a `DataError` unless `content`, which came from `origin`, has that checksum."""
        found = checksum_bytes(content, algorithm_of(expected))
        if found != expected:
            raise self.damaged(f"{origin} (content)", expected, found)


@dataclass(frozen=True)
class Located:
    """Where a dataset's archives were found.

    Attributes:
        origin: the place in words, for the record.
        paths: one for each of the dataset's archives, in order: the archive or its unpacked form.

    """

    origin: str
    paths: tuple[Path, ...]


def locate(
    dataset: DatasetSource, data_dir: Path, *, folder: Path | None, mirror: str | None
) -> Located:
    """Find the archives: in `folder`, else from `mirror`, else in the package, else by download.

    Only a place that was not asked for and does not exist is passed over; a file that is missing
    or damaged in a place that was chosen is an error. An archive whose content has a checksum of
    its own is verified by the reader, every other one here.

    Args:
        dataset: what to find.
        data_dir: downloads go to `<data_dir>/archives/<name>/`, and are used again from there.
        folder: a folder with the archives, or with their unpacked form.
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
    if not folder.is_dir():
        raise DataError(f"folder {folder}: not a folder. {dataset.ways_to_get()}")
    return tuple(_find(dataset, archive, folder) for archive in dataset.archives)


def _find(dataset: DatasetSource, archive: Archive, folder: Path) -> Path:
    path = folder / archive.filename
    if path.is_file():
        if archive.content is None:
            dataset.verify_file(path, archive.published)
        return path
    if archive.unpacked is not None:
        unpacked = folder / archive.unpacked
        if unpacked.is_file():
            return unpacked
    expected = archive.content or archive.published
    raise dataset.damaged(path, expected, "no such file")


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
