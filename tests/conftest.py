"""Fixtures for all tests: one thread, so that parallel test workers don't fight for cores.

Where there is no GPU, Triton's kernels run in its interpreter. Triton reads that when it is
imported, which other tests do too, so that it is set here, before anything else.
"""

import os

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile("fastff", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("fastff")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)
