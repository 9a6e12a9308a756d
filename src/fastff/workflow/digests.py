"""Which code the result of a stage depends on, as one digest.

The code of a stage is found, not listed: from the modules that it starts with, along their import
statements. What is read of a module is its syntax tree without docstrings, so that comments and
layout don't count. The workflow gives the digests to its rules as parameters, so that an edit
reruns what it touches, and the run store makes that of "runs" part of a run's key.

An import counts wherever it stands, in a function too, but not below `if TYPE_CHECKING`.
`from package import name` counts the package's `__init__` and, if there is one, its module of that
name; the packages on the way to a module don't count, since nothing is taken from them.
`importlib.import_module` doesn't count either: it is for parts that most callers do without, such
as the kernels of a device. A stage that uses one of these starts with it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]
# All that a training run's numbers depend on. Stacks of runs take their layers' plain form, so the
# kernels are no part of it.
RUNS = ("fastff.data.dataset", "fastff.train.device", "fastff.train.job")
# What each stage starts with. The command line is none of it: what a command is called with, the
# workflow says.
STAGES: Mapping[str, tuple[str, ...]] = {
    "prepare": ("fastff.data.prepare",),
    "runs": RUNS,
    "train": (*RUNS, "fastff.train.tables"),
    "language": (
        *("fastff.language.job", "fastff.language.text"),
        *("fastff.kernels.numba", "fastff.kernels.triton"),
    ),
    "collect": ("fastff.tables.collect",),
    "bench": ("fastff.bench.run", "fastff.kernels.numba", "fastff.kernels.triton"),
    "analysis": ("fastff.analysis",),
    "claims": ("fastff.analysis.ledger", "fastff.claims.file", "fastff.claims.ledger"),
    "site": ("fastff.site.pages",),
}
# What stages read of the package beside its modules.
FILES: Mapping[str, tuple[str, ...]] = {"site": ("site/templates/*",)}
# Fields of a tree's nodes that change nothing, or say what the nodes around them say.
LEFT_OUT = {"ctx", "kind", "type_comment"}
IMPORTS = (ast.Import, ast.ImportFrom)


def stage_digest(stage: str, package: Path = PACKAGE) -> str:
    """Return the SHA-256 of a stage's code, the same for every version of Python.

    Args:
        stage: a key of STAGES.
        package: folder of the package.

    Raises:
        KeyError: for an unknown stage.

    """
    digest = hashlib.sha256()
    for name in closure(STAGES[stage], package):
        digest.update(f"{name} {_read(package, name).digest}\n".encode())
    for pattern in FILES.get(stage, ()):
        for path in sorted(package.glob(pattern)):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(package)} {content}\n".encode())
    return digest.hexdigest()


def closure(modules: Iterable[str], package: Path = PACKAGE) -> list[str]:
    """Return modules of a package and all of its that they import, directly or not, sorted.

    Raises:
        FileNotFoundError: for a module that there isn't.

    """
    found: set[str] = set()
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _read(package, name).imports
    return sorted(found)


class _Code(NamedTuple):
    imports: frozenset[str]  # modules of the same package
    digest: str


@functools.cache
def _read(package: Path, name: str) -> _Code:
    path = _path(package, name)
    if path is None:
        raise FileNotFoundError(f"{package}: there is no module {name}")
    words: list[str] = []
    statements: list[ast.Import | ast.ImportFrom] = []
    _spell(ast.parse(path.read_bytes()), words, statements)
    parent = name if path.stem == "__init__" else name.rpartition(".")[0]
    imported = {one for statement in statements for one in _imported(statement, parent)}
    return _Code(
        imports=frozenset(one for one in imported if _path(package, one) is not None),
        digest=hashlib.sha256("\n".join(words).encode()).hexdigest(),
    )


@functools.cache
def _path(package: Path, name: str) -> Path | None:
    """Return the file of a module; None where the package has no module of that name."""
    first, *rest = name.split(".")
    if first != package.name:
        return None
    stem = package.joinpath(*rest)
    files = [stem / "__init__.py", *([stem.with_suffix(".py")] if rest else [])]
    return next((file for file in files if file.exists()), None)


def _imported(node: ast.Import | ast.ImportFrom, parent: str) -> set[str]:
    """Return what an import statement names that may be a module; `parent` is the package's."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    module = importlib.util.resolve_name("." * node.level + (node.module or ""), parent)
    return {module, *(f"{module}.{alias.name}" for alias in node.names)}


def _spell(value: object, words: list[str], statements: list[ast.Import | ast.ImportFrom]) -> None:
    """Add the words of a part of a syntax tree, and its import statements.

    Empty fields are left out, for later versions of Python have more of them.
    """
    if isinstance(value, ast.AST):
        if isinstance(value, IMPORTS):
            statements.append(value)
        words.append(type(value).__name__)
        for field in value._fields:
            part = getattr(value, field, None)
            if part is not None and part != [] and field not in LEFT_OUT:
                words.append(field)
                part = _joined(part) if isinstance(value, ast.JoinedStr) else part
                _spell(part, words, statements)
        words.append(".")
    elif isinstance(value, list):
        words.append("[")
        for part in _effective(value):
            _spell(part, words, statements)
        words.append("]")
    else:
        words.append(repr(value))


def _effective(parts: Iterable[object]) -> Iterator[object]:
    """Yield parts of a tree without docstrings and what only type checkers see."""
    for part in parts:
        if isinstance(part, ast.Expr):
            is_text = isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
            if not is_text:
                yield part
        elif isinstance(part, ast.If) and "TYPE_CHECKING" in (
            getattr(part.test, "id", None),  # a name
            getattr(part.test, "attr", None),  # of a module
        ):
            yield from _effective(part.orelse)
        else:
            yield part


def _joined(parts: Iterable[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string with neighbouring texts as one, and without empty ones."""
    found: list[ast.expr] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            found[-1] = ast.Constant(str(last.value) + str(part.value))
        elif not isinstance(part, ast.Constant) or part.value:
            found.append(part)
    return found
