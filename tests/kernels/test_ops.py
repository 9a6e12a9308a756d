"""The operators: schemas, shapes, gradients, and what runs over them."""

import pytest
import torch
from kernel_cases import DEVICE, Draw, close, needs_cuda

from fastff import kernels
from fastff.kernels import ops

# opcheck looks at the gradient of its own copies
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


def tree_case(device, dtype=torch.float32, batch=9):
    draw = Draw(0, device, dtype)
    tensors = draw(batch, 13), draw(2, 31, 13), draw(2, 31, 7)
    return [t.requires_grad_() for t in tensors]


def expert_case(device, dtype=torch.float32, *, plain=False):
    draw = Draw(0, device, dtype)
    expert = draw.choice(5, 9, 2)
    tensors = draw(9, 13), draw(5, 4, 13), draw(5, 4, 7), draw(9, 2), draw(5, 4), draw(5, 7)
    x, w_in, w_out, *optional = (t.requires_grad_() for t in tensors)
    return x, expert, w_in, w_out, "gelu", *([None] * 3 if plain else optional)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_operators_are_well_formed(device):
    x, w_in, w_out = tree_case(device)
    torch.library.opcheck(ops.route, (x.detach(), w_in[0].detach(), None))
    torch.library.opcheck(ops.route, (x.detach(), w_in[0].detach(), w_in[0, :, 0].detach()))
    torch.library.opcheck(ops.node_tree, (x, w_in, w_out, "gelu"))
    b_in = w_in[..., 0].detach().clone().requires_grad_()
    torch.library.opcheck(ops.node_tree, (x, w_in, w_out, "gelu", b_in))
    torch.library.opcheck(ops.chosen_experts, expert_case(device))
    torch.library.opcheck(ops.chosen_experts, expert_case(device, plain=True))


def test_gradients_equal_finite_differences():
    x, w_in, w_out = tree_case("cpu", torch.float64)
    assert torch.autograd.gradcheck(
        lambda *tensors: kernels.node_tree(*tensors, "gelu"), (x, w_in, w_out)
    )
    _, expert, *_ = case = expert_case("cpu", torch.float64)

    def experts(x, w_in, w_out, scale, b_in, b_out):
        return kernels.chosen_experts(
            x, expert, w_in, w_out, "gelu", scale=scale, b_in=b_in, b_out=b_out
        )

    assert torch.autograd.gradcheck(experts, [t for t in case if getattr(t, "requires_grad", 0)])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_gradients_can_be_differentiated_again(device):
    x, w_in, w_out = tree_case(device)
    b_in = w_in[..., 0].detach().clone().requires_grad_()
    _, expert, *_ = case = expert_case(device)
    calls = [
        (lambda *t: kernels.node_tree(*t[:3], "gelu", b_in=t[3]), (x, w_in, w_out, b_in)),
        (
            lambda x, w_in, w_out, scale, b_in, b_out: kernels.chosen_experts(
                x, expert, w_in, w_out, "gelu", scale=scale, b_in=b_in, b_out=b_out
            ),
            [t for t in case if getattr(t, "requires_grad", False)],
        ),
    ]
    for function, tensors in calls:
        exact = [t.detach().double().requires_grad_() for t in tensors]
        for one, wanted in zip(twice(function, tensors), twice(function, exact), strict=True):
            close(one, wanted)


def twice(function, tensors):
    """Return the gradients of the squared norm of a function's gradients."""
    first = torch.autograd.grad(function(*tensors).square().sum(), tensors, create_graph=True)
    return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), tensors)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_operations_are_counted_by_what_is_visited(device):
    x, w_in, w_out = tree_case(device)
    case = expert_case(device)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        kernels.route(x, w_in[0])
        out = kernels.node_tree(x, w_in, w_out, "gelu")
        chosen = kernels.chosen_experts(*case[:5], scale=case[5], b_in=case[6], b_out=case[7])
        forward = counter.get_total_flops()
        (out.sum() + chosen.sum()).backward()
    visited, selected = 9 * 2 * 5 * (13 + 7), 9 * 2 * 4 * (13 + 7)  # multiplications
    assert forward == 2 * (9 * 5 * 13 + visited + selected)
    assert counter.get_total_flops() - forward == 4 * (visited + selected)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_compiled_without_a_break(device):
    x, w_in, w_out = tree_case(device)
    compiled = torch.compile(kernels.node_tree, fullgraph=True, backend="aot_eager")
    expected, out = kernels.node_tree(x, w_in, w_out, "gelu"), compiled(x, w_in, w_out, "gelu")
    close(out, expected)
    gradients = torch.autograd.grad(out.sum(), [x, w_in, w_out])
    for gradient, wanted in zip(
        gradients, torch.autograd.grad(expected.sum(), [x, w_in, w_out]), strict=True
    ):
        close(gradient, wanted)
    leaf = torch.compile(kernels.route, fullgraph=True, backend="aot_eager")(x, w_in[0])
    assert leaf.equal(kernels.route(x, w_in[0]))


@needs_cuda
@pytest.mark.parametrize("batch", [9, 5000])
def test_captured_in_a_graph(batch):
    x, w_in, w_out = tree_case(DEVICE, batch=batch)

    def step():
        out = kernels.node_tree(x, w_in, w_out, "gelu")
        return out, *torch.autograd.grad(out.square().sum(), [x, w_in, w_out])

    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    torch.cuda.synchronize()
    # the first step in the stream of the capture: autograd keeps to where it first ran
    with torch.cuda.stream(stream):
        expected = [tensor.detach().clone() for tensor in step()]
        with torch.cuda.graph(graph, stream=stream):
            captured = step()
    torch.cuda.synchronize()
    for tensor in captured:
        tensor.detach().fill_(torch.nan)
    graph.replay()
    for tensor, wanted in zip(captured, expected, strict=True):
        close(tensor, wanted)


@needs_cuda
def test_autocast_computes_in_its_dtype():
    x, w_in, w_out = tree_case(DEVICE)
    with torch.autocast("cuda", torch.bfloat16):
        out = kernels.node_tree(x, w_in, w_out, "gelu")
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert w_in.grad.dtype == torch.float32


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_autocast_reaches_no_kernel(device, monkeypatch):
    """It would make a sum of half precision float32, and the next product one of two dtypes."""
    seen = []
    kernels_of = ops._kernels

    def watched(*tensors):
        seen.append(torch.is_autocast_enabled(device))
        return kernels_of(*tensors)

    monkeypatch.setattr(ops, "_kernels", watched)
    half = torch.bfloat16
    x, w_in, w_out = tree_case(device, half)
    x_of_experts, *experts = expert_case(device, half)
    with torch.autocast(device, half):
        ops.route(x.detach(), w_in[0].detach(), None)
        tree = ops.node_tree(x, w_in, w_out, "gelu")[0]
        summed = ops.chosen_experts(x_of_experts, *experts)[0]
        assert tree.dtype is summed.dtype is half
        (tree.sum() + summed.sum()).backward()
        assert torch.is_autocast_enabled(device)
    assert seen == [False] * 5
    for tensor in (x, w_in, w_out, x_of_experts, *experts):
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
            assert tensor.grad.dtype is half
            assert tensor.grad.isfinite().all()
