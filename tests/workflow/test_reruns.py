"""An edit reruns what it touches and nothing else: real dry runs after a complete run."""

import os
import re
import shutil

import pytest
from trees import TINY, jobs_in

VARIANTS = {
    name: [variant.name for variant in experiment.variants]
    for name, experiment in TINY.experiments.items()
}
LEDGER = {"ledger", "draw_claims"}
DRAWN = {f"draw_{name}" for name in TINY.drawn()} | {"draw_claims"}
# What claims are about; of the other experiments of the tiny config there are none.
CLAIMED = {"soft_merging", "gate_activation"}
CONFIG = "config/tiny.yaml"


def trained(*experiments: str, ledger: bool = True) -> set[str]:
    """Return all jobs of experiments, from training to figures, and to the ledger of claims."""
    jobs = {f"draw_{experiment}" for experiment in experiments}
    jobs |= {f"collect {experiment}" for experiment in experiments}
    jobs |= LEDGER if ledger and CLAIMED & set(experiments) else set()
    return jobs | {f"train {e} {variant}" for e in experiments for variant in VARIANTS[e]}


def test_after_a_complete_run_there_is_nothing_to_do(finished):
    assert finished.planned() == set()
    assert "Nothing to be done" in finished.snakemake("--dry-run").stdout


def test_what_changes_no_result_reruns_nothing(edited):
    """What is said of code, shown while it runs or in other figures, and what reads the code."""
    for path, old, new in (
        ("src/fastff/data/names.py", "DATASET_NAMES:", "# Edited\nDATASET_NAMES:"),
        ("src/fastff/layers/experts.py", '"""Banks', '"""Collections'),
        (
            "src/fastff/train/loop.py",
            "order = torch.stack",
            "# Edited\n        order = torch.stack",
        ),
        ("src/fastff/workflow/progress.py", '"starting"', '"about to start"'),
        ("src/fastff/workflow/digests.py", "RUNS = (", "OTHER = 1\nRUNS = ("),
        ("src/fastff/cli/train.py", "MAX_SECONDS = 1e6", "MAX_SECONDS = 1e5"),
        ("src/fastff/__init__.py", '__version__ = "', '__version__ = "1.'),
        ("src/fastff/bench/measure.py", "import ", "import sys\nimport "),
        ("src/fastff/verify/exact.py", "from ", "import sys\nfrom "),
        ("config/claims.yaml", "# What was", "# Edited: what was"),
        ("README.md", "\n", "\n<!-- edited -->\n"),
        (CONFIG, "# Four", "# Edited: four"),
        (CONFIG, "name: tiny", "name: tiny\ncontainer: fastff.sif"),
    ):
        edited.edit(path, old, new)
    assert edited.planned() == set()


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("src/fastff/analysis/style.py", "\nimport ", "\nimport sys\nimport ", DRAWN),
        ("src/fastff/config/presets.py", '"hypercube", Hyper', '"Hypercube", Hyper', DRAWN),
        # a kernel's lines are told by its label, so figures are drawn again; nothing is trained
        (
            *("src/fastff/config/timed_forms.py", '"tree, product"', '"tree, as a product"'),
            DRAWN | LEDGER,
        ),
        ("src/fastff/claims/times.py", "\nimport ", "\nimport sys\nimport ", LEDGER),
        ("config/claims.yaml", "statement: An FFF is less", "statement: An FFF was less", LEDGER),
        (CONFIG, "title: Soft merging", "title: Merging", {"draw_soft_merging"}),
        ("notebooks/gate_activation.ipynb", '"cells"', ' "cells"', {"draw_gate_activation"}),
    ],
)
def test_an_edit_reruns_what_it_touches(edited, path, old, new, expected):
    edited.edit(path, old, new)
    assert edited.planned() - {"all"} == expected


def test_a_line_of_a_layer_trains_anew(edited):
    edited.edit("src/fastff/layers/experts.py", "p * hidden", "hidden * p")
    printed = edited.snakemake("--dry-run").stdout
    assert jobs_in(printed) - {"all"} == trained(*VARIANTS)
    reasons = re.findall(r"rule train:\n(?:    .*\n)*?    reason: (.*)", printed)
    assert len(reasons) == sum(map(len, VARIANTS.values()))
    assert all("Params have changed" in reason for reason in reasons)


def test_a_reader_of_datasets_reruns_from_the_data_on(edited):
    edited.edit("src/fastff/data/mnist5k.py", "N_TEST = 1000", "N_TEST = 900")
    assert edited.planned() - {"all"} == {"prepare mnist5k"} | trained(*VARIANTS)


def test_a_touched_file_with_the_same_content_reruns_nothing(edited):
    for path in edited.folder.glob("src/fastff/**/*.py"):
        os.utime(path)
    assert edited.planned() == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    recipe: *recipe", "    recipe: {epochs: 1, batch_size: 128, learning_rate: 0.01}"),
        ("    seeds: [0, 1]\n    recipe: *recipe", "    seeds: [0, 1, 9]\n    recipe: *recipe"),
        ("    grid: *grid", "    grid: {depth: [1, 2, 3], hidden_features: [4, 8]}"),
    ],
    ids=["learning rate", "seed", "grid point"],
)
def test_a_change_of_one_experiment_reruns_that_experiment(edited, old, new):
    edited.edit(CONFIG, old, new)  # the first such line is gate_activation's
    assert edited.planned() - {"all"} == trained("gate_activation")


def test_copied_results_of_another_config_are_trained_again(edited):
    """Snakemake has no record of them, so that theirs are compared."""
    shutil.rmtree(edited.folder / ".snakemake")
    assert edited.planned() == set()
    edited.edit(CONFIG, "    seeds: [0, 1]", "    seeds: [0, 2]")
    assert edited.planned() - {"all"} == trained("gate_activation")


def test_a_new_variant_trains_only_itself(edited):
    edited.edit(CONFIG, "      - fff_mixture_relu", "      - moe_mixture\n      - fff_mixture_relu")
    assert edited.planned() - {"all"} == {
        "train gate_activation moe_mixture",
        "collect gate_activation",
        "draw_gate_activation",
        *LEDGER,
    }


def test_a_target_builds_only_what_it_needs(edited):
    for path in ("results", "figures", ".snakemake"):
        (edited.folder / path).rename(edited.folder / f"{path}.old")
    needed = {"prepare mnist5k"} | trained("hypercube", ledger=False)
    assert edited.planned("figures/tiny/hypercube_gradients.pdf") == needed
    assert edited.planned("results/tiny/tables/hypercube.tex") == needed
    assert edited.planned("hypercube") - {"hypercube"} == needed


def test_a_new_seed_trains_only_the_new_runs(edited):
    """The real thing: the job is rerun, and takes the runs it had from the store."""
    edited.edit(
        CONFIG,
        "    seeds: [0, 1]\n    recipe: *recipe",
        "    seeds: [0, 1, 9]\n    recipe: *recipe",
    )
    target = "results/tiny/jobs/gate_activation/fff_mixture_relu/runs.csv"
    before = (edited.folder / target).read_text().splitlines()
    edited.snakemake(target)
    log = edited.folder / "results/tiny/logs/train/gate_activation/fff_mixture_relu.log"
    assert "12 runs: 8 stored, 4 to train" in log.read_text()
    after = (edited.folder / target).read_text().splitlines()
    assert set(before) < set(after)
    assert len(after) == 13


def test_a_benchmark_is_measured_and_then_drawn(finished):
    """Not run here, for it takes every core: `make run CONFIG=config/smoke.yaml` does, in CI."""
    printed = finished.snakemake("engine_benchmark", "--dry-run", config="smoke").stdout
    for rule in ("bench", "draw_engine_benchmark"):
        assert f"rule {rule}:" in printed
    assert "results/smoke/benchmarks/engine_benchmark.csv" in printed
    assert "figures/smoke/benchmarks/engine_benchmark.pdf" in printed
    assert "rule train:" not in printed


def test_the_reference_can_be_trained_in_place_of_drawn(finished):
    """The appendix's command: without `tables_from` the reference's config trains."""
    arguments = ["--config", "name=mine", "tables_from=", "--dry-run"]
    printed = finished.snakemake("node_tree", *arguments, config="reference").stdout
    for rule in ("prepare", "train", "collect", "draw_node_tree"):
        assert f"rule {rule}:" in printed
    assert "results/mine/tables/node_tree.csv" in printed
