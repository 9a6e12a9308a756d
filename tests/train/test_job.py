"""A job: its grid, the run store, and the tidy tables."""

import json
import logging

import pandas as pd
import pytest
import torch

from fastff.config.job import Run, TrainSpec
from fastff.config.model import Grid
from fastff.config.presets import PRESETS
from fastff.config.recipe import Recipe
from fastff.files import write_checked
from fastff.tables.collect import collect
from fastff.tables.read import TidyError, load_tidy
from fastff.tables.schema import HEAD, TIDY
from fastff.train import job
from fastff.train.job import train
from fastff.train.results import RunResult
from fastff.train.store import RunStore, run_context
from fastff.train.tables import tidy_tables, write_tables


def spec_of(seeds=(0, 1, 2), depths=(1, 2), variant="moe_mixture", **changes) -> TrainSpec:
    return TrainSpec(
        experiment="trial",
        dataset="mnist5k",
        variant=PRESETS[variant],
        grid=Grid(depth=depths, hidden_features=(4,)),
        seeds=seeds,
        recipe=Recipe(**({"epochs": 2, "batch_size": 64, "learning_rate": 0.01} | changes)),
    )


def train_job(spec, data, runs_per_stack=10, store=None):
    stores = [] if store is None else [store]
    (results,) = train([spec], data, runs_per_stack=runs_per_stack, stores=stores)
    return results


def first_run(spec) -> Run:
    return Run(spec.variant.models(spec.grid)[0], 0)


@pytest.fixture
def trained(monkeypatch):
    """Record which runs are really trained."""
    seen = []
    original = job.train_stack

    def record(model, seeds, *args, **options):
        seen.extend((model.shape.depth, seed) for seed in seeds)
        return original(model, seeds, *args, **options)

    monkeypatch.setattr(job, "train_stack", record)
    return seen


def test_results_do_not_depend_on_the_stacks(data):
    tables = [tidy_tables(spec_of(), train_job(spec_of(), data, n)) for n in (1, 2, 10)]
    for other in tables[1:]:
        for name in TIDY:
            pd.testing.assert_frame_equal(tables[0][name], other[name], rtol=1e-5)


def test_jobs_trained_together_are_each_s_own(data, tmp_path):
    specs = [spec_of(), spec_of(variant="fff_mixture_log", seeds=(4, 5))]
    stores = [RunStore(tmp_path, run_context(spec, data, "code")) for spec in specs]
    together = train(specs, data, runs_per_stack=2, stores=stores)
    assert together == [train_job(spec, data, 2) for spec in specs]
    assert train(specs, data, runs_per_stack=2, stores=stores) == together


def test_only_new_runs_are_trained(data, tmp_path, trained):
    def run(spec):
        trained.clear()
        store = RunStore(tmp_path / "store", run_context(spec, data, "code"))
        return train_job(spec, data, store=store)

    first = run(spec_of())
    assert trained == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert run(spec_of()) == first
    assert trained == []
    run(spec_of(seeds=(0, 1, 2, 7)))
    assert trained == [(1, 7), (2, 7)]
    run(spec_of(depths=(1, 2, 3)))
    assert trained == [(3, 0), (3, 1), (3, 2)]
    run(spec_of(learning_rate=0.02))
    assert len(trained) == 6
    run(spec_of(variant="moe_top1_switch"))
    assert len(trained) == 6


def test_a_renamed_variant_is_the_same_variant(data, tmp_path):
    spec = spec_of()
    renamed = spec.model_copy(
        update={"variant": spec.variant.model_copy(update={"name": "other", "label": "Other"})}
    )
    run = first_run(spec)
    stores = [RunStore(tmp_path, run_context(one, data, "code")) for one in (spec, renamed)]
    assert stores[0].path(run) == stores[1].path(run)


@pytest.mark.parametrize(
    "change", [{"sources": "edited"}, {"torch": "0.1"}, {"threads": 64}, {"data": "other"}]
)
def test_a_run_of_other_code_data_or_device_is_another(change, data, tmp_path):
    spec = spec_of()
    context = run_context(spec, data, "code")
    run = first_run(spec)
    assert change.keys() <= context.keys()
    paths = {RunStore(tmp_path, one).path(run) for one in (context, context | change)}
    assert len(paths) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"n_parameters": 3}', '{"epochs": 1}'])
def test_a_damaged_stored_run_is_trained_again(damage, data, tmp_path, trained, caplog):
    spec = spec_of(seeds=(0,), depths=(1,))
    store = RunStore(tmp_path, run_context(spec, data, "code"))
    expected = train_job(spec, data, 1, store)
    store.path(first_run(spec)).write_text(damage)
    trained.clear()
    with caplog.at_level(logging.WARNING):
        assert train_job(spec, data, 1, store) == expected
    assert trained == [(1, 0)]
    assert "is damaged" in caplog.text


def test_a_flipped_digit_of_a_stored_run_is_seen(data, tmp_path, trained, caplog):
    spec = spec_of(seeds=(0,), depths=(1,))
    store = RunStore(tmp_path, run_context(spec, data, "code"))
    expected = train_job(spec, data, 1, store)
    path = store.path(first_run(spec))
    text = path.read_text()
    place = text.index("train_loss") + len('train_loss": 1.')
    path.write_text(text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :])
    trained.clear()
    with caplog.at_level(logging.WARNING):
        assert train_job(spec, data, 1, store) == expected
    assert trained == [(1, 0)]
    assert f"stored run {path} is damaged" in caplog.text


def test_stored_runs_that_trade_places_are_seen(data, tmp_path, trained, caplog):
    spec = spec_of(seeds=(0, 1), depths=(1,))
    store = RunStore(tmp_path, run_context(spec, data, "code"))
    expected = train_job(spec, data, 1, store)
    one, other = (store.path(first_run(spec)._replace(seed=seed)) for seed in spec.seeds)
    swapped = one.read_bytes(), other.read_bytes()
    other.write_bytes(swapped[0])
    one.write_bytes(swapped[1])
    trained.clear()
    with caplog.at_level(logging.WARNING):
        assert train_job(spec, data, 1, store) == expected
    assert trained == [(1, 0), (1, 1)]
    assert caplog.text.count("is damaged") == 2


@pytest.mark.parametrize("name", ["/{folder}/out.json", "../../out.json", f"{'a' * 64}.json/x", ""])
def test_a_pending_file_of_somebody_else_writes_nowhere_else(name, data, tmp_path, caplog):
    spec = spec_of(seeds=(0,), depths=(1,))
    store = RunStore(tmp_path / "store", run_context(spec, data, "code"))
    pending = store.pending / f"{'a' * 64}.json"
    content = json.dumps({name.format(folder=tmp_path): {}}).encode()
    write_checked(pending, content)
    with caplog.at_level(logging.WARNING):
        store.recover()
    assert f"pending runs {pending} are damaged" in caplog.text
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_run_of_other_vector_units_is_another(data, tmp_path, monkeypatch):
    spec = spec_of()
    contexts = []
    for capability in ("AVX2", "AVX512"):
        monkeypatch.setattr(
            torch.backends.cpu, "get_cpu_capability", lambda found=capability: found
        )
        contexts.append(run_context(spec, data, "code"))
    assert [context["device"] for context in contexts] == ["cpu AVX2", "cpu AVX512"]
    assert len({RunStore(tmp_path, one).path(first_run(spec)) for one in contexts}) == 2


def test_a_stack_is_stored_whole_or_not_at_all(data, tmp_path, trained, monkeypatch):
    """A process that ends between two runs of a stack leaves them all to the next."""
    from fastff.train import store as store_module

    spec = spec_of(depths=(1,))
    store = RunStore(tmp_path, run_context(spec, data, "code"))
    write, written = store_module.write_entries, []

    def ends_at_the_second_run(path, values):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, values)

    monkeypatch.setattr(store_module, "write_entries", ends_at_the_second_run)
    with pytest.raises(KeyboardInterrupt):
        train_job(spec, data, 10, store)
    monkeypatch.setattr(store_module, "write_entries", write)
    runs = [first_run(spec)._replace(seed=seed) for seed in spec.seeds]
    assert [store.get(run) is None for run in runs] == [False, True, True]
    trained.clear()
    results = train_job(spec, data, 10, store)
    assert trained == []
    assert results == train_job(spec, data, 10)
    assert list(store.pending.iterdir()) == []


def test_results_survive_json(data):
    results = train_job(spec_of(), data)
    for result in results.values():
        assert RunResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_tidy_tables(data, tmp_path):
    spec = spec_of()
    tables = tidy_tables(spec, train_job(spec, data))
    runs, epochs, counts, gradients, nodes, projections = (tables[name] for name in TIDY)
    assert len(runs) == 6
    assert runs.set_index(["depth", "seed"]).index.is_unique
    assert set(runs["n_experts"]) == {2, 4}
    # gate e*i, first layer e*h*i, second e*h*o, of in 24, hidden 4, out 5
    assert set(runs["n_parameters"]) == {e * (24 + 4 * 24 + 4 * 5) for e in (2, 4)}
    assert len(epochs) == 12
    last = epochs[epochs["epoch"] == 2].reset_index(drop=True)
    for name in ("train_loss", "validation_loss", "accuracy_soft", "accuracy_hard"):
        assert last[name].tolist() == runs[name].tolist()
    for form in ("soft", "hard"):
        assert runs[f"validation_accuracy_{form}"].tolist() == last[f"accuracy_{form}"].tolist()
        assert runs[f"train_accuracy_{form}"].between(0, 1).all()
    assert runs["train_choice_experts"].between(1, runs["n_experts"]).all()
    bits = runs["n_experts"].map({2: 1, 4: 2})
    assert runs["train_choice_entropy"].between(0, bits).all()
    assert set(runs["training_width"]) == {8, 16}
    assert set(runs["inference_width"]) == {4}
    assert set(runs["best_epoch"]) == set(runs["epochs"]) == {2}
    for table in tables.values():
        assert tuple(table.columns[: len(HEAD)]) == HEAD
    assert len(counts) == 3 * (2 + 4) * 5
    assert set(counts.groupby(["depth", "seed"])["count"].sum()) == {100}
    for name, table in (("gradients", gradients), ("nodes", nodes), ("projections", projections)):
        assert table.empty
        assert tuple(table.columns) == TIDY[name].header

    write_tables(tables, tmp_path)
    for name in TIDY:
        back = pd.read_csv(tmp_path / f"{name}.csv").astype(tables[name].dtypes)
        pd.testing.assert_frame_equal(back, tables[name], rtol=1e-15)
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == sorted(f"{n}.csv" for n in TIDY)


def test_recorded_gradients_are_a_table(data, tmp_path):
    spec = spec_of(seeds=(0, 1), depths=(1,)).model_copy(update={"record": ("gradients",)})
    store = RunStore(tmp_path, run_context(spec, data, "code"))
    results = train_job(spec, data, store=store)
    assert train_job(spec, data, store=store) == results
    table = tidy_tables(spec, results)["gradients"]
    assert len(table) == 2 * 20 * (2 + 2 + 2)  # seeds, steps, units of the three parts
    assert list(table["part"].unique()) == ["gate", "expert_in", "expert_out"]
    assert table["step"].max() == 20
    assert (table["magnitude"] > 0).all()
    plain = RunStore(tmp_path, run_context(spec.model_copy(update={"record": ()}), data, "code"))
    assert plain.get(first_run(spec)) is None


def test_recorded_nodes_and_projections_are_tables(data):
    spec = spec_of(seeds=(0, 1), depths=(2,), variant="fff_on_plane", epochs=3)
    spec = spec.model_copy(
        update={"record": ("nodes", "projections", "expert_counts"), "record_every": 2}
    )
    results = train_job(spec, data)
    tables = tidy_tables(spec, results)
    nodes, projections = tables["nodes"], tables["projections"]
    assert len(nodes) == 2 * 3 * 3  # seeds, epochs 0, 2 and 3, nodes
    assert nodes["epoch"].unique().tolist() == [0, 2, 3]
    assert not nodes.isna().any(axis=None)
    assert (nodes.loc[nodes["node"] == 0, "visits"] == 100).all()
    assert len(projections) == 2 * 3 * 100
    assert projections.groupby(["seed", "epoch"])["sample"].nunique().eq(100).all()
    # the line of the root says which half of the leaves a sample goes to
    root = nodes[nodes["node"] == 0].set_index(["seed", "epoch"])
    at = projections.set_index(["seed", "epoch"]).join(root[["weight_x", "weight_y", "bias"]])
    z = at["weight_x"] * at["x"] + at["weight_y"] * at["y"] + at["bias"]
    clear = z.abs() > 0.01  # features are rounded
    assert ((z > 0) == (at["expert"] >= 2))[clear].all()
    assert set(tables["expert_counts"]["epoch"]) == {0, 2, 3}


def test_a_tree_without_a_plane_has_no_lines(data):
    spec = spec_of(seeds=(0,), depths=(2,), variant="node_tree_gelu")
    spec = spec.model_copy(update={"record": ("nodes",)})
    nodes = tidy_tables(spec, train_job(spec, data, 1))["nodes"]
    assert nodes[["entropy", "weight_x", "weight_y", "bias"]].isna().all(axis=None)
    assert len(nodes) == 3 * 7


def test_a_grid_of_region_leaks_is_told_apart(data, tmp_path):
    spec = spec_of(seeds=(0,), variant="fff_mixture_log")
    grid = Grid(depth=(1, 2), hidden_features=(4,), region_leak=(0.0, 0.5))
    spec = spec.model_copy(update={"grid": grid})
    store = RunStore(tmp_path, run_context(spec, data, "code"))
    runs = tidy_tables(spec, train_job(spec, data, store=store))["runs"]
    assert runs[["depth", "region_leak"]].values.tolist() == [[1, 0], [1, 0.5], [2, 0], [2, 0.5]]
    assert runs["train_loss"].nunique() == 4
    assert tidy_tables(spec, train_job(spec, data, store=store))["runs"].equals(runs)


def test_collecting_jobs_copies_their_rows(data, tmp_path):
    folders = []
    for variant in ("moe_mixture", "moe_top1_switch"):
        spec = spec_of(variant=variant)
        write_tables(tidy_tables(spec, train_job(spec, data)), tmp_path / variant)
        folders.append(tmp_path / variant)
    collect(folders, tmp_path / "all")
    for name in TIDY:
        whole = (tmp_path / "all" / f"{name}.csv").read_text().splitlines()
        parts = [(folder / f"{name}.csv").read_text().splitlines() for folder in folders]
        assert whole == parts[0] + parts[1][1:]


def test_collecting_tables_of_other_columns_is_refused(tmp_path):
    for job_name, header in (("a", "x,y"), ("b", "x,z")):
        (tmp_path / job_name).mkdir()
        for name in TIDY:
            (tmp_path / job_name / f"{name}.csv").write_text(f"{header}\n1,2\n")
    with pytest.raises(ValueError, match="has columns x,z"):
        collect([tmp_path / "a", tmp_path / "b"], tmp_path / "all")
    assert not (tmp_path / "all").exists() or not any((tmp_path / "all").iterdir())


def test_a_table_changed_by_hand_is_neither_collected_nor_read(data, tmp_path):
    job, tidy = tmp_path / "job", tmp_path / "tidy"
    write_tables(tidy_tables(spec_of(), train_job(spec_of(), data)), job)
    collect([job], tidy)
    sums = (tidy / "SHA256SUMS").read_text().splitlines()
    assert [line.partition("  ")[2] for line in sums] == [f"{table}.csv" for table in TIDY]
    assert len(load_tidy(tidy).runs) == 6
    for folder in (job, tidy):
        path = folder / "epochs.csv"
        path.write_text(path.read_text().replace(",0.", ",1.", 1))
    with pytest.raises(ValueError, match=r"job/epochs\.csv was changed: .*SHA256SUMS has another"):
        collect([job], tmp_path / "other")
    with pytest.raises(TidyError, match=r"tidy/epochs\.csv was changed: "):
        load_tidy(tidy)


def test_threads_are_part_of_the_context(data):
    before = torch.get_num_threads()
    assert run_context(spec_of(), data, "code")["threads"] == before
