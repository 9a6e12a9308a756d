"""What gates are, routing weights over experts in a soft and a hard form, and what most share."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fastff.kernels.check import check_features, check_inputs
from fastff.kernels.functions import as_rows, with_leading
from fastff.layers.linear import Random, linear, parameter, uniform_fan_in_
from fastff.layers.losses import PendingLosses, record
from fastff.layers.options import check_dtype, check_sizes

LOGIT_ACTIVATIONS = ("linear", "relu")


class Routing(NamedTuple):
    """Where a gate sends a batch: the weights of all experts, or the chosen experts alone.

    Attributes:
        weights: of all experts, (..., e); None where the chosen ones stand in its place.
        expert: the chosen experts, (..., k), int64.
        scale: their weights, (..., k); None is 1.
        loss: the gate's own loss to add in training, without the last two dimensions of `weights`;
            None for none.

    """

    weights: Tensor | None = None
    expert: Tensor | None = None
    scale: Tensor | None = None
    loss: Tensor | None = None

    def dense(self, n_experts: int, dtype: torch.dtype) -> Tensor:
        """Return the weights of all experts, (..., e), 0 for those that aren't chosen."""
        if self.weights is not None:
            return self.weights
        assert self.expert is not None
        if self.scale is None:
            scale = torch.ones_like(self.expert, dtype=dtype)
        elif self.scale.shape == self.expert.shape:
            scale = self.scale
        else:
            raise ValueError(
                f"scale has shape {tuple(self.scale.shape)}; allowed is "
                f"{tuple(self.expert.shape)}, as expert"
            )
        zeros = scale.new_zeros(*scale.shape[:-1], n_experts)
        return zeros.scatter_add(-1, self.expert, scale)


class Gate(nn.Module, abc.ABC):
    """Routing weights over `n_experts` experts for every input.

    The soft form is what training differentiates. The hard form is what inference uses. Called
    as a module, a gate gives the soft form in training mode and the hard form in evaluation mode.
    What a gate does at random, it draws from `random`, in training mode only.

    A gate is one class with one method, `route`; `soft`, `hard`, `soft_with_loss` and `forward`
    are made of it. A layer asks `route` for the chosen experts alone, unless one of these is
    overridden. All else that others ask of a gate has a default here:

    - layers and kernels: `n_active` and `n_trained`, `constants`;
    - the engine, which stacks runs: a parameter (...) then is (r, ...), inputs are (r, b, i) or
      (b, i), so that `route` has to work over leading dimensions of both; what differs from run to
      run is a parameter, with requires_grad=False where it is fixed;
    - the recorder of gradients, and plans: `units`;
    - the recorder of trees, and plans: `node_logits` and `node_weights`.

    Args:
        in_features: size of an input, at least 1.
        n_experts: number of experts, at least 1.
        n_active: how many experts the hard form takes for an input.
        n_trained: how many the soft form takes; None is all.

    Attributes:
        random: where its random numbers come from.
        is_one_method: whether all that the class gives is made of `route`.

    Raises:
        ValueError: for a size that is no integer of at least 1.

    """

    is_one_method = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        methods = ("forward", "soft", "hard", "soft_with_loss")
        cls.is_one_method = all(getattr(cls, name) is getattr(Gate, name) for name in methods)

    def __init__(
        self, in_features: int, n_experts: int, *, n_active: int = 1, n_trained: int | None = None
    ) -> None:
        super().__init__()
        self._dims: dict[str, int] = {}
        check_sizes(in_features=in_features, n_experts=n_experts)
        self.in_features = in_features
        self.n_experts = n_experts
        self.n_active = n_active
        self.n_trained = n_experts if n_trained is None else n_trained
        self.random = Random()
        self.pending_losses = PendingLosses()

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register as `nn.Module` does, and remember how many dimensions it has at first."""
        super().register_parameter(name, param)
        if param is not None:
            self._dims.setdefault(name, param.dim())

    @property
    def is_stacked(self) -> bool:
        """Whether parameters have a run dimension in front of their own."""
        for name, dims in self._dims.items():
            if (parameter := self._parameters.get(name)) is not None:
                return parameter.dim() > dims
        return False

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, from `generator` alone, and fill the constants."""
        self._refill()

    @abc.abstractmethod
    def route(self, x: Tensor, *, hard: bool, sparse: bool) -> Routing:
        """Return where inputs (..., i) go.

        Args:
            x: inputs, which `route` has to check first, by `check_inputs` or otherwise.
            hard: in the form of inference, not of training.
            sparse: whether the chosen experts alone are wanted, where the others' weight is 0; a
                gate may give the weights of all even so, and the chosen ones where it isn't.

        """

    def check_inputs(self, x: Tensor) -> None:
        """Raise TypeError or ValueError for inputs (..., i) that a single gate can't take."""
        if self.is_stacked:
            return
        own = next(self.parameters(), None)
        if own is None:
            check_features(x, self.in_features)
        else:
            check_inputs(x, own, self.in_features)

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return the parameters whose gradients can be told apart by unit, as `Layer.units` does.

        By default none.
        """
        return {}

    def node_logits(self, x: Tensor) -> Tensor | None:
        """Return the node logits (..., b, n) of a tree, right iff above 0; None without a tree."""
        return None

    def node_weights(self) -> tuple[Tensor, Tensor | None] | None:
        """Return a tree's node weights (..., n, i) and biases (..., n) or None; None without."""
        return None

    def soft(self, x: Tensor) -> Tensor:
        """Return the weights (..., e) that training uses, for inputs (..., i)."""
        return self.soft_with_loss(x)[0]

    def hard(self, x: Tensor) -> Tensor:
        """Return the weights (..., e) that inference uses, for inputs (..., i)."""
        return routing_of(self, x, hard=True, sparse=False).dense(self.n_experts, x.dtype)

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft weights, and the gate's own loss (...) to add, or None without one."""
        routing = routing_of(self, x, hard=False, sparse=False)
        return routing.dense(self.n_experts, x.dtype), routing.loss

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the weights (..., e); `hard` overrides the module's mode."""
        if hard is None:
            hard = not self.training
        if hard:
            return self.hard(x)
        if not self.training or self.is_stacked or type(self).soft is not Gate.soft:
            return self.soft(x)
        self.check_inputs(x)  # before their shape is changed
        rows = as_rows(x)  # a loss is that of the whole batch
        weights, loss = self.soft_with_loss(rows)
        if loss is not None:
            weights = record(self, weights, loss)
        return with_leading(weights, x)  # a product form's are a view

    def constants(self, device: torch.device) -> dict[str, Tensor]:
        """Return what the gate computes with beside its parameters, by name, on a device.

        They are buffers that no state_dict holds, and are made anew wherever the gate goes; runs
        share them.
        """
        return {}

    def register_constants(self, device: torch.device | str | None = None) -> None:
        """Register buffers for the constants, which `reset_parameters` fills; for constructors."""
        for name, value in self.constants(torch.device("meta")).items():
            empty = torch.empty(value.shape, dtype=value.dtype, device=device)
            self.register_buffer(name, empty, persistent=False)

    def constant(self, name: str, like: Tensor) -> Tensor:
        """Return a constant on the device and in the dtype of `like`."""
        value = self.get_buffer(name)
        if value.device != like.device:  # a state_dict took the place of meta parameters
            with torch.inference_mode(False):
                value = self.constants(like.device)[name]
            setattr(self, name, value)
        return value.to(like.dtype)

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> Gate:
        """Apply as `nn.Module` does; `to_empty` leaves memory as it finds it, so refill it."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._refill()
        return self

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._refill()

    def _refill(self) -> None:
        """Write the constants into their buffers, which lie on one device."""
        names = [*self.constants(torch.device("meta"))]
        device = self.get_buffer(names[0]).device if names else torch.device("meta")
        if device.type != "meta":
            for name, value in self.constants(device).items():
                self.get_buffer(name).copy_(value)

    def zero(self) -> Tensor | float:
        """Return 0, which gives the parameters of a single model a gradient of 0.

        For a choice that they get no gradient from: what reduces gradients over processes waits
        for that of every parameter.
        """
        if not torch.is_grad_enabled():
            return 0.0
        # not those that FSDP has sharded again; added one by one, since autocast refuses to stack
        # what is of its other half dtype
        whole = [p for p in self.parameters() if p.requires_grad and type(p) is nn.Parameter]
        parts = [p.flatten()[:0].sum() for p in whole]
        return functools.reduce(torch.add, parts) if parts else 0.0

    def extra_repr(self) -> str:
        """Return what describes the gate."""
        return f"in_features={self.in_features}, n_experts={self.n_experts}"


class LogitGate(Gate):
    """A gate that decides by linear logits, z = W x (+ b), or by their ReLU.

    Args:
        in_features: size of an input, at least 1.
        n_experts: number of experts, at least 1.
        n_logits: rows of `weight`.
        n_active: how many experts the hard form takes for an input.
        n_trained: how many the soft form takes; None is all.
        bias: whether logits have a bias.
        logit_activation: "linear", or "relu" of the logits.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight: of the logits, (n_logits, i), uniform in ±1/sqrt(in_features) at first.
        bias: of the logits, (n_logits,), likewise; None without.

    """

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        *,
        n_logits: int,
        n_active: int = 1,
        n_trained: int | None = None,
        bias: bool = False,
        logit_activation: str = "linear",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, n_experts, n_active=n_active, n_trained=n_trained)
        check_dtype(dtype)
        if logit_activation not in LOGIT_ACTIVATIONS:
            allowed = ", ".join(LOGIT_ACTIVATIONS)
            raise ValueError(f"logit_activation = {logit_activation!r}: allowed are {allowed}")
        self.logit_activation = logit_activation
        self.weight = nn.Parameter(torch.empty(n_logits, in_features, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(n_logits, device=device, dtype=dtype)) if bias else None
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(in_features), and fill the constants."""
        for drawn in (self.weight, self.bias):
            if drawn is not None:
                uniform_fan_in_(drawn, self.in_features, generator)
        super().reset_parameters(generator)

    def check_inputs(self, x: Tensor) -> None:
        """Raise TypeError or ValueError for inputs (..., i) that a single gate can't take."""
        check_inputs(x, self.weight, self.in_features)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (..., n_logits) of inputs (..., i), before their activation."""
        weight, bias = parameter(self, "weight"), parameter(self, "bias")
        if weight.dim() == 2:
            check_inputs(x, weight, self.in_features)
        z = linear(x, weight)
        if bias is None:
            return z
        biased: Tensor = z + (bias if bias.dim() == 1 else bias.unsqueeze(-2))
        return biased

    def activated_logits(self, x: Tensor) -> Tensor:
        """Return the activations of the logits, (..., n_logits), of inputs (..., i)."""
        z = self.logits(x)
        return z.relu() if self.logit_activation == "relu" else z

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "gate", a unit per logit."""
        return {"gate": (self.weight, 0)}


def routing_of(gate: Gate, x: Tensor, *, hard: bool, sparse: bool) -> Routing:
    """Return what the gate's `route` does; TypeError if that is no Routing."""
    routing = gate.route(x, hard=hard, sparse=sparse)
    if not isinstance(routing, Routing):
        name, given = type(gate).__name__, type(routing).__name__
        raise TypeError(f"route of {name} returned a {given}; allowed is a Routing")
    return routing


def one_hot(index: Tensor, n_experts: int, like: Tensor) -> Tensor:
    """Return weights (..., e) of 1 at `index` (...) and 0 elsewhere, in the dtype of `like`."""
    zeros = like.new_zeros(*index.shape, n_experts)  # F.one_hot looks at values, vmap forbids it
    return zeros.scatter(-1, index.unsqueeze(-1), 1)


def softmax_top_k(logits: Tensor, top_k: int | None, *, renormalise: bool) -> Tensor:
    """Return softmax weights (..., e) of logits (..., e), of the `top_k` largest alone.

    Args:
        logits: unnormalised log-weights.
        top_k: number of entries kept, the others are 0; None keeps all.
        renormalise: softmax over the kept entries only, instead of those of the full softmax.

    """
    if top_k is None:
        return logits.softmax(-1)
    best = logits.topk(top_k, dim=-1).indices  # (..., k)
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, 1)
    if renormalise:
        return logits.masked_fill(~kept, -torch.inf).softmax(-1)
    return logits.softmax(-1) * kept


def route_top_k(
    logits: Tensor, top_k: int | None, *, renormalise: bool, sparse: bool, loss: Tensor | None
) -> Routing:
    """Return the routing by `softmax_top_k`, as weights of all or with `sparse` of the kept."""
    if top_k is None or not sparse:
        return Routing(softmax_top_k(logits, top_k, renormalise=renormalise), loss=loss)
    best = logits.topk(top_k, dim=-1)
    if not renormalise:
        scale = logits.softmax(-1).gather(-1, best.indices)
    elif top_k > 1:
        scale = best.values.softmax(-1)
    else:
        scale = None
    return Routing(expert=best.indices, scale=scale, loss=loss)
