"""A small finished run whose figures, tables and notebooks are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import yaml

from fastff.analysis.ledger import load_ledger, write_ledger
from fastff.config.load import CLAIM_FIGURES, Config, parse_config
from fastff.site.manifest import Manifest
from fastff.tables.format import write_table

ROOT = Path(__file__).parents[2]
RECIPE = {"epochs": 1, "batch_size": 128, "learning_rate": 1e-5}
VALUES = {
    "name": "mine",
    "experiments": {
        "own_experiment": {
            # what means something in reStructuredText and HTML
            "title": "Is a *b*_ |c| & `d` {e} \\ $f$?",
            "notebook": "soft_merging",
            "dataset": "mnist5k",
            "seeds": [0, 1],
            "recipe": RECIPE,
            "grid": {"depth": [1, 2], "hidden_features": [4]},
            "variants": ["fff_mixture_log", "moe_mixture"],
            "figures": ["{experiment}", "{experiment}_{variant}"],
        }
    },
    "benchmarks": {
        "own_benchmark": {
            "kind": "timing",
            "title": "Own times",
            "notebook": "gate_benchmark",
            "cases": {
                "cpu": {
                    **{"device": "cpu", "op": "gate", "variants": ["product", "log"]},
                    **{"in_features": 8, "batch": [1], "depth": [1]},
                }
            },
        }
    },
}
MEASURED_ON = {"device_name": "A CPU", "driver": "", "torch": "2.14.1", "commit": "8e803d004e56"}
FIGURE = {
    ".svg": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    ".pdf": "%PDF-1.4",
}
RULES = 'digraph d { graph[]; node[]; edge[]; 0[label="all"]; 1[label="train"]; 1 -> 0 }'
TABLE = pd.DataFrame(
    {
        "variant": ["c", "a", "b"],
        "depth": [10, 9, 8],
        "accuracy_hard_mean": [0.5, np.nan, 0.095],
        "accuracy_hard_ci": [0.1, np.nan, 0.001],
        "note": ["1.9× [1.8, 2]", "–", "many"],
    }
)


def made_up_run(folder: Path, *, with_ledger: bool) -> tuple[Path, Manifest]:
    """Write a run into a folder, and return the file with its config, and what it made."""
    config = parse_config(VALUES)
    blocks = {name: _block(folder, config, name) for name in config.drawn()}
    ledger = None
    if with_ledger:
        config = config.model_copy(update={"claims": "config/claims.yaml"})
        table = load_ledger(ROOT / "results" / "reference" / "claims.csv")
        table["experiment"] = "own_experiment"
        table.loc[1, "experiment"] = "of_another_config"
        write_ledger(table, folder / "claims")
        ledger = {
            "caption": str(ROOT / "workflow" / "report" / "claims.rst"),
            "figures": [_figure(folder, name) for name in CLAIM_FIGURES],
            "tables": [str(folder / "claims")],
            "data": [str(folder / "claims.csv")],
            "notebook": _notebook(folder, "claims"),
        }
    (folder / "config.yaml").write_text(yaml.safe_dump(VALUES), encoding="utf-8")
    (folder / "rules.dot").write_text(RULES, encoding="utf-8")
    job = folder / "jobs" / "train" / "own_experiment" / "moe_mixture.tsv"
    job.parent.mkdir(parents=True)
    job.write_text("s\tmax_rss\tcpu_time\n12.34\t-\t5.0\n", encoding="utf-8")
    manifest = {
        "blocks": blocks,
        "ledger": ledger,
        "table_caption": str(ROOT / "workflow" / "report" / "tables.rst"),
        "rule_graph": str(folder / "rules.dot"),
        "configfiles": ["my config.yaml"],
        "changes": ["name=mine"],
        "jobs": str(folder / "jobs"),
        "datasets": [],
        "earlier": [str(ROOT / "results" / "reference" / "h100")],
        "repository": str(ROOT),
    }
    return folder / "config.yaml", Manifest.model_validate_json(json.dumps(manifest))


def _block(folder: Path, config: Config, name: str) -> dict[str, Any]:
    block = config.drawn()[name]
    tables = [folder / table for table in block.expand("tables", name)]
    for stem in tables:
        write_table(TABLE, stem)
    data = folder / name / "benchmarks" / f"{name}.csv"
    data.parent.mkdir(parents=True)
    if name in config.experiments:
        data.write_text("seed\n" + 200_000 * "123456\n", encoding="utf-8")  # too large for a site
    else:
        pd.DataFrame([MEASURED_ON]).to_csv(data, index=False)
    return {
        "caption": str(ROOT / "workflow" / "report" / f"{block.notebook}.rst"),
        "figures": [_figure(folder, stem) for stem in block.expand("figures", name)],
        "tables": [str(stem) for stem in tables],
        "data": [str(data)],
        "notebook": _notebook(folder, name),
    }


def _figure(folder: Path, name: str) -> str:
    for end, content in FIGURE.items():
        (folder / f"{name}{end}").write_text(content, encoding="utf-8")
    return str(folder / name)


def _notebook(folder: Path, name: str) -> str:
    image = nbformat.v4.new_output("display_data", {"image/png": PIXEL})
    table = nbformat.v4.new_output(
        "display_data", {"text/markdown": "| a | b |\n|--|--|\n| 1 | 2 |"}
    )
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f"# Notebook {name}\n\nWith $x^2$ and\n\n$$y_1$$"),
            nbformat.v4.new_code_cell("1 / 0", execution_count=1, outputs=[image, table]),
        ]
    )
    book.metadata["language_info"] = {"name": "python"}
    path = folder / f"{name}.ipynb"
    nbformat.write(book, path)
    return str(path)


PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
