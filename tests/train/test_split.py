"""Which samples are trained on, looked at and reported."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blobs import blobs
from fastff.config.recipe import Recipe
from fastff.train.evaluate import split

BASE = {"epochs": 1, "batch_size": 4, "learning_rate": 0.1}


def test_without_samples_aside_the_test_part_is_looked_at(data):
    parts = split(data, Recipe(**BASE))
    assert parts.train.inputs is data.train_inputs
    assert parts.validation is parts.test
    assert parts.test.inputs is data.test_inputs


@given(n_train=st.integers(4, 60) | st.none(), n_validation=st.integers(0, 40))
def test_parts_are_disjoint_and_of_the_size_asked_for(n_train, n_validation):
    data = blobs(n_train=100)
    recipe = Recipe(**BASE, train_samples=n_train, validation_samples=n_validation)
    parts = split(data, recipe)
    assert len(parts.train.labels) == (n_train or 100 - n_validation)
    assert len(parts.validation.labels) == (n_validation or len(data.test_labels))
    assert parts.test.labels is data.test_labels
    rows = {tuple(row.tolist()): int(y) for row, y in zip(*data_rows(data), strict=True)}
    found = [tuple(row.tolist()) for row in parts.train.inputs]
    if n_validation:
        found += [tuple(row.tolist()) for row in parts.validation.inputs]
        labels = torch.cat([parts.train.labels, parts.validation.labels]).tolist()
        assert [rows[row] for row in found] == labels
    assert len(set(found)) == len(found)
    again = split(data, recipe)
    assert torch.equal(again.train.inputs, parts.train.inputs)


def data_rows(data):
    return data.train_inputs, data.train_labels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_samples": 641}, "train_samples = 641 and validation_samples = 0: at most the 640"),
        ({"validation_samples": 640}, "validation_samples = 640: at most the 640 training samples"),
        ({"train_samples": 600, "validation_samples": 41}, "at most the 640 training samples"),
        ({"batch_size": 641}, "batch_size = 641: at most the 640 training samples of mnist5k"),
        ({"train_samples": 10, "batch_size": 16}, "batch_size = 16: at most the 10 training"),
    ],
)
def test_a_split_that_cannot_be_is_refused(changes, message, data):
    with pytest.raises(ValueError, match=message):
        split(data, Recipe(**(BASE | changes)))
