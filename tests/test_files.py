"""Files are written whole or not at all, whatever the disk does, and errors name them."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fastff.analysis import save_figure, write_table
from fastff.files import SUMS, ChecksumError, atomic_path, check_sums, hold, write_sums
from fastff.train.checkpoint import Checkpoint
from fastff.train.graceful_shutdown import StopRequest
from fastff.train.tables import write_tables

LIMIT = 20_000  # bytes of a file
NUMBERS = np.random.default_rng(0).standard_normal((1000, 4))

ROOT = Path(__file__).parent.parent


@pytest.fixture
def small_files():
    """Let no file become larger than LIMIT, as where a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def text(folder):
    with atomic_path(folder / "one.txt") as path:
        path.write_text("x" * (LIMIT + 1))


def arrays(folder):
    with atomic_path(folder / "one.npz") as path:
        np.savez(path, numbers=NUMBERS)


def tidy(folder):
    write_tables({"one": pd.DataFrame(NUMBERS)}, folder)


def table(folder):
    write_table(pd.DataFrame(NUMBERS, columns=list("abcd")), folder / "one")


def figure(folder):
    drawn = Figure()
    drawn.subplots().imshow(NUMBERS[:60])
    save_figure(drawn, folder, "one")


def checkpoint(folder):
    one = Checkpoint(folder / "one.checkpoint", {}, 0.0, StopRequest())
    one.save({"epoch": 1, "text": "x" * LIMIT})


WRITERS = (text, arrays, tidy, table, figure, checkpoint)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_full_disk_leaves_the_old_file(write, tmp_path, small_files):
    with pytest.raises(OSError, match="File too large") as caught:
        write(tmp_path)
    assert caught.value.errno == errno.EFBIG
    assert str(tmp_path / "one.") in str(caught.value)
    kept = Path(caught.value.filename)
    before = set(tmp_path.iterdir())  # a table or a figure has smaller files, too
    assert kept not in before
    kept.write_text("the last one")
    with pytest.raises(OSError, match="File too large"):
        write(tmp_path)
    assert kept.read_text() == "the last one"
    assert set(tmp_path.iterdir()) == {*before, kept}
    assert not any(path.name.startswith(".") for path in before)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root but a mount")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=str(tmp_path / "one.txt")):
        text(tmp_path)
    tmp_path.chmod(0o700)


def test_an_error_that_is_not_the_disk_s_stays_as_it_is(tmp_path):
    with pytest.raises(ConnectionResetError, match=r"by peer$"), atomic_path(tmp_path / "a"):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    with pytest.raises(FileNotFoundError, match="'other'"), atomic_path(tmp_path / "a"):
        raise FileNotFoundError(errno.ENOENT, "No such file", "other")
    assert list(tmp_path.iterdir()) == []


def test_a_held_file_is_free_when_its_process_is_dead(tmp_path):
    code = (
        "import sys, pathlib, fastff.files as f; held = f.hold(pathlib.Path(sys.argv[1]));"
        "print(held is not None, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "held")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "True\n"
        with pytest.raises(BlockingIOError):
            hold(tmp_path / "held")
        other.kill()
        other.wait()
    mine = hold(tmp_path / "held")
    assert mine is not None
    mine.close()


def test_what_a_killed_process_left_is_swept_and_what_a_live_one_writes_is_not(tmp_path):
    code = (
        "import sys, pathlib, fastff.files as f\n"
        "with f.atomic_path(pathlib.Path(sys.argv[1])) as path:\n"
        "    path.write_text('half'); print(path, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "one.txt")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as other:
        half = Path(other.stdout.readline().strip())
        with atomic_path(tmp_path / "one.txt") as path:
            path.write_text("whole")
        assert half.exists()
        other.kill()
        other.wait()
    assert half.read_text() == "half"
    with atomic_path(tmp_path / "one.txt") as path:
        path.write_text("whole again")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("one.txt", "whole again")]


def test_json_of_a_checkpoint_s_context_is_stable(tmp_path):
    one = Checkpoint(tmp_path / "one.checkpoint", {"seeds": (0, 1)}, 0.0, StopRequest())
    one.save({"epoch": 3})
    assert one.context == json.loads('{"seeds": [0, 1]}')
    assert one.load() == {"epoch": 3}


def test_checksums_are_of_all_files_and_no_others(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    with pytest.raises(ChecksumError, match=f"{SUMS} is missing"):
        check_sums(tmp_path)
    write_sums(tmp_path, ["one", "two"])
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=tmp_path, check=True)
    check_sums(tmp_path)
    (tmp_path / "two").write_text("three")
    with pytest.raises(ChecksumError, match="two has another checksum"):
        check_sums(tmp_path)
    (tmp_path / "two").unlink()
    with pytest.raises(ChecksumError, match="two is missing"):
        check_sums(tmp_path)
    (tmp_path / "three").touch()
    with pytest.raises(ChecksumError, match=f"three is not in {SUMS}"):
        check_sums(tmp_path)


def test_what_is_no_file_is_never_replaced(tmp_path):
    """As a device, given as the output of a command."""
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/null")):
        with (
            pytest.raises(OSError, match="neither a file nor a new name") as refused,
            atomic_path(place) as path,
        ):
            path.write_text("all")
        assert refused.value.filename == str(place)
        assert not place.is_file()


def test_the_reference_has_its_checksums():
    folders = [path.parent for path in ROOT.glob("results/reference/*/tidy/*/runs.csv.xz")]
    assert folders
    for folder in folders:
        check_sums(folder)
