"""Reading a YAML file as people mean it: a key that is given twice is a mistake, not a choice."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from fastff.faults import ConfigError


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads what SafeLoader does, but refuses a key that a mapping has already."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping. Raises ConstructorError for a key that is given twice."""
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # SafeLoader says so
            line = key_node.start_mark.line + 1
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} is given twice, in lines {seen[key]} and {line}"
                )
            seen[key] = line
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def read_yaml(path: Path, what: str = "config file") -> dict[str, Any]:
    """Return the mapping that a YAML file holds; `what` says in messages which file it is.

    Raises:
        ConfigError: a file that can't be read, isn't YAML, has a key twice, or holds no mapping.

    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
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
    return values
