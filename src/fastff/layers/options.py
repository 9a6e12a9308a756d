"""What constructors of layers accept: sizes, weights of losses, probabilities, activations."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Collection

import torch
from torch import Tensor

MAX_DEPTH = 24  # 16 million experts
PRELU_SLOPE = 0.25  # where it starts, as in torch.nn.PReLU

Activation = str | Callable[[Tensor], Tensor]


def check_sizes(**sizes: int) -> None:
    """Raise ValueError for the first of `sizes` that is no integer of at least 1."""
    for name, size in sizes.items():
        _check_integer(name, size)
        if size < 1:
            raise ValueError(f"{name} = {size}: must be at least 1")


def check_depth(depth: int) -> None:
    """Raise ValueError for a depth of a tree that isn't between 1 and MAX_DEPTH."""
    check_sizes(depth=depth)
    if depth > MAX_DEPTH:
        raise ValueError(f"depth = {depth}: must be at most {MAX_DEPTH}")


def check_weights(**weights: float) -> None:
    """Raise ValueError for the first loss weight that isn't a finite number of at least 0."""
    for name, weight in weights.items():
        if not _is_number(weight) or not 0 <= weight < float("inf"):
            raise ValueError(f"{name} = {weight!r}: must be a finite number of at least 0")


def check_probability(name: str, value: float, *, below_one: bool = False) -> None:
    """Raise ValueError for what is no number between 0 and 1, or with `below_one` for 1."""
    if not _is_number(value) or not 0 <= value <= 1 or (below_one and value == 1):
        allowed = "at least 0 and below 1" if below_one else "between 0 and 1"
        raise ValueError(f"{name} = {value!r}: must be {allowed}")


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise ValueError for parameters' dtype that is not of floating-point numbers."""
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype = {dtype}: must be of floating-point numbers")


def check_top_k(top_k: int | None, n_experts: int, *, renormalise: bool) -> None:
    """Raise ValueError for a number of experts that there aren't, or nothing to renormalise."""
    if top_k is not None:
        _check_integer("top_k", top_k)
        if not 1 <= top_k <= n_experts:
            raise ValueError(f"top_k = {top_k}: must be between 1 and n_experts = {n_experts}")
    if renormalise and top_k is None:
        raise ValueError("renormalise = True has no meaning without top_k")


def named_activation(
    activation: Activation, allowed: Collection[str]
) -> tuple[str, Callable[[Tensor], Tensor] | None]:
    """Return an activation's name, and the function where it isn't one of those `allowed`.

    Raises:
        ValueError: for a name that isn't allowed.
        TypeError: for what is neither a name nor a function.

    """
    if isinstance(activation, str):
        if activation not in allowed:
            names = ", ".join(allowed)
            raise ValueError(f"activation = {activation!r}: allowed are {names}, or a function")
        return activation, None
    if not callable(activation):
        raise TypeError(f"activation = {activation!r}: allowed are a name or a function of tensors")
    return f"function {getattr(activation, '__name__', type(activation).__name__)}", activation


def _check_integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):  # NumPy's are
        raise ValueError(f"{name} = {value!r}: must be an integer")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) or (isinstance(value, Tensor) and value.dim() == 0)
