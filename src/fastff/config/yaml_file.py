"""Reading YAML files as people mean them, merging config files, and writing what jobs read.

A key that is given twice is a mistake, not a choice. A config file may name others that it
`extends`: they are merged in their order, and it comes last. Mappings are merged key by key, all
else is replaced, and `null` removes a key.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from fastff.config.base import unknown
from fastff.config.errors import ConfigError
from fastff.config.recipe import Recipe
from fastff.files import atomic_path

# Keys where null is a value of its own, which overrides a more general one, and so is kept.
NULL_IS_A_VALUE = frozenset(
    {
        "runs_per_job",
        *(key for key, field in Recipe.model_fields.items() if field.default is None),
    }
)
BLOCKS = {
    "experiments": "experiment",
    "language_models": "language model",
    "benchmarks": "benchmark",
}
FAULT = re.compile(r"(?P<key>[\w.\[\]]+)(: (unknown )?key '(?P<last>[^']*)')?")

MOST_BYTES = 10_000_000  # of a file: a thousand times what a config has
MOST_NODES = 1_000_000  # of a file whose aliases are written out
# What YAML 1.1 reads as a number of base 8 or 60, and nobody else
ODD_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")

HEADING = "# The config of this run, whole. Each start writes it anew, so change config/ instead.\n"


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads what SafeLoader does, but refuses repeated keys, and numbers that aren't plain."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping. Raises ConstructorError for a key that is given twice."""
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # SafeLoader says so
            if not isinstance(key, str):
                problem = f"key {key_node.value} is no text but {key!r} for YAML; put it in quotes"
                raise yaml.constructor.ConstructorError(
                    problem=problem, problem_mark=key_node.start_mark
                )
            line = key_node.start_mark.line + 1
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} is given twice, in lines {seen[key]} and {line}"
                )
            seen[key] = line
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def _construct_number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """Return a number as people mean it, or raise ConstructorError."""
    if ODD_NUMBER.fullmatch(node.value):
        problem = f"{node.value} is a number of base 8 or 60 in YAML 1.1; write it in base 10"
        raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
    kind = node.tag.rpartition(":")[2]
    try:
        number: int | float = getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(loader, node)
    except ValueError:
        problem = f"a number of {len(node.value)} digits, {node.value[:20]}..., is too long"
        raise yaml.constructor.ConstructorError(
            problem=problem, problem_mark=node.start_mark
        ) from None
    return number


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_number)


def _n_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the nodes of a document whose aliases are written out. Raises YAMLError for a loop."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if known.setdefault(id(node), 0) == 0:
        known[id(node)] = -1  # under way
        is_mapping = isinstance(node, yaml.MappingNode)
        inner = [one for pair in node.value for one in pair] if is_mapping else node.value
        known[id(node)] = 1 + sum(_n_nodes(one, known) for one in inner)
    if known[id(node)] < 0:
        raise yaml.YAMLError(f"an alias is in what it stands for, {str(node.start_mark).strip()}")
    return known[id(node)]


@dataclass(frozen=True)
class Layer:
    """What one file says of a config, or the command line does.

    Attributes:
        source: what messages call it.
        values: what it says.
        root: where each key stands in the file; None for a command line.

    """

    source: str
    values: Mapping[str, Any]
    root: yaml.Node | None = None

    def find(self, key: Sequence[str | int]) -> tuple[int, str]:
        """Return how many parts of a key stand here, and where the last of them does.

        A part that doesn't is skipped: pydantic's name of one of several kinds of block.
        """
        if self.root is None:
            return len(key) + 1 if key and key[0] in self.values else 0, self.source
        node, n_found, place = self.root, 0, self.source
        for part in key:
            entries = node.value if isinstance(node, yaml.MappingNode) else []
            if isinstance(node, yaml.SequenceNode):
                entries = list(enumerate(node.value))
            # from the last one, for what `<<` merges stands before a mapping's own keys
            for name, value in reversed(entries):
                if part == (name if isinstance(name, int) else name.value):
                    mark = (value if isinstance(name, int) else name).start_mark
                    node, n_found = value, n_found + 1
                    place = f"{self.source}, line {mark.line + 1}"
                    break
        return n_found, place


def read_yaml(path: Path, what: str = "config file") -> dict[str, Any]:
    """Return the mapping that a YAML file holds; `what` says in messages which file it is.

    Raises:
        ConfigError: a file that can't be read, isn't YAML, has a key twice, or holds no mapping.

    """
    return _read(path, what)[0]


def _read(path: Path, what: str) -> tuple[dict[str, Any], yaml.Node]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError(f"{what} {path}: at most {MOST_BYTES // 1_000_000} MB are allowed")
        loader = _Loader(content.decode())
        root = loader.get_single_node()
        if root is not None and _n_nodes(root, {}) > MOST_NODES:
            raise ConfigError(f"{what} {path}: its aliases stand for too much to write out")
        values = None if root is None else loader.construct_document(root)
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror}") from None
    except yaml.constructor.ConstructorError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{what} {path}{where}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        fault = " ".join(str(error).split())
        raise ConfigError(f"{what} {path} is not YAML: {fault}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{what} {path}: expected keys with values, found {values!r:.80}")
    return values, root


def read_layers(*paths: Path, extending: tuple[Path, ...] = ()) -> list[Layer]:
    """Return what config files say, each behind the files that it extends.

    Args:
        paths: the files; later ones change earlier ones.
        extending: the files that extend these.

    Raises:
        ConfigError: a file that can't be read, or that extends what isn't there or itself.

    """
    layers = []
    for path in paths:
        values, root = _read(path, "config file")
        bases = values.pop("extends", [])
        layer = Layer(f"config file {path}", values, root)
        with located([layer]):
            if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
                raise ConfigError(
                    f"extends = {bases!r:.80}: should be a list of files, by their paths from here"
                )
            for number, base in enumerate(bases):
                _check_base(f"extends[{number}] = {base!r}", path, base, extending)
        files = [path.parent / base for base in bases]
        layers += [*read_layers(*files, extending=(*extending, path)), layer]
    return layers


def _check_base(what: str, path: Path, base: str, extending: tuple[Path, ...]) -> None:
    """Raise ConfigError for a file that can't be extended from `path`."""
    file = path.parent / base
    if not file.is_file():
        there = sorted(other.name for other in file.parent.glob("*.yaml") if other != path)
        raise ConfigError(f"{what}: {unknown(f'file in {file.parent}', file.name, there)}")
    chain = (*extending, path)
    for number, other in enumerate(chain):
        if file.resolve() == other.resolve():
            way = " extends ".join(str(step.name) for step in (*chain[number:], file))
            raise ConfigError(f"{what}: a file can't extend itself; here {way}")


def merge_layers(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the values of a config, each layer merged onto those before it.

    Raises:
        ConfigError: with file and line, for a null that removes nothing, or a block of an unknown
            name that doesn't look like a new one.

    """

    def onto(values: Mapping[str, Any], layer: Layer) -> dict[str, Any]:
        with located([layer]):
            return merge(values, layer.values)

    return reduce(onto, layers[1:], dict(layers[0].values))


def merge(values: Mapping[str, Any], changes: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return `values` with changes: mappings key by key, all else replaced, null removes a key.

    In a block that is new, as in a file that extends none, null is a value. Raises ConfigError as
    `merge_layers` does; `where` is the key of the mapping.
    """
    merged = dict(values)
    for key, change in changes.items():
        at = f"{where}.{key}" if where else str(key)
        if change is None and key not in NULL_IS_A_VALUE:
            if key not in values:
                fault = unknown(f"key {key!r}", key, values)
                raise ConfigError(f"{at} = None: nothing to remove; {fault}")
            del merged[key]
        elif isinstance(change, dict) and isinstance(values.get(key), dict):
            merged[key] = merge(values[key], change, at)
        else:
            is_block = where in BLOCKS and isinstance(change, dict) and key not in values
            if is_block and not change.keys() & {"title", "extends"}:
                fault = unknown(f"{BLOCKS[where]} {key!r}", key, values)
                raise ConfigError(f"{at}: {fault}; a new one needs a title")
            merged[key] = change
    return merged


@contextmanager
def located(layers: Sequence[Layer]) -> Iterator[None]:
    """Say in a ConfigError where the keys stand with which its lines start."""
    try:
        yield
    except ConfigError as error:
        if not layers:
            raise
        faults = str(error).split("\n")
        raise ConfigError("\n".join(_located(fault, layers) for fault in faults)) from None


def _located(fault: str, layers: Sequence[Layer]) -> str:
    named = FAULT.match(fault)
    parts = re.findall(r"\w+", named["key"]) if named else []
    key = [int(part) if part.isdecimal() else part for part in parts]
    key += [named["last"]] if named and named["last"] else []
    # the last one that has most of it; what no key is to blame for is a file's
    found = [(*layer.find(key), layer.root is not None) for layer in reversed(layers)]
    _, place, _ = max(found, key=lambda one: (one[0], one[2]))
    return f"{place}: {fault.removeprefix('config: ')}"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes what two keys share at both."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def config_text(values: Mapping[str, Any]) -> str:
    """Return the file of a config whose files and changes are merged."""
    return f"{HEADING}{yaml_text(values)}"


def yaml_text(values: Mapping[str, Any]) -> str:
    """Return a mapping as YAML: innermost lists and mappings in a line, nothing by reference."""
    text: str = yaml.dump(
        dict(values),
        Dumper=_Dumper,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    return text


def keep(path: Path, text: str) -> None:
    """Write a file, unless it says just this already. Raises OSError as `atomic_path` does."""
    if not path.is_file() or path.read_bytes() != text.encode():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
