"""A small dataset for the engine's tests."""

import pytest

from blobs import blobs
from fastff.data.dataset import Dataset


@pytest.fixture
def data() -> Dataset:
    return blobs()
