"""What layers are penalised for, and how their own losses reach the training loss.

A layer's loss is known inside its forward pass, and the training loss is made outside. `record`
leaves it where `aux_loss` finds it.
"""

from __future__ import annotations

import functools
import itertools
import warnings
import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch._subclasses.fake_tensor import FakeTensor

from fastff.kernels.dispatch import is_exporting, is_in_transform
from fastff.layers.linear import wide
from fastff.layers.tree import node_entropies

LEAST_SCALE = 1e-6
HARDENING_REDUCTIONS = ("sum", "batch_mean", "mean")
N_RECENT = 32  # losses of one layer that are kept where no graph keeps them

_clock = itertools.count(1)  # tells which of two records and calls of `aux_loss` came first


def squared_variation(values: Tensor) -> Tensor:
    """Return the squared coefficient of variation over the last dimension, (...) of (..., e)."""
    return values.var(-1, correction=0) / (values.mean(-1) ** 2 + 1e-10)


def importance(weights: Tensor) -> Tensor:
    """Return CV² of the experts' summed routing weights, (...) of (..., b, e).

    Shazeer et al., arXiv 1701.06538, section 4.
    """
    return squared_variation(wide(weights).sum(-2))


def smooth_load(clean: Tensor, noisy: Tensor, scale: Tensor, top_k: int) -> Tensor:
    """Return the expected number of samples per expert under fresh noise, (..., e).

    P(x, e) = Φ((clean_e - threshold_e) / scale_e), with the k-th largest of the *other* experts'
    noisy logits as threshold, summed over the batch (Shazeer et al., arXiv 1701.06538, appendix A).

    Args:
        clean: logits without noise, (..., b, e).
        noisy: logits with noise.
        scale: standard deviation of the noise; below `LEAST_SCALE` it counts as this. A trained
            gate's is 0 for some inputs, where the quotient's gradient would be NaN.
        top_k: number of experts kept, below e.

    """
    best = noisy.topk(top_k + 1, dim=-1).values
    last_in, first_out = best[..., top_k - 1 : top_k], best[..., top_k:]
    # among the others, the k-th largest is the first left out for an expert that is in
    threshold = torch.where(noisy >= last_in, first_out, last_in)
    distance = wide(clean - threshold) / wide(scale).clamp_min(LEAST_SCALE)
    probability: Tensor = torch.special.ndtr(distance)
    return probability.sum(-2)


def load_balance(weights: Tensor, expert: Tensor) -> Tensor:
    """Return n Σ_e f_e P_e, (...): 1 for an even load, up to n where one expert gets everything.

    f_e is the share of all choices that fell on expert e, a constant; P_e is its mean weight.
    Switch Transformers' loss (Fedus et al., arXiv 2101.03961, equation 4). With leaf weights and
    the leaf reached it is 2^d / b² Σ_leaf (summed soft weight · hard count), the loss of
    Charalampopoulos et al., arXiv 2405.16836. An empty batch has a loss of 0.

    Args:
        weights: the whole routing distribution, (..., b, e).
        expert: the experts chosen, (..., b, k), int64.

    """
    n_rows, n_experts = weights.shape[-2:]
    summed = wide(weights).sum(-2)  # (..., e)
    chosen = expert.flatten(-2)  # (..., b k)
    ones = torch.ones_like(chosen, dtype=summed.dtype)
    counts = torch.zeros_like(summed).scatter_add(-1, chosen, ones)
    both = max(n_rows, 1) * max(chosen.shape[-1], 1)
    return n_experts * (counts * summed).sum(-1) / both


def hardening(z: Tensor, reduction: str = "batch_mean") -> Tensor:
    """Return the entropies of the nodes' decisions in nats, reduced to (...) from (..., b, n).

    Belcak & Wattenhofer, arXiv 2308.14711, section 2.3. An empty batch has a loss of 0.

    Args:
        z: node logits, (..., b, n).
        reduction: one of HARDENING_REDUCTIONS. "sum" is over the batch and the nodes, as the paper
            writes it; "batch_mean" divides this by b, as the cross-entropy is; "mean" divides it by
            b n, as the paper's package and the load-balanced FFF (arXiv 2405.16836) do.

    """
    n_rows, n_nodes = z.shape[-2:]
    total = node_entropies(wide(z)).sum(-1)  # (..., b)
    if reduction == "sum" or n_rows == 0:
        return total.sum(-1)
    mean = total.mean(-1)
    return mean / n_nodes if reduction == "mean" else mean


def record(layer: nn.Module, out: Tensor, loss: Tensor) -> Tensor:
    """Keep a layer's own loss for `aux_loss`, and return the output that it has to hand on.

    To be called in the layer's forward pass in training mode. The loss lives as long as the graph
    of `out`, until the backward pass. What runs inside a backward pass is a recomputation, whose
    loss has been counted.

    Args:
        layer: whose loss it is; made with `pending_losses = PendingLosses()` it compiles once.
        out: the layer's output, of any shape.
        loss: weighted, as it is to be added; runs (r,) are summed.

    """
    pending = getattr(layer, "pending_losses", None)
    if pending is None:
        pending = PendingLosses()
        object.__setattr__(layer, "pending_losses", pending)
    loss = loss.sum() if loss.dim() else loss
    if torch.compiler.is_compiling():
        if is_in_transform():
            pending.is_out_of_reach = True
        elif not is_exporting():
            pending.keep(loss)
        return out
    if torch._C._current_graph_task_id() != -1:
        return pending.recompute(out, loss, type(layer).__name__)
    pending.held.clear()  # what aux_loss took belongs to an earlier pass
    pending.is_out_of_reach = False
    if loss.requires_grad and _finds_unused_parameters():
        out = _Attach.apply(out, loss, None)
    if out.requires_grad:
        owner = _owner(out, loss)
        if owner is None:
            owner = out = out.clone()
        kept = _Kept(loss, next(_clock))
        pending.owned[kept.order] = kept
        # a tensor's hook lives in the graph, so that `kept` does too, and no longer
        owner.register_hook(functools.partial(pending.passed, kept, type(layer).__name__))
    elif torch._C._functorch.is_functorch_wrapped_tensor(loss):
        pending.is_out_of_reach = True
    elif not isinstance(loss, FakeTensor):
        pending.keep(loss)
    return out


@_disable_dynamo  # torch.compiler.disable would load the compiler with this file
def aux_loss(model: nn.Module) -> Tensor:
    """Return the sum of all layers' own losses in a training-mode forward pass, 0-dimensional.

    It is added to the loss of the task::

        loss = criterion(model(x), y) + aux_loss(model)
        loss.backward()

    A layer called twice counts twice, and so do several forward passes before the call; what is
    recomputed in a checkpoint counts once. Called again, it returns the same sum, until one of the
    model's layers runs again and starts a new one. Nothing is left after the backward pass.

    A loss lives in the graph of its layer's output, and goes with it: take it while the output, or
    what was computed from it, is there, and before any backward pass, `torch.autograd.grad`
    included. Compiled code doesn't see when an output is dropped: there, losses of passes without
    a backward pass (a generator's, run for its critic) count until `aux_loss` has been called.

    Threads that share a layer, as those of `nn.DataParallel`, share its losses: use
    DistributedDataParallel.

    Where layers have no loss, or its weight is 0, or nothing ran in training mode, it is 0 on the
    device of the model's first parameter. Otherwise it is at least float32.

    In a function that `torch.compile` sees, it breaks the graph: with `fullgraph=True` call it
    outside, as above. A checkpoint inside of what is compiled as a whole needs
    `torch._dynamo.config.skip_fwd_side_effects_in_bwd_under_checkpoint = True`, as torch's error
    says.

    Raises:
        RuntimeError: for a layer that ran 32 times or more since the last call, compiled or
            without gradients; in a transform of torch.func without `grad`.

    """
    found = dict.fromkeys(getattr(module, "pending_losses", None) for module in model.modules())
    layers = [pending for pending in found if isinstance(pending, PendingLosses)]
    if any(pending.is_out_of_reach for pending in layers):
        raise RuntimeError(
            "a layer ran last inside vmap or jvp, and its loss stayed there: take aux_loss inside "
            "grad there, or use soft_with_loss"
        )
    taken = _take(layers)
    losses = [kept.loss for _, kept in taken]
    if not losses:
        first = next(itertools.chain(model.parameters(), model.buffers()), None)
        return torch.zeros((), device=None if first is None else first.device)
    dtype = functools.reduce(torch.promote_types, (loss.dtype for loss in losses), torch.float32)
    device = losses[-1].device
    total: Tensor = torch.stack([loss.to(device, dtype) for loss in losses]).sum()
    if torch.is_grad_enabled() and not all(loss.requires_grad for loss in losses):
        # a reentrant checkpoint asks for the gradient of what had no graph yet
        total = total + torch.zeros_like(total, requires_grad=True)
    if total.requires_grad:
        total.register_hook(functools.partial(_clear, taken))
    return total


class _Kept:
    """A recorded loss.

    Attributes:
        loss: the 0-dimensional tensor.
        order: the time of its record, or the one before which it wasn't.
        taken: the time when `aux_loss` last took it, or 0.
        among: the layers whose losses it took then.

    """

    __slots__ = ("__weakref__", "among", "loss", "order", "taken")

    def __init__(self, loss: Tensor, order: int) -> None:
        self.loss = loss
        self.order = order
        self.taken = 0
        self.among: list[PendingLosses] = []


class _Nothing:
    """A place for a loss that none has taken."""


class PendingLosses:
    """A layer's losses from its forward pass to the backward pass.

    A copy of a layer, and a pickled one, starts without any.

    Attributes:
        owned: losses that the graph of the layer's output keeps alive, by time of record.
        recent: the last losses that no graph keeps, newest first: from compiled code, whose side
            effects are no more than assignments, and from passes without gradients. Of a fixed
            length, and never looked into there, so that nothing is compiled for its contents.
        held: those of `recent` that `aux_loss` took.
        taken: the time of the last call of `aux_loss`, or 0.
        weights: gradients of losses that a reentrant checkpoint is to recompute, by time.
        weight: the last one used, which serves what runs again.
        is_out_of_reach: whether the last loss lived in a transform and in no graph.
        has_warned: whether a loss that nobody took was warned of.

    """

    empty: tuple[Tensor | _Nothing, ...] = (_Nothing(),) * N_RECENT

    def __init__(self) -> None:
        self.owned: weakref.WeakValueDictionary[int, _Kept] = weakref.WeakValueDictionary()
        self.recent = self.empty
        self.held: list[_Kept] = []
        self.taken = 0
        self.weights: list[tuple[int, Tensor]] = []
        self.weight: Tensor | None = None
        self.is_out_of_reach = False
        self.has_warned = False

    def __deepcopy__(self, memo: dict[int, Any]) -> PendingLosses:
        return PendingLosses()

    def __reduce__(self) -> tuple[type[PendingLosses], tuple[()]]:
        return PendingLosses, ()

    def keep(self, loss: Tensor) -> None:
        """Put a loss first among the recent ones."""
        self.recent = (loss, *self.recent[:-1])
        self.is_out_of_reach = False

    def passed(self, kept: _Kept, name: str, grad: Tensor) -> None:
        """Drop a loss whose layer the backward pass has reached, unless it will come again."""
        if torch.is_grad_enabled():
            return
        was_here = self.owned.pop(kept.order, None) is not None
        # a constant trains nothing
        if was_here and not kept.taken and kept.loss.requires_grad:
            self.warn(name)

    def recompute(self, out: Tensor, loss: Tensor, name: str) -> Tensor:
        """Return the output of a forward pass inside a backward pass.

        A checkpoint with use_reentrant=True runs first without gradients. So its loss had no graph
        when `aux_loss` took it, and gets the gradient that it is due here.
        """
        if not torch.is_grad_enabled() or not loss.requires_grad:
            return out
        if self.weights:
            self.weight = self.weights.pop()[1]
        if self.weight is not None:
            injected: Tensor = _Attach.apply(out, loss, self.weight)
            return injected
        if self.held:
            raise RuntimeError(
                f"the loss of {name} is recomputed before aux_loss has a gradient: add aux_loss "
                "to the loss of the same backward pass, or checkpoint with use_reentrant=False"
            )
        if self.recent is not self.empty:
            self.warn(name)
        return out

    def warn(self, name: str) -> None:
        """Say, once, that a loss didn't reach the training loss."""
        if not self.has_warned:
            self.has_warned = True
            warnings.warn(
                f"{name} has a loss of its own that was not added: train on "
                "loss + fastff.aux_loss(model), or set its weight to 0",
                stacklevel=2,
            )

    def current(self) -> list[_Kept]:
        """Return the losses that may be of the current pass, in the order of their records."""
        recent = [loss for loss in reversed(self.recent) if isinstance(loss, Tensor)]
        recent = [loss for loss in recent if not _is_spent(loss)]
        self.recent = self.empty
        if recent:
            self.held = [_Kept(loss, self.taken) for loss in recent]
        return [*self.owned.values(), *self.held]


def _take(layers: list[PendingLosses]) -> list[tuple[PendingLosses, _Kept]]:
    """Return the losses of the layers' current forward passes, and mark them as taken.

    Those taken before one of the layers that they were taken with ran again belong to an earlier
    pass. Those without a graph count only where the layer has none with one: they are of a trial,
    or a checkpoint.
    """
    kept = {pending: pending.current() for pending in layers}
    newest = {p: max((one.order for one in of_layer), default=0) for p, of_layer in kept.items()}
    now = next(_clock)
    losses = []
    for pending, of_layer in kept.items():
        pending.taken = now
        current = [one for one in of_layer if all(one.taken > newest.get(p, 0) for p in one.among)]
        current = [one for one in current if one.loss.requires_grad] or current
        losses += [(pending, one) for one in current]
    if any(len(p.held) == N_RECENT and one is p.held[0] for p, one in losses):
        for pending in layers:
            pending.held.clear()
        raise RuntimeError(
            f"a layer ran {N_RECENT} times or more, compiled or without gradients, since aux_loss "
            "was called: call it after every forward pass (now it starts anew)"
        )
    for _, one in losses:
        one.taken, one.among = now, layers
    return losses


def _is_spent(loss: Tensor) -> bool:
    """Return whether a backward pass has been through the graph of a loss, and freed it."""
    node: Any = loss.grad_fn
    try:
        node._raw_saved_tensors  # noqa: B018
    except AttributeError:  # of no compiled code
        return False
    except RuntimeError:
        return True
    return False


def _clear(losses: list[tuple[PendingLosses, _Kept]], grad: Tensor) -> None:
    """Forget the losses whose backward pass has begun, and what it records when it ends."""
    if torch.is_grad_enabled():
        return
    before = {}
    for pending, kept in losses:
        pending.owned.pop(kept.order, None)
        pending.held.clear()
        before[pending] = pending.recent
        if not kept.loss.requires_grad:
            pending.weights.append((kept.order, grad))
            pending.weights.sort(key=lambda weight: weight[0])
    torch.autograd.Variable._execution_engine.queue_callback(functools.partial(_end, before))


def _end(before: dict[PendingLosses, tuple[Tensor | _Nothing, ...]]) -> None:
    """Drop what compiled layers recorded during a backward pass: they ran for a checkpoint."""
    for pending, recent in before.items():
        is_lost = bool(pending.weights) and pending.recent is not recent
        pending.recent = recent
        pending.weights.clear()
        pending.weight = None
        if is_lost:
            raise RuntimeError(
                "a layer compiled inside a checkpoint with use_reentrant=True can't give its own "
                "loss a gradient: use use_reentrant=False"
            )


def _owner(out: Tensor, loss: Tensor) -> Tensor | None:
    """Return the tensor whose node in the graph keeps the loss of `out`, None if none can.

    An in-place operation on a view takes the view's node out of the graph, not its base's. A loss
    that is younger than this node may come after it: they would keep each other for ever.
    """
    owner = out._base if out._is_view() else out
    if owner is None or owner.grad_fn is None:
        return None
    if loss.grad_fn is None:
        return owner
    return owner if loss.grad_fn._sequence_nr() < owner.grad_fn._sequence_nr() else None


def _finds_unused_parameters() -> bool:
    """Return whether DDP will look, from the outputs alone, for parameters without a gradient."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    active = getattr(nn.parallel.DistributedDataParallel, "_active_ddp_module", None)
    return active is not None and bool(active.find_unused_parameters)


class _Attach(torch.autograd.Function):
    """The output as it is, and behind it a loss, which gets a gradient of its own or none."""

    @staticmethod
    def forward(ctx: Any, out: Tensor, loss: Tensor, weight: Tensor | None) -> Tensor:
        ctx.weight = None if weight is None else weight.to(loss.device, loss.dtype)
        return out.clone()  # an alias couldn't be changed in place

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        return grads[0], ctx.weight, None
