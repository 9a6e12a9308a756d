"""Find a dataset's archives: in a folder, in an installed package, or by download."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastff.data.checksum import checksum_file
from fastff.data.download import check_mirror, download
from fastff.data.errors import DataError
from fastff.data.source import Archive, DatasetSource


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
