"""The one place that decides how a layer or function is computed: plainly, or by which kernels.

A kernel is taken only where it gives the same function: for ordinary strided tensors, in a dtype
and on a device that there are kernels for, with nothing in the way that has to see every operation.
The kernels are Triton's, numba's, or PyTorch's own.
"""

from __future__ import annotations

import enum
import functools
import importlib
import logging
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from fastff.kernels import portable, tuning

log = logging.getLogger("fastff")
COMPILED = {
    "cpu": (torch.float32,),
    "cuda": (torch.float32, torch.bfloat16, torch.float16),
}
PORTABLE = {"cpu": (torch.float64, torch.bfloat16, torch.float16)}
PACKAGES = {"cpu": "numba", "cuda": "triton"}

# Whether a tensor is of this dtype, strided, on the CPU and no negative view, in a tenth of the
# time that asking for each of these takes: a legacy tensor type stands for just that.
is_cpu_float32 = torch.FloatTensor.__instancecheck__
is_cpu_int64 = torch.LongTensor.__instancecheck__

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


_DIRECT = Form.DIRECT


def form_for(*tensors: Tensor | None) -> Form:
    """Return how to compute a function of tensors: inputs x first, then weights and the like.

    Indices need no gradient and are left out; None stands for a tensor that isn't there.
    """
    if _is_compiling():
        return _compiled_form(*tensors)
    x = tensors[0]
    if (
        x is None
        or _tracing_state() is not None
        or _transforms() is not None
        or forward_ad._current_level >= 0
    ):
        return Form.PLAIN
    fits = True
    for tensor in tensors:
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
        importlib.import_module("fastff.kernels.ops").tell_counters()
    if fits and n_modes == 0 and not _any_autocast() and compiled_for("cpu") is not None:
        needs_gradient = _is_grad_enabled() and any(
            tensor is not None and tensor.requires_grad for tensor in tensors
        )
        return Form.OPERATOR if needs_gradient else _DIRECT
    device_type = x.device.type
    has = has_kernels(device_type, computed_dtype(x))
    if has and (device_type == "cpu" or compiled_for(device_type) is not None):
        return Form.OPERATOR  # which, as the plain form, refuses what isn't alike
    return Form.PLAIN


def pays(n_experts: int, n_chosen: int) -> bool:
    """Return whether computing `n_chosen` of the experts alone beats computing all."""
    return n_experts >= tuning.MIN_EXPERTS_PER_CHOICE * n_chosen


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


def _compiled_form(*tensors: Tensor | None) -> Form:
    x = tensors[0]
    if x is None or is_exporting() or is_in_transform():
        return Form.PLAIN
    for tensor in tensors:
        if tensor is not None and type(tensor) not in (Tensor, nn.Parameter):
            return Form.PLAIN
    has = has_kernels(x.device.type, computed_dtype(x))
    return Form.OPERATOR if has else Form.PLAIN


def has_kernels(device_type: str, dtype: torch.dtype) -> bool:
    """Return whether kernels were written for tensors of this device and dtype."""
    return dtype in (*COMPILED.get(device_type, ()), *PORTABLE.get(device_type, ()))


def kernels_for(device_type: str, dtype: torch.dtype) -> ModuleType:
    """Return the module of the kernels, `portable` where none are compiled."""
    if dtype in COMPILED.get(device_type, ()):
        return compiled_for(device_type) or portable
    return portable


def autocasts(device_type: str) -> bool:
    """Return whether autocast is on for a device; "meta" has none to ask for."""
    return device_type != "meta" and torch.is_autocast_enabled(device_type)


@functools.cache
def compiled_for(device_type: str) -> ModuleType | None:
    """Return the module of the compiled kernels for "cpu" or "cuda".

    None where the package that compiles them isn't installed, or is broken; the logger "fastff"
    says so once, as information.
    """
    package = PACKAGES[device_type]
    try:
        importlib.import_module(package)
    except (ImportError, OSError) as error:  # OSError: a library beneath that can't be loaded
        reason = f"{package} can't be imported ({error})"
        log.info("layers take their plain, slower form on %s: %s", device_type, reason)
        return None
    return importlib.import_module(f"fastff.kernels.{package}")
