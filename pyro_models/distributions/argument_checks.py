"""Checks of the arguments that users pass to the distributions of this package, and their messages.

A message has the argument, what was expected, what came, and what to do.
"""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_models.distributions.gaussian_numerics import covariance_fault, nonfinite_fault


def check_type(name: str, value: Any, boolean: bool = False) -> None:
    """Refuse anything but a floating-point tensor (or a bool tensor).

    Raises:
        TypeError: names the type that came.
    """
    kind, convert = ("a bool tensor", "bool") if boolean else ("a floating-point tensor", "float")
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: expected {kind}, got {type(value).__name__}. Pass torch.as_tensor({name}).{convert}()"
        )
    if not (value.dtype == torch.bool if boolean else value.is_floating_point()):
        raise TypeError(f"{name}: expected {kind}, got {value.dtype}. Pass {name}.{convert}()")


def check_num_steps(num_steps: Any) -> None:
    """Refuse anything but a positive int.

    Raises:
        TypeError: if it is not an int.
        ValueError: if it is not positive.
    """
    try:
        operator.index(num_steps)
    except TypeError:
        raise TypeError(f"num_steps: expected a positive int, got {num_steps!r}. Pass a.shape[-2]") from None
    if num_steps < 1:
        raise ValueError(f"num_steps: expected a positive int, got {num_steps!r}")


def check_numbers(tensors: dict[str, Tensor]) -> None:
    """Refuse numbers that are not finite, and matrices that are not covariances.

    Raises:
        ValueError: names the first argument with wrong numbers.
    """
    for name, value in tensors.items():
        if name.endswith("covariance"):
            expected, fault = "finite, symmetric, positive semidefinite matrices", covariance_fault(value.detach())
        else:
            expected, fault = "finite numbers", nonfinite_fault(value.detach())
            fault = None if fault is None else f"{fault}. Find what made it"
        if fault is not None:
            raise ValueError(f"{name}: expected {expected}; {fault}")


def check_variance(name: str, value: Tensor, positive: bool = False) -> None:
    """Refuse variances that are negative, or not positive.

    Raises:
        ValueError: states the smallest of them.
    """
    wrong = value.detach() <= 0 if positive else value.detach() < 0
    if bool(wrong.any()):
        kind, smallest = "positive" if positive else "nonnegative", value.detach().min().item()
        raise ValueError(
            f"{name}: expected {kind} variances, got {smallest:.3g}. Pass variances, not logarithms or means"
        )


def checked_values(
    name: str,
    value: Tensor,
    event_shape: torch.Size,
    batch_shape: torch.Size,
    observed: Tensor | None,
    validate: bool,
) -> tuple[Tensor, torch.Size]:
    """The value with zeros at missing steps, so that they are never read, and its broadcast batch shape.

    Raises:
        TypeError: if it is not a floating-point tensor.
        ValueError: if its shape does not fit, or (with `validate`) it is not finite where observed.
    """
    check_type(name, value)
    batch = _broadcast(torch.Size(value.shape[:-2]), batch_shape)  # under TraceGraph_ELBO shapes are tuples
    if batch is None or value.dim() < 2 or value.shape[-2:] != event_shape:
        wanted = ", ".join(map(str, (*batch_shape, *event_shape)))
        turned = value.dim() > 1 and value.shape[-1:-3:-1] == event_shape
        remedy = f". Transposed it would fit: pass {name}.mT" if turned and batch is not None else ""
        raise ValueError(f"{name}: expected (..., {wanted}) up to broadcasting, got {tuple(value.shape)}{remedy}")
    if observed is not None:
        value = torch.where(observed[..., None], value, 0.0)
    if validate and not torch._is_all_true(value.isfinite()):
        raise ValueError(
            f"{name}: expected finite values at every observed step; {nonfinite_fault(value.detach())}. "
            "If that step is missing, say so in `observed`"
        )
    return value, batch


def expanded_batch_shape(batch_shape: torch.Size, wanted: Sequence[int]) -> torch.Size:
    """The batch shape to which a distribution expands, by the rules of `torch.Tensor.expand`.

    Dims of size 1 grow, others stay, new ones are added on the left; -1 keeps a size.

    Raises:
        ValueError: if the distribution cannot be expanded to it.
    """
    new = len(wanted) - len(batch_shape)
    sizes = [batch_shape[i - new] if size == -1 and i >= new else size for i, size in enumerate(wanted)]
    kept = zip(batch_shape, sizes[new:], strict=True) if new >= 0 else ()
    if new < 0 or any(size < 0 for size in sizes) or any(old not in (1, size) for old, size in kept):
        raise ValueError(
            f"batch_shape: expected one that {tuple(batch_shape)} expands to, got {tuple(wanted)}. Sizes other than 1 "
            "stay, and new dims go to the left"
        )
    return torch.Size(sizes)


def _broadcast(given: torch.Size, expected: torch.Size) -> torch.Size | None:
    """The common shape, None if there is none."""
    if given == expected or not expected:  # the usual cases; torch's own check takes longer than the rest
        return given
    try:
        return torch.broadcast_shapes(given, expected)
    except RuntimeError:
        return None
