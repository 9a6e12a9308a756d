"""Two processes over gloo: DDP and FSDP2 train every layer as one process does, and evaluate it."""

import functools
import traceback
import warnings
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from cases import (
    BATCH,
    GATED,
    LAYERS,
    build,
    close,
    expected,
    inputs,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

pytestmark = pytest.mark.slow
N_PROCESSES, N_STEPS, RATE = 2, 3, 0.1
KINDS = {  # of wrapping, with the layers that have such parts
    "ddp": tuple(LAYERS),
    "fsdp": tuple(LAYERS),
    "fsdp of the experts": GATED,
    "fsdp of gate and experts": GATED,
}


def step(model, x):
    """Take a step of gradient descent on inputs `x`."""
    model.zero_grad()
    model(x).square().mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.sub_(RATE * parameter.grad)


def wrap(kind, layer):
    if kind == "ddp":
        return DistributedDataParallel(layer)
    if kind == "fsdp of gate and experts":
        fully_shard(layer.gate)
    if kind != "fsdp":
        fully_shard(layer.experts)
    # the root of "experts" is the experts, and the gate is this process's own: it stays as it is
    return layer if kind == "fsdp of the experts" else fully_shard(layer)


def prepared(kind, name):
    layer = build(name)
    if kind == "fsdp of the experts":
        layer.gate.requires_grad_(False)
    return layer


def train_and_evaluate(kind, name, rank):
    """Return outputs in eval, each without and with gradients, before and after steps; state."""
    layer, rows = prepared(kind, name), inputs(name, N_PROCESSES, BATCH)
    model, outs = wrap(kind, layer), []
    for n_steps in (0, N_STEPS):
        model.train()
        for _ in range(n_steps):
            step(model, rows[rank])
        model.eval()
        with torch.no_grad():
            outs.append(model(rows[rank]))
        outs.append(model(rows[rank]).detach())
    state = {
        key: value.full_tensor() if isinstance(value, DTensor) else value
        for key, value in layer.state_dict().items()
    }
    return outs, state


def work(rank, kind, names, store, results):
    torch.set_num_threads(1)
    warnings.filterwarnings("error", message="FSDP2-wrapped module")
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, N_PROCESSES), rank=rank, world_size=N_PROCESSES,
        timeout=timedelta(seconds=30),
    )  # fmt: skip
    done = {}
    for name in names:
        try:
            done[name] = train_and_evaluate(kind, name, rank)
        except Exception:
            done[name] = traceback.format_exc()
        torch.save(done, f"{results}.{rank}")
        dist.barrier()
    dist.destroy_process_group()


def spawn(kind, names, folder):
    """Run `work` in processes; return what ended them before they were done, if anything did."""
    context = torch.multiprocessing.spawn(
        work, (kind, names, str(folder / "store"), str(folder / "results")), N_PROCESSES, join=False
    )
    try:
        while not context.join(timeout=600, grace_period=1):
            pass
    except Exception as error:
        return error
    finally:
        for process in context.processes:
            process.kill()
    return None


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a function: of a kind and layer, what each process got, or its traceback."""

    @functools.cache
    def of_kind(kind):
        names, done = KINDS[kind], {}
        while names:  # again for those behind one that ended its process
            folder = tmp_path_factory.mktemp("processes")
            failure = spawn(kind, names, folder)
            files = [folder / f"results.{rank}" for rank in range(N_PROCESSES)]
            per_rank = [torch.load(file) if file.exists() else {} for file in files]
            finished = [name for name in names if all(name in one for one in per_rank)]
            done |= {name: [one[name] for one in per_rank] for name in finished}
            names = names[len(finished) :]
            if names:
                done[names[0]] = [f"the process ended: {failure}"]
                names = names[1:]
        return done

    def of(kind, name):
        found = of_kind(kind)[name]
        assert not [one for one in found if isinstance(one, str)], "\n".join(map(str, found))
        return found

    return of


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in names]
)
def test_trained_by_two_processes(kind, name, results):
    layer, rows = prepared(kind, name), inputs(name, N_PROCESSES, BATCH)
    trained = prepared(kind, name).train()
    for _ in range(N_STEPS):
        step(trained, rows.flatten(0, 1))
    for rank, (outs, state) in enumerate(results(kind, name)):
        for out, model in zip(outs, (layer, layer, trained, trained), strict=True):
            close(out, expected(model, "eval", rows[rank]), 1e-4)
        for key, value in trained.state_dict().items():
            close(state[key], value, 1e-4)
