import io
import json
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import original_formats as formats
import pytest

from fastff.data.cifar10 import CIFAR10_SOURCE, FOLDER, MOST_BYTES, TEST_BATCH, TRAIN_BATCHES
from fastff.data.dataset import load
from fastff.data.errors import DataError
from fastff.data.prepare import prepare_dataset

PARTS = formats.cifar_parts()
BATCHES = formats.cifar_batches()
TAR = formats.cifar_tar(BATCHES)
SOURCE = formats.cifar_source(TAR)
TAR_NAME = SOURCE.archives[0].filename


def check_prepared(path: Path) -> None:
    train = [part for name, part in PARTS.items() if name != TEST_BATCH]
    with np.load(path, allow_pickle=False) as arrays:
        for i, kind in enumerate(("images", "labels")):
            expected = np.concatenate([part[i] for part in train])
            np.testing.assert_array_equal(arrays[f"train_{kind}"], expected)
            np.testing.assert_array_equal(arrays[f"test_{kind}"], PARTS[TEST_BATCH][i])


def prepare_unpacked(folder: Path, tmp_path: Path) -> Path:
    """Prepare what a folder holds of the dataset of BATCHES."""
    source = formats.cifar_source(TAR, BATCHES)
    return prepare_dataset(source, tmp_path / "data", folder=folder)


def prepare_tar(batches: dict[str, bytes], tmp_path: Path) -> Path:
    """Prepare a dataset of these batches whose checksums are right."""
    tar = formats.cifar_tar(batches)
    folder = formats.put(tmp_path / "folder", {TAR_NAME: tar})
    source = formats.cifar_source(tar)
    return prepare_dataset(source, tmp_path / "data", folder=folder)


def test_reads_the_archive(tmp_path: Path) -> None:
    path = prepare_tar(BATCHES, tmp_path)
    check_prepared(path)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["small.json", "small.npz"]


@pytest.mark.parametrize("given", ["", FOLDER], ids=["the folder above", "the batches' folder"])
def test_reads_unpacked_batches(tmp_path: Path, given: str) -> None:
    formats.put(tmp_path / "root" / FOLDER, BATCHES | {"batches.meta.txt": b"", "readme.html": b""})
    formats.put(tmp_path / "root" / "cifar-10-batches-py", {"data_batch_1": b"never read"})
    path = prepare_unpacked(tmp_path / "root" / given, tmp_path)
    check_prepared(path)
    entries = json.loads(path.with_suffix(".json").read_text())["archives"]
    assert {entry["file"]: f"sha256:{entry['sha256']}" for entry in entries} == {
        name: formats.sha256(content) for name, content in BATCHES.items()
    }


def test_all_ways_give_the_same_file(tmp_path: Path) -> None:
    packed = prepare_tar(BATCHES, tmp_path).read_bytes()
    formats.put(tmp_path / "root" / FOLDER, BATCHES)
    assert prepare_unpacked(tmp_path / "root", tmp_path).read_bytes() == packed


def test_the_archive_goes_before_unpacked_batches(tmp_path: Path) -> None:
    root = formats.put(tmp_path / "root", {TAR_NAME: TAR})
    formats.put(root / FOLDER, {TEST_BATCH: b"of another origin"})
    check_prepared(prepare_unpacked(root, tmp_path))


def test_a_missing_unpacked_batch_is_named(tmp_path: Path, files_in: Callable) -> None:
    batches = {name: content for name, content in BATCHES.items() if name != "data_batch_3.bin"}
    formats.put(tmp_path / "root" / FOLDER, batches)
    expected = formats.sha256(BATCHES["data_batch_3.bin"])
    with pytest.raises(
        DataError, match=f"{FOLDER}/data_batch_3.bin: expected {expected}, found no such file"
    ):
        prepare_unpacked(tmp_path / "root", tmp_path)
    assert files_in(tmp_path / "data") == []


@pytest.mark.parametrize(
    "content",
    [BATCHES[TEST_BATCH][:-1], BATCHES[TEST_BATCH][:-3073], b"", BATCHES["data_batch_1.bin"]],
    ids=["a byte short", "a record short", "empty", "another batch"],
)
def test_a_damaged_unpacked_batch_is_named(
    tmp_path: Path, content: bytes, files_in: Callable
) -> None:
    formats.put(tmp_path / "root" / FOLDER, BATCHES | {TEST_BATCH: content})
    with pytest.raises(DataError) as error:
        prepare_unpacked(tmp_path / "root", tmp_path)
    for part in (
        *(f"{FOLDER}/{TEST_BATCH}", formats.sha256(BATCHES[TEST_BATCH]), formats.sha256(content)),
        *(f"To get small: set the option `folder` to a folder that holds {TAR_NAME}", FOLDER),
    ):
        assert part in str(error.value)
    assert files_in(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cifar-10-batches-py/data_batch_1", ""),
        ("cifar-10-batches-py/data_batch_1", "cifar-10-batches-py"),
        ("cifar-10-python.tar.gz", ""),
    ],
)
def test_pickles_are_refused(tmp_path: Path, name: str, given: str, files_in: Callable) -> None:
    """What torchvision downloads is the version that nobody can read safely."""
    root = formats.put(tmp_path / "root", {name: pickle.dumps({})})
    with pytest.raises(DataError) as error:
        prepare_unpacked(root / given, tmp_path)
    for part in ("Python pickles, which can run any code", TAR_NAME, "option `folder`"):
        assert part in str(error.value)
    assert files_in(tmp_path / "data") == []


def test_an_empty_folder_is_told_which_file_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{TAR_NAME}: expected sha256:.*, found no such file"):
        prepare_unpacked(tmp_path, tmp_path)


def test_reads_a_download(tmp_path: Path, serve: Callable[[Path], str]) -> None:
    url = serve(formats.put(tmp_path / "served", {TAR_NAME: TAR}))
    check_prepared(prepare_dataset(SOURCE, tmp_path / "data", mirror=url))


def test_each_channel_is_normalised_on_its_own(tmp_path: Path) -> None:
    data = load(prepare_tar(BATCHES, tmp_path))
    channels = data.train_inputs.view(-1, 3, 32, 32).double()
    np.testing.assert_allclose(channels.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(channels.std((0, 2, 3), correction=0), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(100), "100 bytes; a batch is records of 3073 bytes"),
        (BATCHES[TEST_BATCH][:-1], "21510 bytes; a batch is records of 3073 bytes"),
        (formats.batch(np.zeros((2, 3072)), np.array([0, 10])), "label 10; allowed are 0 to 9"),
        (b"", "0 images and 0 labels"),
    ],
)
def test_a_batch_that_is_none_is_named(
    tmp_path: Path, content: bytes, message: str, files_in: Callable
) -> None:
    with pytest.raises(DataError, match=f"{TAR_NAME}: test_batch.bin: {message}"):
        prepare_tar(BATCHES | {TEST_BATCH: content}, tmp_path)
    assert files_in(tmp_path) == [f"folder/{TAR_NAME}"]


def test_a_batch_larger_than_any_is_not_read(tmp_path: Path) -> None:
    huge = bytes(MOST_BYTES + 1)
    with pytest.raises(DataError, match=r"test_batch.bin has 30730001 bytes; at most 30730000"):
        prepare_tar(BATCHES | {TEST_BATCH: huge}, tmp_path)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    batches = {name: content for name, content in BATCHES.items() if name != "data_batch_3.bin"}
    with pytest.raises(DataError, match=f"no {FOLDER}/data_batch_3.bin in it"):
        prepare_tar(batches, tmp_path)


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/fastff_escaped", f"{FOLDER}/../../escaped"], ids=["up", "/", "in"]
)
def test_no_member_leaves_the_archive(name: str, tmp_path: Path, files_in: Callable) -> None:
    path = prepare_tar(BATCHES | {name: b"x"}, tmp_path)
    check_prepared(path)
    assert files_in(tmp_path) == ["data/small.json", "data/small.npz", f"folder/{TAR_NAME}"]
    assert not Path("/tmp/fastff_escaped").exists()


def test_a_link_in_place_of_a_batch_is_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in BATCHES.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            if name == TEST_BATCH:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    folder = formats.put(tmp_path / "folder", {TAR_NAME: buffer.getvalue()})
    with pytest.raises(DataError, match=f"no {FOLDER}/test_batch.bin in it"):
        prepare_dataset(formats.cifar_source(buffer.getvalue()), tmp_path / "data", folder=folder)


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    folder = formats.put(tmp_path / "folder", {TAR_NAME: TAR[:-500]})
    with pytest.raises(DataError, match=rf"{TAR_NAME}: expected {SOURCE.archives[0].published}"):
        prepare_dataset(SOURCE, tmp_path / "data", folder=folder)
    # Even with a checksum that allows it, there is one clear error.
    archive = replace(SOURCE.archives[0], published=formats.md5(TAR[:-500]))
    with pytest.raises(DataError, match=f"{TAR_NAME}: not a readable archive"):
        prepare_dataset(replace(SOURCE, archives=(archive,)), tmp_path / "data", folder=folder)


def test_the_archive_is_asked_for_by_https_and_its_sha256() -> None:
    (archive,) = CIFAR10_SOURCE.archives
    assert archive.published.startswith("sha256:")
    assert [*archive.members] == [*TRAIN_BATCHES, TEST_BATCH]
    assert all(checksum.startswith("sha256:") for checksum in archive.members.values())
    assert all(url.startswith("https://") for url in CIFAR10_SOURCE.base_urls)
