"""Comparing the results of two runs of a config, byte by byte."""

from __future__ import annotations

import filecmp
from dataclasses import dataclass
from pathlib import Path

PARTS = ("tidy", "tables")


@dataclass(frozen=True)
class Comparison:
    """Files of two runs, as paths relative to their folders."""

    same: tuple[str, ...]
    different: tuple[str, ...]
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether both runs have the same files with the same bytes, and at least one."""
        return bool(self.same) and not (self.different or self.only_left or self.only_right)

    def report(self) -> str:
        """Return one line per file that isn't the same on both sides, and a line of counts."""
        lines = [f"differs: {path}" for path in self.different]
        lines += [f"only on the left: {path}" for path in self.only_left]
        lines += [f"only on the right: {path}" for path in self.only_right]
        return "\n".join([*lines, f"{len(self.same)} files identical, {len(lines)} not"])


def compare_runs(left: Path, right: Path, name: str) -> Comparison:
    """Compare tidy tables, tables and figures of the config `name` in two working folders.

    Executed notebooks and logs carry times, and so does all that is drawn of benchmarks, and the
    ledger of claims with those of speed: they are left out, as are hidden files, which a process
    that was killed may have left.

    Raises:
        FileNotFoundError: where a side holds no results of that name.

    """
    parts = (*(f"results/{name}/{part}" for part in PARTS), f"figures/{name}")
    return _compare(left, right, parts, f"holds no results of a config named {name}")


def compare_trees_exactly(left: Path, right: Path) -> Comparison:
    """Compare tidy tables and tables of two result trees, such as `results/quick`.

    Raises:
        FileNotFoundError: where a side is no result tree.

    """
    return _compare(left, right, PARTS, "is no result tree: it holds no tidy/ and no tables/")


def _compare(left: Path, right: Path, parts: tuple[str, ...], fault: str) -> Comparison:
    sides = [_result_files(folder, parts) for folder in (left, right)]
    for folder, files in zip((left, right), sides, strict=True):
        if not files:
            raise FileNotFoundError(f"{folder} {fault}")
    both = sorted(sides[0] & sides[1])
    equal = {path: filecmp.cmp(left / path, right / path, shallow=False) for path in both}
    return Comparison(
        same=tuple(path for path in both if equal[path]),
        different=tuple(path for path in both if not equal[path]),
        only_left=tuple(sorted(sides[0] - sides[1])),
        only_right=tuple(sorted(sides[1] - sides[0])),
    )


def _result_files(folder: Path, parts: tuple[str, ...]) -> set[str]:
    """Return the files of some parts of a folder, but hidden ones and those that times went into.

    Times of speed are in the ledger of claims too.
    """
    return {
        path.relative_to(folder).as_posix()
        for part in parts
        for path in (folder / part).rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and path.parent.name != "benchmarks"
        and path.stem != "claims"
    }
