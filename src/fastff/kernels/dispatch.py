"""The one place that decides how a layer or function is computed: plainly, or by a kernel.

A kernel is taken only where it gives the same function: for ordinary strided tensors, in a dtype
and on a device that there are kernels for, with nothing in the way that has to see every operation.
"""

from __future__ import annotations

import enum
import importlib

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from fastff.kernels.backends import autocasts, has_kernels, kernels_for

MIN_EXPERTS_PER_CHOICE = 4  # with fewer, one dense product of all is about as fast

# names of this module, for one input's sake
FLOAT32, STRIDED = torch.float32, torch.strided
_tracing_state = torch._C._get_tracing_state
_transforms = torch._C._functorch.peek_interpreter_stack
_n_modes = torch._C._len_torch_dispatch_stack
_any_autocast = torch._C._is_any_autocast_enabled


class Form(enum.Enum):
    """How something is computed.

    PLAIN: by PyTorch's own operations: a dtype or device without kernels, subclasses of Tensor
        (DTensor, fake and functional tensors), negative views, `torch.func` transforms,
        forward-mode AD, `torch.jit.trace`, `torch.export` and what builds on it, whose programs
        then need nothing of this package.
    OPERATOR: by a kernel behind an operator of torch, which autograd, `torch.compile`, CUDA graphs
        and dispatch modes (make_fx, FlopCounterMode) see.
    DIRECT: by a CPU kernel at once, where nobody needs to see it: the operator around it takes
        several times as long as one input's walk. All tensors are float32 and on the CPU.
    """

    PLAIN = enum.auto()
    OPERATOR = enum.auto()
    DIRECT = enum.auto()


def form_for(x: Tensor, *others: Tensor | None) -> Form:
    """Return how to compute a function of inputs `x` and `others`, which are weights and the like.

    Indices need no gradient and are left out; None stands for a tensor that isn't there.
    """
    if torch.compiler.is_compiling():
        return _compiled_form(x, *others)
    if (
        not isinstance(x, Tensor)
        or _tracing_state() is not None
        or _transforms() is not None
        or forward_ad._current_level >= 0
    ):
        return Form.PLAIN
    needs_gradient, fits = False, True
    for tensor in (x, *others):
        if tensor is None:
            continue
        kind = type(tensor)
        if (
            (kind is not Tensor and kind is not nn.Parameter)
            or tensor.layout is not STRIDED
            or tensor.is_neg()
        ):
            return Form.PLAIN
        needs_gradient = needs_gradient or tensor.requires_grad
        fits = fits and tensor.dtype is FLOAT32 and tensor.is_cpu
    n_modes = _n_modes()
    if n_modes > 0:
        importlib.import_module("fastff.kernels.flops").tell_counters()
    if n_modes > 0 or not x.is_cpu or _any_autocast():
        return _operator_if(x.device.type, computed_dtype(x))
    if fits and kernels_for("cpu") is not None:
        return Form.OPERATOR if needs_gradient and torch.is_grad_enabled() else Form.DIRECT
    return _operator_if("cpu", x.dtype)  # which refuses what isn't alike


def pays(n_experts: int, n_chosen: int) -> bool:
    """Return whether computing `n_chosen` of the experts alone beats computing all."""
    return n_experts >= MIN_EXPERTS_PER_CHOICE * n_chosen


def computed_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which a function of `x` is computed: its own, or autocast's."""
    device_type = x.device.type
    if autocasts(device_type) and x.dtype is not torch.float64:
        return torch.get_autocast_dtype(device_type)
    return x.dtype


def is_exporting() -> bool:
    """Return whether `torch.export` is at work; of torch 2.11's own, Dynamo always makes True."""
    return torch.compiler._is_exporting_flag


def is_in_transform() -> bool:
    """Return whether a transform of `torch.func` or a forward-mode derivative is at work."""
    return _transforms() is not None or forward_ad._current_level >= 0


# Dynamo is to ask it while it traces: of itself it takes an empty stack for an object. That is what
# torch.compiler.assume_constant_result does, which would load the compiler with this file.
is_in_transform._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _operator_if(device_type: str, dtype: torch.dtype) -> Form:
    if not has_kernels(device_type, dtype) or kernels_for(device_type) is None:
        return Form.PLAIN
    return Form.OPERATOR


def _compiled_form(x: Tensor, *others: Tensor | None) -> Form:
    if is_exporting() or is_in_transform():
        return Form.PLAIN
    for tensor in (x, *others):
        if tensor is not None and type(tensor) not in (Tensor, nn.Parameter):
            return Form.PLAIN
    has = has_kernels(x.device.type, computed_dtype(x))
    return Form.OPERATOR if has else Form.PLAIN
