from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import original_formats as formats
import pytest

from fastff.data.cifar10 import TEST_BATCH
from fastff.data.dataset import load
from fastff.data.errors import DataError
from fastff.data.prepare import prepare_dataset
from fastff.data.safe_pickle import load_pickle

PARTS = formats.cifar_parts()
BATCHES = formats.cifar_batches()
TAR = formats.cifar_tar(BATCHES)
SOURCE = formats.cifar_source(BATCHES, TAR)
TAR_NAME = SOURCE.archives[0].filename
UNPACKED = SOURCE.archives[0].unpacked


def check_prepared(path: Path) -> None:
    train = [part for name, part in PARTS.items() if name != TEST_BATCH]
    with np.load(path, allow_pickle=False) as arrays:
        for i, kind in enumerate(("images", "labels")):
            expected = np.concatenate([part[i] for part in train])
            np.testing.assert_array_equal(arrays[f"train_{kind}"], expected)
            np.testing.assert_array_equal(arrays[f"test_{kind}"], PARTS[TEST_BATCH][i])


def prepare_tar(batches: dict[str, bytes], tmp_path: Path) -> Path:
    """Prepare a dataset of these batches whose checksums are right."""
    tar = formats.cifar_tar(batches)
    folder = formats.put(tmp_path / "folder", {TAR_NAME: tar})
    source = formats.cifar_source(batches, tar)
    return prepare_dataset(source, tmp_path / "data", folder=folder)


def test_reads_the_archive(tmp_path: Path) -> None:
    path = prepare_tar(BATCHES, tmp_path)
    check_prepared(path)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["small.json", "small.npz"]


def test_reads_the_unpacked_folder(tmp_path: Path) -> None:
    formats.put(tmp_path / UNPACKED, BATCHES)
    check_prepared(prepare_dataset(SOURCE, tmp_path / "data", folder=tmp_path))


def test_reads_a_download(tmp_path: Path, serve: Callable[[Path], str]) -> None:
    url = serve(formats.put(tmp_path / "served", {TAR_NAME: TAR}))
    check_prepared(prepare_dataset(SOURCE, tmp_path / "data", mirror=url))


def test_each_channel_is_normalised_on_its_own(tmp_path: Path) -> None:
    data = load(prepare_tar(BATCHES, tmp_path))
    channels = data.train_inputs.view(-1, 3, 32, 32).double()
    np.testing.assert_allclose(channels.mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(channels.std((0, 2, 3), correction=0), 1, atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [
        b"cposix\nsystem\n" + formats.sequence(formats.string(b"touch attacked")) + b"R",
        b"cbuiltins\neval\n" + formats.sequence(formats.string(b"1/0")) + b"R",
        b"cnumpy\nfromfile\n" + formats.sequence(formats.string(b"/etc/passwd")) + b"R",
    ],
    ids=["posix.system", "builtins.eval", "numpy.fromfile"],
)
def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, attack: bytes, monkeypatch: pytest.MonkeyPatch, files_in: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    batches = BATCHES | {"data_batch_2": formats.pickled(attack)}
    with pytest.raises(DataError, match=r"data_batch_2: the pickle asks for \w+\.\w+; allowed"):
        prepare_tar(batches, tmp_path)
    assert files_in(tmp_path) == [f"folder/{TAR_NAME}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (formats.pickled(formats.string(b"text")), "data is NoneType"),
        (formats.pickled(formats.mapping({})), "data is NoneType"),
        (formats.pickled(formats.mapping({b"data": formats.string(b"abc")})), "data is str"),
        (formats.pickled(formats.array(np.zeros((2, 3), "<i8"))), "an array of type 'i8'"),
        (
            formats.pickled(formats.mapping({b"data": formats.array(np.zeros((2, 9), np.uint8))})),
            r"data is \(2, 9\); it must be an array of shape \(n, 3072\)",
        ),
        (
            formats.pickled(
                formats.mapping({b"data": formats.array(np.zeros((2, 3072), np.uint8))})
            ),
            "labels must be a list of integers",
        ),
        (formats.batch(np.zeros((2, 3072)), np.array([0, 10])), "label 10; allowed are 0 to 9"),
        (formats.batch(np.zeros((2, 3072)), np.array([-1, 0])), "label -1; allowed are 0 to 9"),
        (formats.batch(np.zeros((2, 3072)), np.array([1])), "2 images and 1 labels"),
        (b"no pickle", "not a readable pickle"),
        (BATCHES["test_batch"][:-100], "not a readable pickle"),
        (b"", "not a readable pickle"),
    ],
)
def test_a_batch_that_is_none_is_named(
    tmp_path: Path, content: bytes, message: str, files_in: Callable
) -> None:
    with pytest.raises(DataError, match=f"{TAR_NAME}: test_batch: {message}"):
        prepare_tar(BATCHES | {"test_batch": content}, tmp_path)
    assert files_in(tmp_path) == [f"folder/{TAR_NAME}"]


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    batches = {name: content for name, content in BATCHES.items() if name != "data_batch_3"}
    with pytest.raises(DataError, match=f"no {UNPACKED}/data_batch_3 in it"):
        prepare_tar(batches, tmp_path)


def test_a_missing_unpacked_batch_is_named(tmp_path: Path) -> None:
    folder = formats.put(tmp_path / UNPACKED, BATCHES)
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"data_batch_3: expected md5:.*, found no such file"):
        prepare_dataset(SOURCE, tmp_path / "data", folder=tmp_path)


def test_an_altered_unpacked_batch_is_named(tmp_path: Path, files_in: Callable) -> None:
    altered = bytearray(BATCHES["data_batch_5"])
    altered[-1000] ^= 1
    formats.put(tmp_path / UNPACKED, BATCHES | {"data_batch_5": altered})
    with pytest.raises(DataError) as error:
        prepare_dataset(SOURCE, tmp_path / "data", folder=tmp_path)
    for part in ("data_batch_5", formats.md5(BATCHES["data_batch_5"]), formats.md5(altered)):
        assert part in str(error.value)
    assert files_in(tmp_path / "data") == []


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    folder = formats.put(tmp_path / "folder", {TAR_NAME: TAR[:-500]})
    with pytest.raises(DataError, match=rf"{TAR_NAME}: expected {SOURCE.archives[0].published}"):
        prepare_dataset(SOURCE, tmp_path / "data", folder=folder)
    # Even with a checksum that allows it, there is one clear error.
    archive = replace(SOURCE.archives[0], published=formats.md5(TAR[:-500]))
    with pytest.raises(DataError, match=f"{TAR_NAME}: not a readable archive"):
        prepare_dataset(replace(SOURCE, archives=(archive,)), tmp_path / "data", folder=folder)


def test_the_pickle_of_a_present_numpy_is_read_too() -> None:
    import pickle

    expected = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2]}
    found = load_pickle(pickle.dumps(expected, protocol=4), "a file")
    np.testing.assert_array_equal(found["data"], expected["data"])
    assert found["labels"] == [1, 2]
