import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import original_formats as formats
import pytest
import torch

from fastff.data.dataset import load
from fastff.data.errors import DataError
from fastff.data.names import DATASET_NAMES
from fastff.data.prepare import DATASETS, prepare_dataset

FILES = formats.idx_files()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = formats.put(tmp_path / "folder", FILES)
    return prepare_dataset(formats.idx_source(FILES), tmp_path / "data", folder=folder)


def edit_record(path: Path, edit: Callable[[dict], object]) -> None:
    record_path = path.with_suffix(".json")
    record = json.loads(record_path.read_text())
    edit(record)
    record_path.write_text(json.dumps(record))


def test_load(path: Path) -> None:
    data = load(path)
    assert data.train_inputs.shape == (30, 20)
    assert data.test_inputs.shape == (20, 20)
    assert data.train_labels.dtype == data.test_labels.dtype == torch.int64
    assert data.class_names == tuple("0123456789")
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_allclose(data.train_inputs.double().mean(), 0, atol=1e-6)
    np.testing.assert_allclose(data.train_inputs.double().std(correction=0), 1, atol=1e-6)


def test_to_moves_every_tensor(path: Path) -> None:
    data = load(path, device="meta")
    tensors = [value for value in vars(data).values() if isinstance(value, torch.Tensor)]
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 4
    assert data.in_features == 20
    assert data.n_bytes == (30 + 20) * (20 * 4 + 8)


def test_the_record_says_where_the_data_come_from(path: Path) -> None:
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["source"] == f"folder {path.parents[1] / 'folder'}"
    assert {entry["file"]: f"sha256:{entry['sha256']}" for entry in record["archives"]} == {
        name: formats.sha256(content) for name, content in FILES.items()
    }
    assert {entry["file"]: f"md5:{entry['md5']}" for entry in record["archives"]} == {
        name: formats.md5(content) for name, content in FILES.items()
    }


def test_one_flipped_byte_is_found(path: Path) -> None:
    content = bytearray(path.read_bytes())
    before = hashlib.sha256(content).hexdigest()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        load(path)
    for part in (str(path), before, hashlib.sha256(content).hexdigest(), "prepare the dataset"):
        assert part in str(error.value)


def test_a_truncated_file_is_found(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    with pytest.raises(DataError, match=f"{len(content) - 7} bytes .* says {len(content)} bytes"):
        load(path)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_missing_file_is_named(path: Path, suffix: str) -> None:
    path.with_suffix(suffix).unlink()
    with pytest.raises(DataError, match=rf"small\{suffix}: no such file; prepare the dataset"):
        load(path)


def test_another_kind_of_file_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match=r"small\.json: .* ends in \.npz"):
        load(path.with_suffix(".json"))


def test_a_record_that_is_not_json_is_named(path: Path) -> None:
    path.with_suffix(".json").write_text("{")
    with pytest.raises(DataError, match=r"small\.json: not JSON"):
        load(path)


def test_a_record_without_a_key_is_named(path: Path) -> None:
    edit_record(path, lambda record: record.pop("mean"))
    with pytest.raises(DataError, match=r"small\.json: no key 'mean'"):
        load(path)


def test_pickled_arrays_are_refused(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, train_images=np.array([{}], object))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_record(path, lambda record: record.update(sha256=digest))
    with pytest.raises(DataError, match=r"small\.npz: .*allow_pickle"):
        load(path)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("train_labels", lambda labels: np.where(labels == 0, -100, labels), "has -100; allowed"),
        ("test_labels", lambda labels: np.where(labels == 0, -1, labels), "has -1; allowed is 0"),
        ("train_labels", lambda labels: labels.astype(float), "should be an integer for each"),
        ("test_labels", lambda labels: labels[:-1], "should be an integer for each image"),
        ("train_labels", lambda labels: labels[:, None], "should be an integer for each image"),
        ("train_images", lambda images: images.astype(float), "should be bytes of shape"),
        ("test_images", lambda images: images[:, 0], "should be bytes of shape"),
        ("train_images", lambda images: images[:0], "should be bytes of shape"),
    ],
)
def test_arrays_that_are_no_images_with_labels_are_refused(key, change, message, path):
    """The checksum was made to fit."""
    with np.load(path) as file:
        arrays = dict(file)
    with path.open("wb") as file:
        np.savez(file, **{**arrays, key: change(arrays[key])})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit_record(path, lambda record: record.update(sha256=digest))
    with pytest.raises(DataError, match=rf"small\.json: {key} {message}"):
        load(path)


def test_an_earlier_file_survives_a_failure(path: Path, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    with pytest.raises(DataError):
        prepare_dataset(formats.idx_source(FILES), path.parent, folder=tmp_path / "none")
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_the_names_are_those_of_the_datasets() -> None:
    assert tuple(DATASETS) == DATASET_NAMES


def test_the_names_come_without_torch() -> None:
    code = "import sys, fastff.data.names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
