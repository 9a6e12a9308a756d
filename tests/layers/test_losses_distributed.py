"""The layers' own losses over two processes, which DDP and FSDP2 make out of one model."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from fastff import FFF, MoE, aux_loss

STEPS = 2


class Checkpointed(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = checkpoint(self.layer, x, use_reentrant=False)
        return out


def models() -> dict[str, nn.Module]:
    draw = torch.Generator().manual_seed(0)
    fff = {"depth": 2, "leaf_width": 3, "generator": draw}
    moe = {"n_experts": 8, "expert_width": 3, "balance": 0.3, "generator": draw}
    return {
        "trees": nn.Sequential(
            FFF(6, 6, hardening=0.2, balance=0.3, **fff),
            Checkpointed(FFF(6, 6, balance=0.3, master_leaf_width=2, **fff)),
        ),
        "switch": nn.Sequential(MoE(6, 6, **moe), MoE(6, 6, top_k=2, **moe)),
        # the router is reached by its loss alone
        "constant": nn.Sequential(MoE(6, 6, renormalise=True, **moe), FFF(6, 6, **fff)),
        # nothing reaches the nodes
        "hard": nn.Sequential(FFF(6, 6, hard_training=True, **fff), MoE(6, 6, **moe)),
    }


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    model.zero_grad()
    (model(x).square().sum() + aux_loss(model)).backward()
    assert aux_loss(model).item() == 0
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def wrapped(model: nn.Module, wrapper: str) -> nn.Module:
    if wrapper == "fsdp2":
        for part in model:
            fully_shard(part)
        return fully_shard(model)
    return DistributedDataParallel(model, find_unused_parameters=wrapper == "ddp, unused")


def work(rank: int, file: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    for wrapper in ("ddp", "ddp, unused", "fsdp2"):
        for name, model in models().items():
            one = copy.deepcopy(model)
            shared = wrapped(model, wrapper)
            for step in range(STEPS):
                x = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(step))
                ours = gradients(shared, x[rank])
                first = [gradient.clone() for gradient in gradients(one, x[0])]
                for gradient, *both in zip(ours, first, gradients(one, x[1]), strict=True):
                    full = gradient.full_tensor() if wrapper == "fsdp2" else gradient
                    expected = torch.stack(both).mean(0)
                    torch.testing.assert_close(
                        full, expected, atol=1e-5, rtol=1e-4, msg=f"{wrapper}, {name}, {step}"
                    )
    dist.destroy_process_group()


@pytest.mark.slow
def test_gradients_are_the_mean_over_processes(tmp_path):
    mp.spawn(work, (str(tmp_path / "store"),), nprocs=2)
