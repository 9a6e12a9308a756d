"""Plans from costs that are made up, so that what they must say is known, and from the measured."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fastff.artifact.costs import MIB
from fastff.cli import main
from fastff.config.load import Config, load_config, parse_config
from fastff.workflow.measured import Work, load_costs, training_work
from fastff.workflow.plan import COLUMNS, make_plan, wall_seconds

ROOT = Path(__file__).parents[2]
RATES = [5.0, 1e-3, 1e-10]  # in the order of Work.terms
PROCESS = 700  # MiB
RECIPE = {"batch_size": 500, "learning_rate": 0.01}
GATES = {
    "kind": "timing",
    "title": "Gates",
    "repeats": 3,
    "cases": {
        "gates": {
            "device": "cpu",
            "op": "gate",
            "variants": ["linear", "product"],
            "in_features": 8,
            "batch": [4, 8],
            "depth": [1, 2, 3],
        }
    },
}


def config_of(name: str, epochs: int = 1, dataset: str = "mnist5k", **more: object) -> Config:
    def block(variants: list[str], scale: int, **changes: object) -> dict:
        return {
            "title": "A trial",
            "notebook": "trial",
            "dataset": dataset,
            "seeds": [0, 1, 2],
            "recipe": {"epochs": epochs * scale, **RECIPE},
            "grid": {"depth": [1, 2], "hidden_features": [4]},
            "variants": variants,
            **changes,
        }

    experiments = {
        "short": block(["moe_mixture"], 1),
        "long": block(["moe_mixture", "mlp_relu"], 20),
        "wide": block(["mlp_relu"], 2, grid={"depth": [1], "hidden_features": [4000]}),
        "deep": block(["fff_mixture_log"], 3, grid={"depth": [6], "hidden_features": [2]}),
        "three": block(["moe_mixture", "moe_top1_switch", "fff_mixture_log"], 1),
        "watched": block(["fff_on_plane"], 2, record=["projections", "nodes"]),
        "graded": block(["fff_mixture_log"], 5, record=["gradients"]),
        "many": block(["moe_mixture"], 1, seeds=list(range(60))),
    }
    return parse_config({"name": name, "experiments": experiments, **more})


def training_of(config: Config, name: str) -> Work:
    return sum(training_work(config, name, "cpu"), Work())


def costs_of(config: Config) -> pd.DataFrame:
    """Return the costs of a machine with RATES."""
    rows = [{"name": "mnist5k", "step": "prepare", "seconds": 6, "peak_mib": 800, "disk_mib": 4}]
    rows.append({"name": "trial", "step": "draw", "seconds": 2, "peak_mib": 300, "disk_mib": 2})
    for name in config.experiments:
        work = training_of(config, name)
        peak = PROCESS + work.n_bytes / MIB
        tidy = work.run_epochs / 100
        costs = {
            "train": (work.jobs, np.dot(work.terms, RATES), peak, tidy),
            "collect": (1, 0.5, 30, tidy),
        }
        for step, values in costs.items():
            cost = dict(zip(("jobs", "seconds", "peak_mib", "disk_mib"), values, strict=True))
            rows.append({"name": name, "step": step, **cost})
    parts = sum(row["disk_mib"] for row in rows)
    tidy = sum(row["disk_mib"] for row in rows if row["step"] == "collect")
    rows.append({"name": "all", "step": "all", "disk_mib": parts + 3 * tidy})
    table = pd.DataFrame(rows).fillna({"jobs": 1, "seconds": 0, "peak_mib": 0})
    return table.assign(config=config.name, device_name="A machine")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository with one config, and what it cost."""
    root = tmp_path_factory.mktemp("root")
    config = config_of("small")
    (root / "config").mkdir()
    (root / "config" / "small.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    (root / "results/reference/here").mkdir(parents=True)
    costs_of(config).to_csv(root / "results/reference/here/costs.csv", index=False)
    return root


@pytest.fixture(scope="module")
def measured(root):
    return load_costs(root, "cpu")


def table_of(config, measured, cores=1):
    return make_plan(config, "cpu", measured, cores=cores).table.set_index("name")


def test_what_was_measured_takes_what_it_took(measured):
    table = table_of(config_of("small"), measured)
    for one in measured.training.measured:
        assert table.loc[one.name, "cpu_hours"] * 3600 == pytest.approx(one.seconds + 0.5 + 2)
        assert table.loc[one.name, "peak_mib"] == pytest.approx(one.peak_mib)
        assert table.loc[one.name, "jobs"] == one.work.jobs + 2
        assert table.loc[one.name, "runs"] == one.work.runs
    assert set(table["not_measured"]) == {""}
    assert measured.training.machine == "A machine"
    assert measured.training.rates == pytest.approx(RATES, rel=0.01)
    assert np.abs(measured.training.errors()).max() < 0.01


def test_another_config_takes_its_runs_and_epochs(measured):
    """Thrice the epochs: nothing was measured of it but the rates."""
    config = config_of("other", epochs=3)
    table = table_of(config, measured)
    for name in config.experiments:
        work = training_of(config, name)
        seconds = np.dot(work.terms, RATES) + 3 * 0.5 + 2
        assert table.loc[name, "cpu_hours"] * 3600 == pytest.approx(seconds, rel=0.01)
        assert table.loc[name, "disk_mib"] == pytest.approx(5 * work.run_epochs / 100 + 2)


def test_the_total_adds_up(measured):
    config = config_of("small")
    plan = make_plan(config, "cpu", measured, cores=2)
    assert list(plan.table.columns) == [*COLUMNS]
    table = plan.table.set_index("name")
    whole, rows = table.loc["total"], table.drop("total")
    assert list(rows.index) == ["mnist5k", *config.experiments]
    for key in ("runs", "jobs", "cpu_hours", "gpu_hours", "disk_mib"):
        assert whole[key] == pytest.approx(rows[key].sum())
    assert whole["peak_mib"] == rows["peak_mib"].max()
    assert whole["gpu_hours"] == 0
    assert 3600 * whole["cpu_hours"] / 2 <= plan.seconds < 3600 * whole["cpu_hours"]


def test_a_split_changes_jobs_and_not_runs(measured):
    config = config_of("small", runs_per_stack=3)
    whole, parts = (
        table_of(one, measured) for one in (config, config.model_copy(update={"runs_per_job": 5}))
    )
    assert list(whole["runs"]) == list(parts["runs"])
    assert whole.loc["many", "jobs"] == 1 + 2
    assert parts.loc["many", "jobs"] == 40 + 2  # stacks of three, of which two don't fit
    assert parts.loc["many", "longest_job_minutes"] < whole.loc["many", "longest_job_minutes"]
    assert parts.loc["many", "cpu_hours"] * 3600 == pytest.approx(
        whole.loc["many", "cpu_hours"] * 3600 + 39 * RATES[0], rel=0.05
    )


def test_what_was_not_measured_takes_what_is_most_similar(measured):
    values = config_of("other", dataset="cifar10").model_dump(mode="json")
    config = parse_config({"name": "other", "experiments": {"new": values["experiments"]["long"]}})
    table = table_of(config, measured)
    assert table.loc["cifar10", "not_measured"] == "prepare"
    assert table.loc["cifar10", "disk_mib"] > 4
    # two variants, of which "long" and "wide" share one each, "long" both
    assert table.loc["new", "not_measured"] == "train (as long on mnist5k)"
    seconds = np.dot(training_of(config, "new").terms, RATES)
    assert table.loc["new", "longest_job_minutes"] * 60 < seconds
    assert table.loc["new", "cpu_hours"] * 3600 == pytest.approx(seconds + 2 + 0.5, rel=0.01)
    assert table.loc["new", "peak_mib"] > PROCESS + 50_000 * 3072 * 4 / MIB


def test_more_cores_than_any_machine_has_are_planned_at_once(measured):
    many, all_at_once = (table_of(config_of("small"), measured, cores=n) for n in (10**9, 10**4))
    pd.testing.assert_frame_equal(many, all_at_once)


def test_a_benchmark_is_planned_by_what_it_measures(root, measured):
    more = {"benchmarks": {"gates": GATES}}
    unknown = table_of(config_of("timed", **more), measured)
    assert unknown.loc["gates", "not_measured"] == "bench, draw"
    assert np.isnan(unknown.loc["gates", "cpu_hours"])
    assert unknown.loc["total", "cpu_hours"] > 0

    timed = config_of("timed", **more)
    (root / "config" / "timed.yaml").write_text(yaml.safe_dump(timed.model_dump(mode="json")))
    costs = costs_of(timed)
    bench = {"name": "gates", "step": "bench", "seconds": 36, "peak_mib": 900, "disk_mib": 1}
    draw = {"name": "gates", "step": "draw", "seconds": 9, "peak_mib": 300, "disk_mib": 1}
    shared = {"config": "timed", "device_name": "A machine", "jobs": 1}
    costs = pd.concat([costs, pd.DataFrame([bench | shared, draw | shared])])
    path = root / "timed.csv"
    costs.to_csv(path, index=False)
    known = load_costs(root, "cpu", [path])
    table = table_of(timed, known, cores=2)
    assert table.loc["gates", "cpu_hours"] * 3600 == pytest.approx(2 * 36 + 9)
    assert table.loc["gates", "not_measured"] == ""
    half = {"gates": GATES | {"repeats": 1}}
    table = table_of(config_of("timed", benchmarks=half), known, cores=2)
    assert table.loc["gates", "cpu_hours"] * 3600 == pytest.approx(2 * 12 + 9)
    thrice = {"gates": GATES | {"processes": 3}}
    table = table_of(config_of("timed", benchmarks=thrice), known, cores=2)
    assert table.loc["gates", "cpu_hours"] * 3600 == pytest.approx(2 * 3 * 36 + 9)


def test_the_command(root, tmp_path, capsys):
    config, output = tmp_path / "mine.yaml", tmp_path / "plan.csv"
    config.write_text(yaml.safe_dump(config_of("mine").model_dump(mode="json")))
    arguments = ["plan", "--configfile", str(config), "--root", str(root), "--device", "cpu"]
    assert main([*arguments, "--cores", "2", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "On 2 cores: about" in printed
    assert "From costs of A machine; training time of each of its 8 experiments" in printed
    assert "GPU" not in printed
    table = pd.read_csv(output)
    assert list(table.columns) == [*COLUMNS]
    assert all(name in printed for name in table["name"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--root": "nowhere"}, "has no */costs.csv; give --costs"),
        ({"--costs": "other.csv"}, "the costs are of a config named 'other', but no config in"),
        ({"--costs": "columns.csv"}, "has no column 'config'; `fastff costs` writes such tables"),
        ({"--costs": "rows.csv"}, "has no row of step train; `fastff costs` writes such tables"),
        ({"--costs": "empty.csv"}, "empty.csv is not a CSV table: No columns to parse from file"),
        ({"--configfile": "none.yaml"}, "config file none.yaml: No such file"),
        ({"--device": "cuda"}, "has no */provenance.json of a GPU"),
    ],
)
def test_bad_input_is_refused(changes, message, root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("other.csv").write_text("config,name,step,seconds\nother,one,train,3\n")
    Path("columns.csv").write_text("a,b\n")
    Path("rows.csv").write_text("config,name,step,seconds\n")
    Path("empty.csv").touch()
    values = {"--configfile": str(root / "config" / "small.yaml"), "--root": str(root)}
    values |= {"--device": "cpu", **changes}
    assert main(["plan", *(word for pair in values.items() for word in pair)]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_wall_time_by_hand():
    columns = ["step", "seconds", "cores", "gpus"]
    jobs = pd.DataFrame(
        [
            ("prepare", 5, 1, 0),
            *(("train", 30, 1, 0), ("train", 20, 1, 0), ("collect", 1, 1, 0), ("draw", 10, 1, 0)),
            *(("train", 15, 1, 0), ("collect", 1, 1, 0), ("draw", 10, 1, 0)),
            *(("bench", 40, 2, 0), ("bench", np.nan, 1, 0), ("draw", 10, 1, 0)),
        ],
        columns=columns,
    )
    # 5; 30 beside 20 and 15; 1 beside 1; 10 beside 10, and 10; 40 alone
    assert wall_seconds(jobs, cores=2, gpus=1) == 5 + 35 + 1 + 20 + 40
    assert wall_seconds(jobs, cores=1, gpus=1) == 5 + 65 + 2 + 30 + 40
    on_gpu = jobs[jobs["step"] == "train"].assign(gpus=1)
    assert wall_seconds(on_gpu, cores=16, gpus=1) == 65
    assert wall_seconds(on_gpu, cores=16, gpus=4) == 30


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def device(request):
    return request.param


@pytest.fixture(scope="module")
def reference(device):
    return load_costs(ROOT, device)


def test_the_default_config_takes_what_it_took(reference, device):
    config = load_config(ROOT / "config/config.yaml")
    if device == "cpu":
        (path,) = (ROOT / "results/reference").glob("*/costs.csv")
        costs = pd.read_csv(path)
        table = table_of(config, reference)
        for name in config.experiments:
            took = costs.loc[costs["name"] == name, "seconds"].sum()
            assert table.loc[name, "cpu_hours"] * 3600 == pytest.approx(took, rel=0.3)
    assert np.median(np.abs(reference.training.errors())) < 0.35


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config", "smoke", "paper", "reference"])
def test_every_config_can_be_planned(name, device, reference):
    config = load_config(ROOT / "config" / f"{name}.yaml")
    plan = make_plan(config, device, reference, cores=16)
    table = plan.table.set_index("name")
    assert set(config.drawn()) < set(table.index)
    whole = table.loc["total"]
    if config.tables_from:
        assert whole["runs"] == 0
        return
    assert whole["runs"] == sum(table.loc[name, "runs"] for name in config.experiments)
    assert (whole["gpu_hours"] > 0) == (whole["gpu_peak_mib"] > 0) == (device == "cuda")
    assert 0 < plan.seconds < 3600 * (whole["gpu_hours"] + whole["cpu_hours"])
    if name == "paper":
        assert "on mnist5k" in table.loc["soft_merging", "not_measured"] or device == "cuda"
