"""What a start of the workflow does, and which files it reads and writes, without Snakemake."""

import errno
import fcntl
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake.exceptions import WorkflowError
from trees import ROOT, TINY, TINY_PATH

from fastff.claims.load import load_claims
from fastff.config.jobs import TRAIN_SETTINGS, job_record, settings
from fastff.config.load import Config, load_config, parse_config
from fastff.workflow.digests import stage_digest
from fastff.workflow.layout import Layout, from_here
from fastff.workflow.progress import JOBS
from fastff.workflow.start import (
    check_folders,
    hold_results,
    keep_what_jobs_read,
    left_over,
    read_config,
    use_container,
    write_training_jobs,
)

DATASET = "mnist5k"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def layout_of(config: Config = TINY) -> Layout:
    claims = load_claims(ROOT / config.claims, config) if config.claims else None
    return Layout(config, claims, ROOT)


def test_files_and_the_command_line_make_one_config():
    checked = read_config([TINY_PATH], {"threads": 3, "claims": None}, ROOT)
    assert checked.config.threads == 3
    assert checked.claims is None
    Path("kept.yaml").write_text(checked.text)
    assert load_config(Path("kept.yaml")) == checked.config


def test_a_config_with_faults_ends_the_workflow():
    with pytest.raises(WorkflowError, match=r"The config can't be used:\n--config: threads = -1: "):
        read_config([TINY_PATH], {"threads": -1}, ROOT)


def test_folders_where_no_job_could_work_are_refused(tmp_path, monkeypatch):
    check_folders(TINY, ROOT)
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    for name in ("file", "link"):
        config = TINY.model_copy(update={"figures_dir": f"{name}/figures"})
        with pytest.raises(WorkflowError, match=f"figures_dir = '{name}/figures': {name} is no fo"):
            check_folders(config, ROOT)
    with pytest.raises(
        WorkflowError, match=r"the clone is '/a/\{b\}'; allowed is a path without {"
    ):
        check_folders(TINY, Path("/a/{b}"))
    (tmp_path / "{x}").mkdir()
    monkeypatch.chdir(tmp_path / "{x}")
    with pytest.raises(WorkflowError, match=r"the working folder is .*; allowed is"):
        check_folders(TINY, ROOT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks_from": ("results/nope",)}, "benchmarks_from[0] = 'results/nope': no such f"),
        ({"tables_from": ("results/nope",)}, "tables_from[0] = 'results/nope': no such folder in"),
    ],
)
def test_earlier_results_that_are_not_there_are_refused(changes, message):
    with pytest.raises(WorkflowError, match=re.escape(message)):
        check_folders(TINY.model_copy(update=changes), ROOT)


def test_a_notebook_that_is_not_there_is_refused():
    block = TINY.experiments["hypercube"].model_copy(update={"notebook": "hypercubes"})
    config = TINY.model_copy(update={"experiments": {"hypercube": block}})
    message = r"hypercube\.notebook = 'hypercubes': unknown notebook .*, did you mean 'hypercube'"
    with pytest.raises(WorkflowError, match=message):
        check_folders(config, ROOT)


def test_results_of_a_removed_experiment_are_named():
    assert left_over(layout_of()) == []
    for path in ("jobs/hypercube/a", "jobs/gone/a", "tidy/gone"):
        Path("results/tiny", path).mkdir(parents=True)
    assert left_over(layout_of()) == [
        Path("results/tiny/jobs/gone"),
        Path("results/tiny/tidy/gone"),
    ]


def test_results_are_locked_as_long_as_their_run_lives(monkeypatch):
    results = Path("results/tiny")
    with hold_results(results), pytest.raises(WorkflowError, match=r"Another run works in .*tiny"):
        hold_results(results)
    hold_results(results).close()
    hold_results(Path("results/other")).close()

    def without_locks(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    assert hold_results(results) is None
    Path("file").touch()
    with pytest.raises(WorkflowError, match="file: File exists"):
        hold_results(Path("file"))


def test_a_container_has_the_code_of_the_clone(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "here")
    with pytest.raises(WorkflowError, match="container is missing in the config"):
        use_container(TINY, ROOT)
    use_container(TINY.model_copy(update={"container": "fastff.sif"}), ROOT)
    assert os.environ["PYTHONPATH"] == str(ROOT / "src")
    assert "VIRTUAL_ENV" not in os.environ


def test_what_jobs_read_is_kept():
    layout = layout_of()
    keep_what_jobs_read(layout, {"results/tiny/config.yaml": "name: tiny\n"})
    kept = {path.name for path in Path("results/tiny/parameters").iterdir()}
    assert kept == {f"{name}.yaml" for name in [*TINY.experiments, "claims"]}
    read = yaml.safe_load(Path(layout.parameters_file("hypercube")).read_text())
    assert read == layout.notebook_parameters("hypercube")
    assert Path("results/tiny/config.yaml").read_text() == "name: tiny\n"
    Path("results/tiny/file").touch()
    with pytest.raises(WorkflowError, match="What jobs read can't be kept: "):
        keep_what_jobs_read(layout, {"results/tiny/file/config.yaml": ""})


def test_the_training_jobs_of_a_run_are_written_down():
    config = TINY.model_copy(update={"runs_per_job": 4})
    layout = layout_of(config)
    jobs = [
        SimpleNamespace(
            rule=SimpleNamespace(name="train"),
            wildcards=SimpleNamespace(experiment=name, variant=job.partition("/")[0], shard=shard),
            log=[f"results/tiny/logs/train/{name}/{job}.log"],
        )
        for name, job in layout.specs
        if name == "gate_activation"
        for shard in [job.removeprefix(job.partition("/")[0])]
    ]
    jobs.append(SimpleNamespace(rule=SimpleNamespace(name="collect")))
    dag = SimpleNamespace(jobs=jobs, needrun=lambda job: job is jobs[0])
    write_training_jobs(layout, dag)
    written = json.loads((Path("results/tiny") / JOBS).read_text())["jobs"]
    assert [job["n_runs"] for job in written] == [4, 4, 4, 4]
    assert [job["is_needed"] for job in written] == [True, False, False, False]
    assert written[0]["log"] == "logs/train/gate_activation/fff_mixture_relu/0-3.log"


@pytest.mark.parametrize(
    ("record", "stale"),
    [
        (lambda found: found, False),
        (lambda found: found | {"sources": "edited"}, True),
        (lambda found: {**found, "settings": {**found["settings"], "threads": 2}}, True),
        (lambda found: {}, True),
        (lambda found: "no JSON", True),
        (lambda found: None, False),  # the tables are missing too, and Snakemake makes them
    ],
)
def test_tables_of_another_recipe_or_code_are_made_again(record, stale):
    layout, dag = layout_of(), SimpleNamespace(forcefiles=set())
    known, workflow = set(), SimpleNamespace(dag=dag)
    workflow.persistence = SimpleNamespace(metadata=lambda file: True if file in known else None)
    job = SimpleNamespace(experiment="hypercube", variant="hypercube_mixture", shard="")
    path = Path("results/tiny/jobs/hypercube/hypercube_mixture/job.json")
    now = settings(TINY, TRAIN_SETTINGS)
    found = record(job_record(layout.specs_of(job), now, stage_digest("train")))
    if found is not None:
        path.parent.mkdir(parents=True)
        path.write_text(found if isinstance(found, str) else json.dumps(found))
    assert layout.trains_on(job, workflow) == layout.dataset_files(DATASET)
    assert dag.forcefiles == ({str(path)} if stale else set())
    dag.forcefiles.clear()
    known.add(str(path))
    assert layout.trains_on(job, workflow) == layout.dataset_files(DATASET)
    assert dag.forcefiles == set()


def test_an_experiment_is_trained_collected_and_drawn():
    layout = layout_of()
    assert layout.job_folders("hypercube") == [
        "results/tiny/jobs/hypercube/hypercube_mixture",
        "results/tiny/jobs/hypercube/fff_mixture_logsigmoid",
    ]
    assert layout.drawn_from("hypercube")[0] == "results/tiny/tidy/hypercube/runs.csv"
    assert layout.notebook_of("hypercube") == from_here(ROOT / "notebooks/hypercube.ipynb")
    assert layout.caption_of("hypercube", "figures").name == "hypercube.rst"
    assert layout.caption_of("hypercube", "tables").name == "tables.rst"
    products = layout.products("hypercube")
    assert "figures/tiny/hypercube_distribution.svg" in products
    assert "results/tiny/tables/hypercube.tex" in products
    assert products[-1] == "results/tiny/notebooks/hypercube.html"
    assert layout.notebook_parameters("soft_merging") == {
        "experiment": "soft_merging",
        "title": "Soft merging of experts",
        "figures": "figures/tiny",
        "tables": "results/tiny/tables",
        "tidy": "results/tiny/tidy/soft_merging",
        "labels": {
            "fff_mixture_softplus": "FFF, softplus",
            "fff_soft_merged_softplus": "FFF, softplus, merged",
        },
        "comparisons": [
            {"treatment": "fff_soft_merged_softplus", "baseline": "fff_mixture_softplus"}
        ],
        "best_of_seeds": False,
    }


def test_a_benchmark_shows_what_this_run_measures_beside_named_machines():
    layout = layout_of(load_config(ROOT / "config/config.yaml"))
    values = layout.notebook_parameters("gate_benchmark")
    assert values["measured"] == ["results/quick/benchmarks/gate_benchmark.csv"]
    machines = {Path(path).parts[-3] for path in values["references"]}
    assert machines == {Path(path).name for path in layout.config.benchmarks_from}
    assert values["figures"] == "figures/quick/benchmarks"


def test_a_reference_is_drawn_from_its_own_tables():
    config = load_config(ROOT / "config/reference.yaml")
    layout = layout_of(config)
    for name in config.experiments:
        (path,) = (ROOT / "results" / "reference").glob(f"*/tidy/{name}/runs.csv.xz")
        assert layout.drawn_from(name)[0] == from_here(path)
    assert layout.notebook_parameters("gate_benchmark")["measured"] == []
    assert layout.prepared_here() == []
    folders = [Path(path).name for path in layout.claim_folders()]
    assert folders == ["h100", "h200", "epyc", "xeon"]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("a", "b"), "tables_from = ['a', 'b']: both a and b have tidy/top_k; allowed is one"),
        ("c", "tables_from = ['c']: no folder has tidy/top_k; allowed is one"),
    ],
)
def test_tables_of_an_experiment_are_in_one_folder(tmp_path, folders, message):
    for name in ("a", "b"):
        (tmp_path / name / "tidy" / "top_k").mkdir(parents=True)
    values = load_config(ROOT / "config/smoke.yaml").model_dump(mode="json", by_alias=True)
    config = parse_config(values | {"tables_from": folders})
    with pytest.raises(WorkflowError, match=re.escape(message)):
        Layout(config, None, tmp_path).drawn_from("top_k")


def test_claims_are_tested_on_the_tables_that_they_are_about():
    layout = layout_of()
    assert layout.claimed() == ["soft_merging", "gate_activation"]
    assert layout.claim_tables()[:3] == [
        "results/tiny/tidy/soft_merging/runs.csv",
        "results/tiny/tidy/soft_merging/epochs.csv",
        "results/tiny/tidy/soft_merging/expert_counts.csv",
    ]
    title = layout.claim_parameters()["title"]
    assert title == "Which claims hold? · MNIST-5k"
    drawn = {"figures/tiny/claims.pdf", "figures/tiny/claims_times.svg"}
    assert drawn <= {*layout.claim_products()}
    without = layout_of(TINY.model_copy(update={"claims": None}))
    assert without.claim_products() == without.claimed() == []


def test_data_that_another_user_has_prepared_are_taken(monkeypatch):
    layout = layout_of()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert layout.is_given(DATASET)
    with pytest.raises(WorkflowError, match=r"results/data/mnist5k\.npz is missing; who can write"):
        layout.data_of("hypercube")
    for path in layout.dataset_files(DATASET):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    assert layout.data_of("hypercube") == layout.prepared_here() == layout.dataset_files(DATASET)
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert not layout.is_given(DATASET)


def test_the_site_shows_what_is_drawn_and_how_the_run_was_called():
    changes = {"threads": 2, "claims": None, "name": "tiny"}
    plan = layout_of().site_plan([TINY_PATH], changes)
    assert plan["changes"] == ["threads=2", "claims=", "name=tiny"]
    assert plan["configfiles"] == [from_here(TINY_PATH)]
    assert plan["datasets"] == ["results/data/mnist5k.json"]
    assert plan["blocks"]["tree_regions"]["figures"] == [
        "figures/tiny/tree_regions",
        "figures/tiny/tree_regions_curves",
    ]
    assert plan["ledger"]["data"] == ["results/tiny/claims.csv"]
    assert layout_of(TINY.model_copy(update={"claims": None})).site_plan([], {})["ledger"] is None
