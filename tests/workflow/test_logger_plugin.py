"""Snakemake's output with a line of progress below it: on a terminal, and in a file."""

from __future__ import annotations

import io
import logging
import os
import sys
import termios
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

import snakemake_logger_plugin_fastff as plugin
from fastff.workflow.progress import TrainingJob, write_jobs

LINE = "quick: 3 of 3 runs, training is done"


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(plugin, "LINE_INTERVAL", 0.05)
    monkeypatch.setattr(plugin, "TERMINAL_INTERVAL", 0.05)
    write_jobs(tmp_path / "quick", [TrainingJob("logs/x.log", 3, 1, False)])
    return tmp_path / "quick"


def handler_of(*, verbose: bool = False) -> plugin.LogHandler:
    settings = SimpleNamespace(nocolor=False, stdout=False, verbose=verbose)
    handler = plugin.LogHandler(settings, None)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def record(text: str, **more: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "levelname": "INFO", "levelno": 20, **more})


def wait_for(text: str, read) -> str:
    deadline = time.monotonic() + 20
    while text not in (found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_snakemake_finds_it():
    assert LoggerPluginRegistry().get_plugin("fastff").log_handler is plugin.LogHandler


def test_in_a_file_it_is_a_line_among_others(results, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    handler = handler_of()
    handler.emit(record("rule train:"))
    handler.emit(record("on the way", results=str(results)))
    handler.emit(record("", event="progress", done=2, total=5))
    found = wait_for("2 of 5 steps\n", sys.stderr.getvalue)
    handler.close()
    assert found.startswith("rule train:\non the way\n")
    assert f"\n{LINE}; 2 of 5 steps\n" in found
    assert "\r" not in found


@pytest.fixture
def terminal():
    """A terminal, and a function that returns what has been written to it."""
    master, slave = os.openpty()
    os.set_blocking(master, False)
    termios.tcsetwinsize(master, (24, 100))
    seen = []

    def read() -> str:
        with suppress(BlockingIOError):
            seen.append(os.read(master, 65536).decode())
        return "".join(seen)

    with open(slave, "w") as file:  # noqa: PTH123
        yield file, read
    os.close(master)


def test_on_a_terminal_it_stays_below(results, terminal, monkeypatch):
    file, read = terminal
    monkeypatch.setattr(sys, "stderr", file)
    handler = handler_of()
    handler.emit(record("on the way", results=str(results)))
    wait_for(f"\r{LINE}", read)
    handler.emit(record("Removing a file"))
    found = wait_for("Removing a file", read)
    handler.close()
    time.sleep(0.1)
    end = read()
    above = found.partition("Removing a file")[0]
    cleared = above.rpartition("\r")[0]
    assert cleared.endswith(" ")  # the line is blanked before other output
    assert end.count("\n") == 2
    assert end.rstrip("\r").endswith(" ")  # and at the end


@pytest.mark.parametrize("verbose", [False, True])
def test_on_a_terminal_jobs_are_left_out_and_errors_are_not(
    verbose, results, terminal, monkeypatch
):
    file, read = terminal
    monkeypatch.setattr(sys, "stderr", file)
    handler = handler_of(verbose=verbose)
    events = ("job_started", "job_info", "shellcmd", "job_finished", "progress")
    handler.emit(record("planned by a dry run", event="job_info"))
    handler.emit(record("on the way", results=str(results)))
    handler.emit(record(plugin.SELECTION))
    for event in events:
        handler.emit(record(f"of {event}", event=event, done=2, total=5))
    handler.emit(record("Error in rule train", event="job_error"))
    handler.emit(record("Exiting", event="error"))
    found = wait_for("; 2 of 5 steps", read)
    handler.close()
    for text in ("planned by a dry run", "on the way", "Error in rule train", "Exiting"):
        assert text in found
    for text in (plugin.SELECTION, *(f"of {event}" for event in events)):
        assert (text in found) == verbose
