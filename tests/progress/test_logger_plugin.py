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
from fastff.progress.overall import PLAN
from fastff.progress.plan import PlannedJob, write_plan

LINE = "quick: 3 of 3 runs, training is done"


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(plugin, "LINE_INTERVAL", 0.05)
    monkeypatch.setattr(plugin, "TERMINAL_INTERVAL", 0.05)
    write_plan(tmp_path / "quick" / PLAN, [PlannedJob("trial fff", "logs/x.log", 3, 1, False)])
    return tmp_path / "quick"


def handler_of() -> plugin.LogHandler:
    settings = SimpleNamespace(nocolor=False, stdout=False)
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


def test_on_a_terminal_it_stays_below(results, monkeypatch):
    master, slave = os.openpty()
    os.set_blocking(master, False)
    termios.tcsetwinsize(master, (24, 100))
    seen = []

    def read() -> str:
        with suppress(BlockingIOError):
            seen.append(os.read(master, 65536).decode())
        return "".join(seen)

    with open(slave, "w") as terminal:  # noqa: PTH123
        monkeypatch.setattr(sys, "stderr", terminal)
        handler = handler_of()
        handler.emit(record("on the way", results=str(results)))
        wait_for(f"\r{LINE}", read)
        handler.emit(record("rule train:"))
        found = wait_for("rule train:", read)
        handler.close()
        time.sleep(0.1)
        end = read()
    os.close(master)
    above = found.partition("rule train:")[0]
    cleared = above.rpartition("\r")[0]
    assert cleared.endswith(" ")  # the line is blanked before other output
    assert end.count("\n") == 2
    assert end.rstrip("\r").endswith(" ")  # and at the end
