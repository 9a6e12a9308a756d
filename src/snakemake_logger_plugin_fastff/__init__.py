"""A logger plugin of Snakemake: its usual output, and how far the run is in one line below it.

On a terminal the line stays the last one and changes in place, and what Snakemake says of each job
as it starts and ends is left out: errors stay, and so does all of a dry run and of `--verbose`.
Elsewhere nothing is left out, and the line is written every minute. The profile
`workflow/profiles/default` names the plugin, and the Snakefile tells it by a log record with the
attribute `results` whose progress to show.
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from snakemake.logging import ColorizingTextHandler
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from tqdm import tqdm

from fastff.workflow.progress import run_progress

LINE_INTERVAL, TERMINAL_INTERVAL = 60.0, 2.0  # seconds
OF_EACH_JOB = {
    *(LogEvent.JOB_INFO, LogEvent.GROUP_INFO, LogEvent.SHELLCMD),
    *(LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS),
}
SELECTION = "Select jobs to execute..."  # a message of no event, before each of these


class LogHandler(LogHandlerBase):
    """Writes to stderr, as Snakemake's own handler does, and a line of progress."""

    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self) -> None:
        stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self.usual = ColorizingTextHandler(nocolor=self.common_settings.nocolor, stream=stream)
        self.is_terminal = self.usual.is_tty
        self.is_brief = False
        self.steps = ""
        self.bar = tqdm(bar_format="{desc}", file=stream, dynamic_ncols=True, leave=False,
                        disable=not self.is_terminal, delay=1e-9)  # fmt: skip
        self.closed = threading.Event()

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802
        """Set what the usual output is formatted by."""
        self.usual.setFormatter(fmt)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the usual output of a record above the line."""
        event = getattr(record, "event", None)
        if event == LogEvent.PROGRESS:
            self.steps = f"; {record.done} of {record.total} steps"  # type: ignore[attr-defined]
        if not self.is_brief or (event not in OF_EACH_JOB and record.msg != SELECTION):
            with tqdm.external_write_mode(file=self.usual.stream):
                self.usual.emit(record)
        if hasattr(record, "results"):
            self.is_brief = self.is_terminal and not self.common_settings.verbose
            folder = Path(record.results)
            threading.Thread(target=self._tick, args=[folder], daemon=True).start()

    def close(self) -> None:
        """End the line."""
        self.closed.set()
        self.bar.close()
        super().close()

    def _tick(self, folder: Path) -> None:
        while not self.closed.wait(TERMINAL_INTERVAL if self.is_terminal else LINE_INTERVAL):
            try:
                line = run_progress(folder)
            except (OSError, ValueError) as error:  # a progress line ends no run
                line = f"no progress is known: {error}"
            if self.is_terminal:
                self.bar.set_description_str(line + self.steps)
            else:
                print(line + self.steps, file=self.usual.stream, flush=True)
