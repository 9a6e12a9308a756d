"""Threads, forked processes and the workers of a DataLoader compute what one thread does."""

import multiprocessing
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cases import (
    BATCH,
    MODES,
    build,
    call,
    close,
    defined,
    every_layer,
    every_mode,
    expected,
    in_modes,
    inputs,
    some_layers,
)
from torch.utils.data import DataLoader, Dataset

ROWS = 400 * BATCH  # enough for a kernel to share them out


def many(name):
    return inputs(name).repeat(ROWS // BATCH, 1)


@every_layer
@every_mode
def test_threads(name, mode):
    layer, x = build(name).train(mode == "train"), inputs(name, 2, 3)

    def work(seed):
        with torch.set_grad_enabled(mode != "eval"):
            return [layer(part) for part in (x, x[0], x[:, :1])]

    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(work, range(8))]
    for outs in results:
        for out, part in zip(outs, (x, x[0], x[:, :1]), strict=True):
            close(out, expected(layer, mode, part))


@some_layers
def test_gradients_in_threads(name):
    layer, x = build(name).train(), inputs(name)

    def work(seed):
        return torch.autograd.grad(
            layer(x).square().sum(), [*layer.parameters()], materialize_grads=True
        )

    wanted = work(0)
    with ThreadPoolExecutor(4) as pool:
        for gradients in pool.map(work, range(8)):
            for gradient, reference in zip(gradients, wanted, strict=True):
                close(gradient, reference)


def forked(work):
    """Return whether `work` is true in a forked child, which has a minute for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@some_layers
@in_modes("eval", "train")
def test_fork(name, mode):
    torch.set_num_threads(2)
    layer, x = build(name), many(name)
    with torch.no_grad():
        wanted = layer.train(mode == "train")(x)

        def same():
            torch.set_num_threads(1)
            return torch.allclose(layer(x), wanted, atol=1e-6)

        assert forked(same)
        close(layer(x), wanted)


class Features(Dataset):
    """Outputs of a layer, one row at a time, as a user computes features in workers."""

    def __init__(self, layer, x):
        self.layer, self.x = layer, x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        with torch.no_grad():
            return self.layer(self.x[index])


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@some_layers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_data_loader_workers(name, context):
    layer, x = build(name).eval(), inputs(name)
    wanted = defined(name, MODES[0])
    call(layer, MODES[0], x)
    loader = DataLoader(
        Features(layer, x),
        batch_size=2,
        num_workers=1,
        multiprocessing_context=multiprocessing.get_context(context),
    )
    close(torch.cat([*loader]), wanted)


@some_layers
def test_shared_memory(name):
    layer, x = build(name).eval(), inputs(name)
    layer.share_memory()
    with torch.no_grad():
        wanted = layer(x)

        def trained():
            for parameter in layer.parameters():
                parameter.mul_(2)
            return layer(x).shape == wanted.shape

        assert forked(trained)
        close(layer(x), expected(layer, MODES[0], x))
        doubled = build(name)
        for parameter in doubled.parameters():
            parameter.mul_(2)
        close(layer(x), expected(doubled, MODES[0], x))
