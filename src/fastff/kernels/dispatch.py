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

from fastff.kernels.backends import autocasts, compiled_for, has_kernels
from fastff.kernels.check import is_cpu_float32

MIN_EXPERTS_PER_CHOICE = 4  # with fewer, one dense product of all is about as fast

# names of this module, for one input's sake
_is_compiling = torch.compiler.is_compiling
_tracing_state = torch._C._get_tracing_state
_transforms = torch._C._functorch.peek_interpreter_stack
_n_modes = torch._C._len_torch_dispatch_stack
_is_grad_enabled = torch.is_grad_enabled
_any_autocast = torch._C._is_any_autocast_enabled


class Form(enum.Enum):
    """How something is computed.

    PLAIN: of all experts or nodes: a dtype or device without kernels, subclasses of Tensor
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
    if _is_compiling():
        return _compiled_form(x, *others)
    if (
        x is None
        or _tracing_state() is not None
        or _transforms() is not None
        or forward_ad._current_level >= 0
    ):
        return Form.PLAIN
    fits = True
    for tensor in (x, *others):
        if tensor is None:
            continue
        kind = type(tensor)
        if kind is not Tensor and kind is not nn.Parameter:
            return Form.PLAIN
        if not is_cpu_float32(tensor):
            if tensor.layout is not torch.strided or tensor.is_neg():
                return Form.PLAIN
            fits = False
    n_modes = _n_modes()
    if n_modes > 0:
        importlib.import_module("fastff.kernels.flops").tell_counters()
    if fits and n_modes == 0 and not _any_autocast() and compiled_for("cpu") is not None:
        needs_gradient = _is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in (x, *others)
        )
        return Form.OPERATOR if needs_gradient else Form.DIRECT
    device_type = x.device.type
    has = has_kernels(device_type, computed_dtype(x))
    if has and (device_type == "cpu" or compiled_for(device_type) is not None):
        return Form.OPERATOR  # which, as the plain form, refuses what isn't alike
    return Form.PLAIN


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


def _compiled_form(x: Tensor, *others: Tensor | None) -> Form:
    if is_exporting() or is_in_transform():
        return Form.PLAIN
    for tensor in (x, *others):
        if tensor is not None and type(tensor) not in (Tensor, nn.Parameter):
            return Form.PLAIN
    has = has_kernels(x.device.type, computed_dtype(x))
    return Form.OPERATOR if has else Form.PLAIN
