"""The optimisers as Triton kernels against torch's, interpreted where there is no CUDA device."""

import pytest
import torch

from fastff.config.recipe import AdamWSpec, SgdSpec

pytest.importorskip("triton")
from fastff.train.captured import CapturedOptimiser


@pytest.mark.parametrize("has_scale", [False, True])
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_steps_are_torch_s(kind, has_scale):
    """Compare ten steps of a moving schedule with torch's optimiser on each run."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    draw = torch.Generator().manual_seed(3)
    shapes = [(3, 40, 31), (3, 7)]
    steps = [(0.05 / (1 + step), 0.95 - 0.02 * step) for step in range(10)]
    spec = {"adamw": AdamWSpec(weight_decay=0.1), "sgd": SgdSpec(weight_decay=0.1)}[kind]
    mine = [torch.nn.Parameter(torch.randn(s, generator=draw).to(device)) for s in shapes]
    theirs = [[torch.nn.Parameter(p[run].detach().clone()) for p in mine] for run in range(3)]
    scale = torch.tensor([1.0, 0.5, 0.1], device=device) if has_scale else None
    optimiser = CapturedOptimiser(mine, spec, steps, scale)
    others = []
    for parameters in theirs:
        if kind == "adamw":
            options = {"betas": spec.betas, "eps": spec.epsilon, "weight_decay": 0.1}
            others.append(torch.optim.AdamW(parameters, **options))
        else:
            others.append(torch.optim.SGD(parameters, momentum=0.9, weight_decay=0.1))
    for rate, momentum in steps:
        optimiser.zero_grad()
        for place, parameter in enumerate(mine):
            parameter.grad = torch.randn(parameter.shape, generator=draw).to(device)
            for run in range(3):
                theirs[run][place].grad = parameter.grad[run].clone()
        optimiser.step()
        for run, other in enumerate(others):
            (group,) = other.param_groups
            group["lr"] = rate * (1.0 if scale is None else scale[run].item())
            if kind == "adamw":
                group["betas"] = (momentum, spec.betas[1])
            else:
                group["momentum"] = momentum
            other.step()
    for place, parameter in enumerate(mine):
        expected = torch.stack([parameters[place] for parameters in theirs])
        torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-6)
    before = [parameter.detach().clone() for parameter in mine]
    optimiser.zero_grad()
    optimiser.next.zero_()
    optimiser.step()  # without gradients
    assert all(torch.equal(*pair) for pair in zip(before, mine, strict=True))
