"""Comparing the results of two runs of a config, byte by byte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PARTS = ("tidy", "tables")
COMPARED = (*(f"results/{{name}}/{part}" for part in PARTS), "figures/{name}")


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
        counts = f"{len(self.same)} files identical, {len(lines)} not"
        return "\n".join([*lines, counts])


def compare_runs(left: Path, right: Path, name: str) -> Comparison:
    """Compare tidy tables, tables and figures of the config `name` in two working folders.

    Executed notebooks and logs carry times, and so does all that is drawn of benchmarks, and the
    ledger of claims with those of speed: they are left out, as are hidden files, which a process
    that was killed may have left.

    Raises:
        FileNotFoundError: where a side holds no results of that name.

    """
    parts = tuple(part.format(name=name) for part in COMPARED)
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
    same = [path for path in both if (left / path).read_bytes() == (right / path).read_bytes()]
    return Comparison(
        same=tuple(same),
        different=tuple(path for path in both if path not in set(same)),
        only_left=tuple(sorted(sides[0] - sides[1])),
        only_right=tuple(sorted(sides[1] - sides[0])),
    )


def _result_files(folder: Path, parts: tuple[str, ...]) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for part in parts
        for path in (folder / part).rglob("*")
        if path.is_file() and not (path.name.startswith(".") or _is_of_times(path))
    }


def _is_of_times(path: Path) -> bool:
    """Return whether times went into a file; those of speed are in the ledger of claims too."""
    return path.parent.name == "benchmarks" or path.stem == "claims"
