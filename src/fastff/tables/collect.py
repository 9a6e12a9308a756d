"""Joining the tidy tables of an experiment's jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastff.files import atomic_path, check_sum, write_sums
from fastff.tables.schema import LANGUAGE, TIDY


def collect(jobs: Sequence[Path], output: Path) -> None:
    """Write `<output>/<table>.csv`, the jobs' tables one after the other, for each that they have.

    The rows are copied as they are, so that no number is rounded on the way. The tables' checksums
    come last.

    Raises:
        ValueError: where jobs have other tables, or tables other columns, than the first; where one
            was changed or cut, and where a job is there twice.

    """
    named = dict.fromkeys((*TIDY, *LANGUAGE))
    if len({job.resolve() for job in jobs}) < len(jobs):
        raise ValueError(f"a job twice: {', '.join(map(str, jobs))}")
    held = [[table for table in named if (job / f"{table}.csv").exists()] for job in jobs]
    tables = held[0]
    for job, found in zip(jobs, held, strict=True):
        if not found or found != tables:
            have = ", ".join(found) or "no tables"
            raise ValueError(f"{job} has {have}; {jobs[0]} has {', '.join(tables) or 'none'}")
    for table in tables:
        for job in jobs:
            check_sum(job / f"{table}.csv")
        texts = [(job / f"{table}.csv").read_text(encoding="utf-8") for job in jobs]
        header = texts[0].partition("\n")[0]
        for job, text in zip(jobs, texts, strict=True):
            columns = text.partition("\n")[0]
            if columns != header:
                raise ValueError(f"{job / table}.csv has columns {columns}, {jobs[0]} has {header}")
            if not text.endswith("\n"):
                raise ValueError(f"{job / table}.csv ends within a line: it was cut")
        rows = [text.partition("\n")[2] for text in texts]
        with atomic_path(output / f"{table}.csv") as path:
            path.write_text(f"{header}\n{''.join(rows)}", encoding="utf-8")
    write_sums(output, (f"{table}.csv" for table in tables))
