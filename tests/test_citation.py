"""Files that say how to cite this say the same, of the package that is here."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import yaml

import fastff

ROOT = Path(__file__).parent.parent
CITED = yaml.safe_load((ROOT / "CITATION.cff").read_text())
AUTHORS = [author["name"] for author in CITED["authors"]]
PAPERS = {
    one["value"]
    for paper in CITED["references"]
    for one in paper.get("identifiers", [])
    if one["value"].startswith("arXiv:")
}


def test_the_package_is_what_is_cited():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CITED["version"] == fastff.__version__
    assert CITED["license"] == project["license"]
    assert f"## {fastff.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_codemeta_says_what_the_citation_says():
    found = json.loads((ROOT / "codemeta.json").read_text())
    assert found["version"] == CITED["version"]
    assert found["description"] == CITED["title"]
    assert found["license"].endswith(f"/{CITED['license']}")
    assert [author["name"] for author in found["author"]] == AUTHORS
    papers = {paper["identifier"] for paper in found["referencePublication"]}
    assert papers == {paper.replace("arXiv:", "https://arxiv.org/abs/") for paper in PAPERS}


def test_zenodo_gets_what_the_citation_says():
    found = json.loads((ROOT / ".zenodo.json").read_text())
    for key in ("title", "version", "license"):
        assert found[key] == CITED[key]
    assert [creator["name"] for creator in found["creators"]] == AUTHORS
    assert {paper["identifier"] for paper in found["related_identifiers"]} == PAPERS


def test_the_catalogue_finds_what_it_asks_for():
    assert yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    for path in ("config/README.md", "config/config.yaml", "workflow/Snakefile", "LICENSE"):
        assert (ROOT / path).is_file()
