"""Results described as a Workflow Run RO-Crate, for machines that collect research objects.

https://w3id.org/ro/wfrun/workflow/0.5: what was run (the workflow and its engine), on what (the
config and the datasets' records), by what version, and what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml

from fastff.bench.provenance import provenance
from fastff.files import digest_of

METADATA = "ro-crate-metadata.json"
WORKFLOW = "workflow/Snakefile"
CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".yaml": "application/yaml",
}


def crate(files: Mapping[str, Path], repository: Path, time: int) -> dict[str, Any]:
    """Return the content of `ro-crate-metadata.json` for the files of an exported run.

    Args:
        files: by their names in the archive, among them WORKFLOW and `config.yaml`.
        repository: the clone with CITATION.cff, which names title, version, licence and authors.
        time: when the newest of the files was made, in seconds since 1970.

    Raises:
        OSError: where a file can't be read.

    """
    cited = yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))
    config = yaml.safe_load(files["config.yaml"].read_text(encoding="utf-8"))
    made = datetime.fromtimestamp(time, UTC)
    commit = str(provenance(torch.device("cpu"))["commit"])
    authors = [_author(number, given) for number, given in enumerate(cited["authors"])]
    is_input = {name: name == "config.yaml" or name.startswith("datasets/") for name in files}
    outputs = [name for name in files if not is_input[name] and not name.startswith("workflow/")]
    inputs = [name for name, given in is_input.items() if given]
    version = f"{cited['version']}, commit {commit}" if commit else str(cited["version"])
    licence = f"https://spdx.org/licenses/{cited['license']}"
    engine = {
        "@id": "#snakemake",
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": {"@id": "https://snakemake.github.io"},
        "url": {"@id": "https://snakemake.github.io"},
        "version": metadata.version("snakemake"),
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"FastFF: results of the config {config['name']}",
        "description": cited["title"],
        "datePublished": f"{made:%Y-%m-%d}",
        "license": {"@id": licence},
        "author": _links(author["@id"] for author in authors),
        "conformsTo": _links(PROFILES),
        "hasPart": _links(files),
        "mainEntity": {"@id": WORKFLOW},
        "mentions": [{"@id": "#run"}],
    }
    workflow = {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": cited["title"],
        "programmingLanguage": {"@id": engine["@id"]},
        "version": version,
        "license": {"@id": licence},
    }
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"A run of the config {config['name']}",
        "endTime": f"{made:%Y-%m-%dT%H:%M:%SZ}",
        "instrument": {"@id": WORKFLOW},
        "object": _links(inputs),
        "result": _links(outputs),
        "agent": {"@id": authors[0]["@id"]},
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
    }
    described = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _links(["https://w3id.org/ro/crate/1.1", list(PROFILES)[-1]]),
    }
    profiles = [
        {"@id": address, "@type": "CreativeWork", "name": name, "version": address[-3:]}
        for address, name in PROFILES.items()
    ]
    parts = [
        _file(name, path) | (workflow if name == WORKFLOW else {}) for name, path in files.items()
    ]
    terms = {"@id": licence, "@type": "CreativeWork", "name": cited["license"]}
    graph = [described, root, *profiles, terms, *authors, engine, run, *parts]
    return {"@context": CONTEXT, "@graph": graph}


def _file(name: str, path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    kind = FORMATS.get(path.suffix)
    return {
        "@id": name,
        "@type": "File",
        "contentSize": str(len(content)),
        "sha256": digest_of(content),
        **({"encodingFormat": kind} if kind else {}),
    }


def _author(number: int, given: Mapping[str, str]) -> dict[str, Any]:
    """Return a person or group of CITATION.cff."""
    if "name" in given:
        return {"@id": f"#author-{number}", "@type": "Organization", "name": given["name"]}
    name = f"{given['given-names']} {given['family-names']}"
    place = given.get("orcid", f"#author-{number}")
    return {"@id": place, "@type": "Person", "name": name}


def _links(places: Any) -> list[dict[str, str]]:
    return [{"@id": place} for place in places]
