"""The files of a run that its site shows, as the workflow lists them."""

from __future__ import annotations

import shlex
from pathlib import Path

from fastff.config.base import Spec

FIGURE_FILES = (".svg", ".pdf")
TABLE_FILES = (".csv", ".md", ".tex")  # that a reader can take, beside the .html to look at


class Block(Spec):
    """The files of an experiment, a benchmark or the ledger of claims.

    Attributes:
        caption: the file with the caption of its figures.
        figures: the files of its figures without their ending, for `.svg` and `.pdf`.
        tables: likewise of its tables, for `.html`, `.csv`, `.md` and `.tex`.
        data: the tables that its notebook read.
        notebook: its executed notebook.

    """

    caption: str
    figures: tuple[str, ...]
    tables: tuple[str, ...]
    data: tuple[str, ...]
    notebook: str

    def files(self) -> list[str]:
        """Return all of its files."""
        figures = [f"{stem}{end}" for stem in self.figures for end in FIGURE_FILES]
        tables = [f"{stem}{end}" for stem in self.tables for end in (".html", *TABLE_FILES)]
        return [self.caption, self.notebook, *self.data, *figures, *tables]


class Manifest(Spec):
    """The files of a site.

    Attributes:
        blocks: every experiment and benchmark, by name.
        ledger: the claims, where the config has a ledger; its only table is the ledger itself.
        table_caption: the file with the caption of all tables.
        rule_graph: what `snakemake --rulegraph dot` printed.
        configfiles: what the config was read from, and
        changes: what was changed on the command line, as `key=value`.
        jobs: the folder with what Snakemake measured of each job.
        datasets: what is known of each prepared dataset, a JSON file each.
        earlier: folders of earlier results that this run has drawn from.
        repository: the folder with README.md, and `docs/` with more pages and Sphinx's settings.

    """

    blocks: dict[str, Block]
    ledger: Block | None
    table_caption: str
    rule_graph: str
    configfiles: tuple[str, ...]
    changes: tuple[str, ...]
    jobs: str
    datasets: tuple[str, ...]
    earlier: tuple[str, ...]
    repository: str

    def command(self, target: str) -> str:
        """Return the command that makes a file or what a rule is named for."""
        words = ["snakemake", "--cores", "all", target, "--configfile", *self.configfiles]
        return shlex.join([*words, *(["--config", *self.changes] if self.changes else [])])

    def drawn(self) -> dict[str, Block]:
        """Return all blocks, the ledger last, as `claims`."""
        return {**self.blocks, **({"claims": self.ledger} if self.ledger else {})}

    def missing(self) -> list[str]:
        """Return the files of the manifest that aren't there."""
        wanted = [self.table_caption, self.rule_graph, *self.datasets]
        wanted += [str(Path(self.repository, name)) for name in ("README.md", "docs/conf.py")]
        for block in self.drawn().values():
            wanted += block.files()
        return [path for path in dict.fromkeys(wanted) if not Path(path).is_file()]
