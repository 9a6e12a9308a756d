"""Training: reproducible, from a checkpoint on too, and for every layer to some use."""

from __future__ import annotations

import json
import math

import pytest
import torch
from language_cases import VARIANTS, specs, text

from fastff.data.errors import DataError
from fastff.language.job import tidy_language_tables, train_language_models
from fastff.language.train import LanguageTraining, rate_at
from fastff.tables.schema import LANGUAGE
from fastff.train.graceful_shutdown import StoppedError, StopRequest

TEXT = text()


def trained(*variants, store=None, stop=None, interval=300.0, **changes):
    chosen = [*specs(*variants, **changes).values()]
    jobs = train_language_models(
        chosen, TEXT, sources="x", store=store, stop=stop, interval=interval
    )
    return chosen, jobs


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_layer_learns(variant):
    """Who knows only how often each byte comes has 3.3 bits per byte."""
    recipe = {"steps": 80, "learning_rate": 2e-2, "evaluate_every": 10}
    (spec,) = specs(variant, recipe=recipe).values()
    result = LanguageTraining(spec, TEXT).train(0)
    assert result.failed_step is None
    assert result.looks[0].bits_per_byte > result.looks[-1].bits_per_byte
    assert result.bits_per_byte < 3.1
    assert math.isfinite(result.bits_per_byte_soft)


def test_two_trainings_give_the_same_tables_and_seeds_differ():
    one, two = (tidy_language_tables(*trained("fff_balanced", "hash")) for _ in range(2))
    for name in LANGUAGE:
        assert one[name].to_csv() == two[name].to_csv()
        assert tuple(one[name].columns) == LANGUAGE[name].header
    assert one["runs"]["bits_per_byte"].nunique() == 4
    assert one["generated"]["seed"].tolist() == [0, 0]
    assert len(json.loads(one["generated"]["text"][0])) == 5


def test_a_seed_does_not_depend_on_those_before_it():
    both = trained("moe_top2")[1][0]
    (alone,) = specs("moe_top2").values()
    (result,) = train_language_models(
        [alone.model_copy(update={"seeds": (1,), "generated": 0})], TEXT, sources="x"
    )
    assert result[1] == both[1]


@pytest.mark.parametrize("variant", ["fff_hardened", "node_trees_3x2", "moe_switch"])
def test_a_stopped_run_goes_on_to_the_same_bits(variant, tmp_path, monkeypatch):
    expected = trained(variant)[1][0]
    stop = StopRequest()
    looks = []

    def stop_at_the_second(self, step, result):
        looks.append(step)
        stop.is_made = len(looks) == 2
        return look(self, step, result)

    look = LanguageTraining._look
    monkeypatch.setattr(LanguageTraining, "_look", stop_at_the_second)
    with pytest.raises(StoppedError):
        trained(variant, store=tmp_path, stop=stop)
    assert [*(tmp_path / "checkpoints").glob("*.checkpoint")]
    looks.clear()
    stop.is_made = False
    looks.append(0)
    monkeypatch.setattr(LanguageTraining, "_look", look)
    found = trained(variant, store=tmp_path)[1][0]
    assert found == expected
    assert not [*(tmp_path / "checkpoints").glob("*.checkpoint")]


def test_stored_runs_are_not_trained_again(tmp_path, monkeypatch):
    first = trained("smear", store=tmp_path)[1]
    monkeypatch.setattr(LanguageTraining, "train", lambda *_: pytest.fail("trained again"))
    assert trained("smear", store=tmp_path)[1] == first
    monkeypatch.undo()
    (file, *_) = (tmp_path / "language").rglob("*.json")
    file.write_text("damaged")
    assert trained("smear", store=tmp_path)[1] == first
    one, other = (tmp_path / "language").rglob("*.json")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    assert trained("smear", store=tmp_path)[1] == first


def test_a_loss_that_is_not_finite_is_recorded(monkeypatch):
    def start(self, seed):
        begin(self, seed)
        if seed == 1:
            self.model.embedding.weight.data[97] = torch.inf  # the letter a

    begin = LanguageTraining._start
    monkeypatch.setattr(LanguageTraining, "_start", start)
    runs = tidy_language_tables(*trained("dense_3"))["runs"].set_index("seed")
    assert runs["failed_step"].tolist()[1] == 10
    assert runs[["bits_per_byte", "train_loss"]].isna().all(axis=1).tolist() == [False, True]


def test_the_rate_rises_and_falls_as_the_recipe_says():
    (spec,) = specs("none", recipe={"steps": 100, "warm_up": 10, "final_rate": 0.1}).values()
    rates = [rate_at(spec, step) for step in range(100)]
    highest = spec.recipe.learning_rate
    assert rates[0] == pytest.approx(highest / 10)
    assert max(rates) == pytest.approx(highest) == pytest.approx(rates[10])
    assert rates[-1] == pytest.approx(0.1 * highest)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert (rates[54] + rates[55]) / 2 == pytest.approx(0.55 * highest, rel=1e-3)  # half-way


def test_weights_decay_and_biases_do_not():
    (spec,) = specs("fff_soft").values()
    training = LanguageTraining(spec, TEXT)
    decayed, kept = (group["params"] for group in training.optimiser.param_groups)
    names = {id(p): name.rpartition(".")[2] for name, p in training.model.named_parameters()}
    assert {names[id(p)] for p in kept} == {"weight", "bias", "b_in", "b_out"}  # of norms, biases
    assert all(p.dim() == 1 for p in kept if names[id(p)] == "weight")
    assert {names[id(p)] for p in decayed} == {"weight", "w_in", "w_out"}
    assert len(decayed) + len(kept) == len([*training.model.parameters()])


def test_a_text_that_is_too_short_is_refused():
    short = type(TEXT)("own_text", TEXT.train, TEXT.validation[:16], "")
    with pytest.raises(DataError, match=r"own_text: its validation part has 16 bytes; allowed is"):
        train_language_models([*specs("none").values()], short, sources="x")
