"""docs/artifact.md: up to date, and every number from a file."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fastff.artifact.appendix import CONFIGS, appendix, digits, expected, machines, versions
from fastff.cli import main
from fastff.config.load import load_config
from fastff.data.prepare import DATASETS
from fastff.tables.provenance import launch_of

ROOT = Path(__file__).parents[2]
LEDGER = [
    {
        "claim": "better", "source": "A paper, Table 1", "statement": "One | is better.",
        "published": "+4 %", "experiment": "soft_merging", "target": "soft_merging_comparisons",
        "device": "", "dataset": "cifar10", "statistic": "change",
        "effect": 1.234, "low": 0.5, "high": 2.0,
        "unit": "%", "n": 12, "p_value": 0.01, "p_holm": 0.02, "verdict": "same direction",
        "reason": "the interval is above 0",
    },
    {
        "claim": "faster", "source": "A paper", "statement": "One is faster on a CPU.",
        "published": "78 times", "experiment": "engine_benchmark", "target": "engine_benchmark",
        "device": "cpu", "dataset": "Intel(R) Xeon(R) Processor, 2 cores", "statistic": "speedup",
        "effect": float("nan"), "low": float("nan"),
        "high": float("nan"), "unit": "", "n": 0, "p_value": float("nan"),
        "p_holm": float("nan"), "verdict": "contradicted", "reason": "slower",
    },
]  # fmt: skip


@pytest.fixture
def repository(tmp_path):
    """A repository with what the appendix reads, and little else; without a ledger."""
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    reference = tmp_path / "results" / "reference"
    for name in ("h100/provenance.json", "xeon/costs.csv"):
        (reference / name).parent.mkdir(parents=True)
        shutil.copy2(ROOT / "results" / "reference" / name, reference / name)
    for name in ("tidy/soft_merging/runs.csv.xz", "tables/soft_merging_comparisons.md"):
        (reference / "h100" / name).parent.mkdir(parents=True)
        shutil.copy2(ROOT / "results" / "reference" / "h100" / name, reference / "h100" / name)
    return tmp_path


def row_of(page: str, start: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    cells = line.replace(r"\|", "¦").strip("|").split("|")
    return [cell.strip() for cell in cells]


def test_the_committed_page_is_up_to_date():
    """Run `fastff artifact` after a change of config, ledger, costs, lock or template."""
    assert (ROOT / "docs" / "artifact.md").read_text(encoding="utf-8") == appendix(ROOT)


def test_without_a_ledger_the_page_says_so(repository):
    page = appendix(repository)
    assert "`results/reference/claims.csv`, is not in this repository yet" in page
    assert "| claim |" not in page


def test_a_claim_has_its_target_cost_and_expected_value(repository):
    pd.DataFrame(LEDGER).to_csv(repository / "results/reference/claims.csv", index=False)
    page = appendix(repository)
    made = launch_of(repository / "results/reference/h100", "soft_merging")["made"]
    row = row_of(page, "One ¦ is".replace("¦", r"\|"))
    assert row[0] == "One ¦ is better. (A paper, Table 1)"
    table = "results/reference/h100/tables/soft_merging_comparisons.md"
    assert row[1] == f"[soft_merging_comparisons](../{table})"
    assert row[2:4] == ["`soft_merging`", "h100"]
    assert float(row[4]) == pytest.approx(made["soft_merging"]["seconds"] / 60, rel=0.05)
    assert float(row[5]) == pytest.approx(made["soft_merging"]["peak_bytes"] / 1e9, rel=0.05)
    assert 0 < float(row[6]) < 0.01
    assert row[7:] == ["+1.23 (+0.5 to +2) %", "same direction"]
    assert row_of(page, "One is faster")[1:] == [
        "engine_benchmark", "`engine_benchmark`", "xeon", "–", "–", "–", "–",
        "contradicted",
    ]  # fmt: skip
    gone = page.partition("## What is contradicted")[2]
    assert "*Contradicted*, slower: faster." in gone
    assert "better" not in gone


def test_measured_costs_are_in_the_page(repository):
    costs = pd.read_csv(repository / "results/reference/xeon/costs.csv").set_index(["name", "step"])
    page = appendix(repository)
    minutes = costs.loc[("all", "all"), "wall_seconds"] / 60
    assert float(row_of(page, "all (")[4]) == pytest.approx(minutes, rel=0.05)
    assert f"commit\n{costs['commit'].iloc[0]}" in page
    own = costs.loc["top_k", "wall_seconds"].sum() / 60
    assert float(row_of(page, "`top_k` | `top_k`, ")[4]) == pytest.approx(own, rel=0.05)
    (repository / "results/reference/xeon/costs.csv").unlink()
    assert row_of(appendix(repository), "`top_k` | `top_k`, ")[3:] == ["–"] * 4


def test_every_config_dataset_and_version_is_named(repository):
    page = appendix(repository)
    for name in CONFIGS:
        for block in load_config(repository / "config" / f"{name}.yaml").experiments.values():
            assert f"`{block.dataset}`" in page
    for name, source in DATASETS.items():
        assert row_of(page, f"`{name}` | {source.licence}")
        for archive in source.archives:
            assert all(f"`{checksum}`" in page for checksum in archive.checksums().values())
    assert {name for name, _ in versions(ROOT)} > {"torch", "numpy", "snakemake"}
    assert all(version[0].isdigit() for _, version in versions(ROOT))
    assert f"torch {dict(versions(ROOT))['torch']}" in page


def test_machines_are_told_apart():
    found = {machine.name: machine for machine in machines(ROOT)}
    assert found["h100"].devices[0].startswith("NVIDIA H100")
    assert found["h200"].devices == ("NVIDIA H200",)
    assert found["epyc"].launches == []


def test_a_stale_page_is_shown_and_refused(repository, tmp_path, capsys):
    path = tmp_path / "page.md"
    arguments = ["artifact", "--root", str(repository), "--output", str(path)]
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    lock = repository / "requirements.lock"
    version = dict(versions(repository))["tqdm"]
    lock.write_text(lock.read_text().replace(f"tqdm=={version}", "tqdm==9.9.9"))
    before = path.read_text()
    assert main([*arguments, "--check"]) == 1
    printed = capsys.readouterr()
    assert "+ipykernel" in printed.out
    assert "tqdm 9.9.9" in printed.out
    assert f"{path} is stale: fastff artifact" in printed.err
    assert path.read_text() == before


def test_a_missing_config_is_named(tmp_path, capsys):
    assert main(["artifact", "--root", str(tmp_path), "--output", str(tmp_path / "x.md")]) == 2
    assert "config/config.yaml: No such file" in capsys.readouterr().err
    assert not (tmp_path / "x.md").exists()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0123, "0.012"), (3.0, "3"), (12.6, "13"), (250.4, "250"), (0.00021, "0.00021")],
)
def test_two_digits(value, shown):
    assert digits(value) == shown


def test_expected_values():
    assert expected(-1.0186, -3.11005, 1.00705, "%") == "-1.02 (-3.11 to +1.01) %"
    assert expected(78.23, 70.1, 80.0, "×") == "78.2 (70.1 to 80) ×"
    assert expected(float("nan"), 1, 2, "%") == "–"
    assert expected(5.0, float("nan"), float("nan"), "depth") == "5 depth"
