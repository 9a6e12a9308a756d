import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import original_formats as formats
import pytest
from torchvision.datasets import MNIST, FashionMNIST

from fastff.data.errors import DataError
from fastff.data.idx import FASHION_MNIST_SOURCE, MNIST_SOURCE, parse_idx
from fastff.data.prepare import prepare, prepare_dataset
from fastff.data.source import DatasetSource

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = formats.IDX_NAMES
FILES = formats.idx_files()
SOURCE = formats.idx_source(FILES)


def check_prepared(path: Path) -> None:
    with np.load(path, allow_pickle=False) as arrays:
        for part, images, labels in (
            ("train", TRAIN_IMAGES, TRAIN_LABELS),
            ("test", TEST_IMAGES, TEST_LABELS),
        ):
            expected = np.frombuffer(FILES[images][16:], np.uint8).reshape(-1, 1, 5, 4)
            np.testing.assert_array_equal(arrays[f"{part}_images"], expected)
            expected = np.frombuffer(FILES[labels][8:], np.uint8)
            np.testing.assert_array_equal(arrays[f"{part}_labels"], expected)
            assert arrays[f"{part}_labels"].dtype == np.int64


@pytest.mark.parametrize(
    "stored",
    [formats.gzipped(FILES), formats.gzipped(FILES, mtime=2), FILES],
    ids=["as published", "compressed anew", "plain"],
)
def test_reads_a_folder(tmp_path: Path, stored: dict[str, bytes]) -> None:
    folder = formats.put(tmp_path / "folder", stored)
    check_prepared(prepare_dataset(SOURCE, tmp_path / "data", folder=folder))


@pytest.mark.parametrize("compress", [True, False], ids=["gz", "unpacked"])
@pytest.mark.parametrize("given", ["", "MNIST", "MNIST/raw"])
def test_reads_what_torchvision_keeps(tmp_path: Path, compress: bool, given: str) -> None:
    root = tmp_path / "root"
    formats.put(root / "MNIST/raw", formats.gzipped(FILES) if compress else FILES)
    formats.put(root / "FashionMNIST/raw", formats.idx_files(seed=1))  # of the same names
    path = prepare_dataset(SOURCE, tmp_path / "data", folder=root / given)
    check_prepared(path)
    entries = json.loads(path.with_suffix(".json").read_text())["archives"]
    assert [entry["file"].removesuffix(".gz") for entry in entries] == [*FILES]


@pytest.mark.parametrize(
    ("source", "dataset"), [(MNIST_SOURCE, MNIST), (FASHION_MNIST_SOURCE, FashionMNIST)]
)
def test_torchvision_s_own_datasets_name_the_folder(
    source: DatasetSource, dataset: type[MNIST]
) -> None:
    assert source.subfolders == (f"{dataset.__name__}/raw", "raw")
    names = [archive.filename for archive in source.archives]
    assert names == [filename for filename, _ in dataset.resources]
    assert all(archive.content for archive in source.archives)


def test_a_missing_file_of_torchvision_s_folder_is_named(tmp_path: Path) -> None:
    raw = formats.put(tmp_path / "MNIST/raw", FILES)
    (raw / TEST_LABELS).unlink()
    with pytest.raises(DataError, match=rf"MNIST/raw/{TEST_LABELS}\.gz: .*found no such file"):
        prepare_dataset(SOURCE, tmp_path / "data", folder=tmp_path)


def test_a_truncated_plain_file_is_named(tmp_path: Path) -> None:
    files = FILES | {TEST_LABELS: FILES[TEST_LABELS][:-1]}
    folder = formats.put(tmp_path / "folder", files)
    with pytest.raises(DataError, match=rf"{TEST_LABELS} \(content\): expected sha256:"):
        prepare_dataset(SOURCE, tmp_path / "data", folder=folder)


def test_reads_a_download(tmp_path: Path, serve: Callable[[Path], str]) -> None:
    url = serve(formats.put(tmp_path / "served", formats.gzipped(FILES)))
    check_prepared(prepare_dataset(SOURCE, tmp_path / "data", mirror=url))


def test_all_ways_give_the_same_file(tmp_path: Path, serve: Callable[[Path], str]) -> None:
    folder = formats.put(tmp_path / "folder", formats.gzipped(FILES))
    first = prepare_dataset(SOURCE, tmp_path / "a", folder=folder)
    second = prepare_dataset(SOURCE, tmp_path / "b", mirror=serve(folder))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"\x00\x00\x08\x01" + bytes(20), "starts with 00000801; .* starts with 00000803"),
        (b"\x00\x00\x0d\x03" + bytes(20), "starts with 00000d03"),
        (b"\x00\x00\x08\x03" + bytes(11), "15 bytes; the header alone has 16"),
        (formats.idx(np.zeros((2, 3, 3)))[:-1], r"33 bytes; its shape \(2, 3, 3\) needs 34"),
        (formats.idx(np.zeros((2, 3, 3))) + b"\0", r"35 bytes; its shape \(2, 3, 3\) needs 34"),
    ],
)
def test_refuses_what_is_not_idx(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^a file: {message}"):
        parse_idx(content, 3, "a file")


def test_a_truncated_gzip_file_is_named(tmp_path: Path, files_in: Callable) -> None:
    stored = formats.gzipped(FILES)
    stored[f"{TEST_IMAGES}.gz"] = stored[f"{TEST_IMAGES}.gz"][:-20]
    folder = formats.put(tmp_path / "folder", stored)
    with pytest.raises(DataError) as error:
        prepare_dataset(SOURCE, tmp_path / "data", folder=folder)
    assert str(folder / f"{TEST_IMAGES}.gz") in str(error.value)
    assert formats.sha256(FILES[TEST_IMAGES]) in str(error.value)
    assert formats.sha256(stored[f"{TEST_IMAGES}.gz"]) in str(error.value)
    assert files_in(tmp_path / "data") == []


def test_a_gzip_file_of_very_much_is_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("fastff.data.source.MOST_BYTES", 10_000)
    stored = formats.gzipped(FILES | {TRAIN_IMAGES: bytes(10_001)})
    folder = formats.put(tmp_path / "folder", stored)
    with pytest.raises(DataError, match=rf"{TRAIN_IMAGES}\.gz: holds more than 10,000 bytes"):
        prepare_dataset(SOURCE, tmp_path / "data", folder=folder)


@pytest.mark.parametrize("compress", [False, True])
def test_altered_content_is_named(tmp_path: Path, compress: bool, files_in: Callable) -> None:
    altered = bytearray(FILES[TRAIN_LABELS])
    altered[-1] ^= 1
    stored = FILES | {TRAIN_LABELS: bytes(altered)}
    folder = formats.put(tmp_path / "folder", formats.gzipped(stored) if compress else stored)
    with pytest.raises(DataError) as error:
        prepare_dataset(SOURCE, tmp_path / "data", folder=folder)
    for part in (TRAIN_LABELS, formats.sha256(FILES[TRAIN_LABELS]), formats.sha256(altered)):
        assert part in str(error.value)
    assert "option `folder`" in str(error.value)
    assert files_in(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(30) % 11, "label 10; allowed are 0 to 9"),
        (np.arange(29) % 10, "30 images and 29 labels"),
    ],
)
def test_labels_must_fit(
    tmp_path: Path, labels: np.ndarray, message: str, files_in: Callable
) -> None:
    files = FILES | {TRAIN_LABELS: formats.idx(labels)}
    folder = formats.put(tmp_path / "folder", files)
    with pytest.raises(DataError, match=rf"{TRAIN_LABELS}: {message}"):
        prepare_dataset(formats.idx_source(files), tmp_path / "data", folder=folder)
    assert files_in(tmp_path / "data") == []


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    files = FILES | {
        TEST_IMAGES: formats.idx(np.zeros((0, 5, 4))),
        TEST_LABELS: formats.idx(np.zeros(0)),
    }
    folder = formats.put(tmp_path / "folder", files)
    with pytest.raises(DataError, match="0 images and 0 labels"):
        prepare_dataset(formats.idx_source(files), tmp_path / "data", folder=folder)


def test_constant_training_images_cannot_be_normalised(tmp_path: Path) -> None:
    files = FILES | {TRAIN_IMAGES: formats.idx(np.full((30, 5, 4), 7))}
    folder = formats.put(tmp_path / "folder", files)
    with pytest.raises(DataError, match="small: a channel of the training images is constant"):
        prepare_dataset(formats.idx_source(files), tmp_path / "data", folder=folder)


def test_one_dataset_never_stands_for_another(tmp_path: Path) -> None:
    folder = formats.put(tmp_path / "folder", formats.gzipped(FILES))
    with pytest.raises(DataError, match=r"To get fashion_mnist: .*apt-get install"):
        prepare("fashion_mnist", tmp_path / "data", folder=folder)


@pytest.mark.skipif(
    not FASHION_MNIST_SOURCE.package_folder().is_dir(),
    reason="needs Debian's package dataset-fashion-mnist",
)
def test_the_real_fashion_mnist(tmp_path: Path) -> None:
    path = prepare("fashion_mnist", tmp_path)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["train_images"].shape == (60000, 1, 28, 28)
        assert arrays["test_images"].shape == (10000, 1, 28, 28)
        assert np.bincount(arrays["train_labels"]).tolist() == [6000] * 10
        assert np.bincount(arrays["test_labels"]).tolist() == [1000] * 10


@pytest.mark.skipif(
    not FASHION_MNIST_SOURCE.package_folder().is_dir(),
    reason="needs Debian's package dataset-fashion-mnist",
)
def test_the_content_checksums_belong_to_the_published_archives() -> None:
    """Debian's files are Zalando's without the name and the date in gzip's header."""
    folder = FASHION_MNIST_SOURCE.package_folder()
    for archive, stamp in zip(
        FASHION_MNIST_SOURCE.archives, (1504176606, 1504176606, 1504176627, 1504176627), strict=True
    ):
        debian = (folder / archive.filename).read_bytes()
        header = b"\x1f\x8b\x08\x08" + stamp.to_bytes(4, "little") + b"\x00\x03"
        original = header + archive.filename.removesuffix(".gz").encode() + b"\0" + debian[10:]
        assert formats.md5(original) == archive.published
        assert formats.sha256(gzip.decompress(original)) == archive.content


def test_a_published_checksum_stands_in_for_that_of_the_content(tmp_path: Path) -> None:
    """An archive without a checksum of its content must be as published."""
    plain = tuple(replace(archive, members={}) for archive in SOURCE.archives)
    source = replace(SOURCE, archives=plain)
    folder = formats.put(tmp_path / "good", formats.gzipped(FILES))
    check_prepared(prepare_dataset(source, tmp_path / "data", folder=folder))
    folder = formats.put(tmp_path / "anew", formats.gzipped(FILES, mtime=2))
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES}.gz: expected md5:"):
        prepare_dataset(source, tmp_path / "other", folder=folder)
