"""What a dataset is made from: its archives, their checksums, and the places they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastff.data.checksum import algorithm_of, checksum_bytes, checksum_file
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
