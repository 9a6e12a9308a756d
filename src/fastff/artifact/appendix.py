"""The artifact appendix: prose from a template, every number from a file of the repository."""

from __future__ import annotations

from pathlib import Path

import jinja2

from fastff.artifact import facts
from fastff.config.load import load_config

CONFIGS = ("config", "reference", "paper", "smoke")
PLACE = Path(__file__).parent


def appendix(root: Path) -> str:
    """Return the text of docs/artifact.md for a repository.

    Args:
        root: the repository's folder, with `config/`, `results/reference/`, `requirements.lock` and
            `pyproject.toml`.

    Raises:
        ConfigError: for a config that can't be read.
        OSError: for another file that is missing.

    """
    configs = {name: load_config(root / "config" / f"{name}.yaml") for name in CONFIGS}
    measured = facts.machines(root)
    references = [machine for machine in measured if machine.provenance]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PLACE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["listed"] = facts.listed
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|")
    return environment.get_template("appendix.md.j2").render(
        configs=configs,
        claims=facts.claims(root, configs["reference"], measured),
        machines=measured,
        experiments=facts.experiments(configs["config"], measured),
        total=facts.total(configs["config"], measured),
        references=[(machine, facts.trained(root, machine)) for machine in references],
        datasets=facts.datasets(),
        versions=facts.versions(root),
    )
