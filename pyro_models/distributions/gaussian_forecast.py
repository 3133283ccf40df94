"""The steps after the last observation of a state-space model, as another state-space model."""

from typing import Any

import torch
from torch import Tensor

from pyro_models.distributions.argument_checks import check_type
from pyro_models.distributions.gaussian_steps import Moments, filter_states, predict
from pyro_models.distributions.state_space import EVENT_DIMS, StateSpace, at_step

_TRANSITIONS = ("transition_matrix", "transition_covariance", "transition_offset")


def forecast_parameters(
    model: StateSpace, values: Tensor, batch: torch.Size, given: dict[str, Tensor | None], num_steps: int
) -> dict[str, Any]:
    """Parameters of the next `num_steps` states and observations given the values; the first state's in float64.

    Args:
        model: the model of the past.
        values: the observations, finite also where missing.
        batch: their batch dims, broadcast with the model's.
        given: parameters of the new steps by name, None where the model's own hold for every step.
        num_steps: number of steps to look ahead.

    Raises:
        TypeError: if a given parameter is not a floating-point tensor.
        ValueError: if one that changes over time is left out or has the wrong shape.
    """
    future = {name: _future(model, name, value, num_steps, batch) for name, value in given.items()}
    first: dict[str, Any] = {
        name: None if future[name] is None else at_step(future[name].double(), 0, EVENT_DIMS[name] - 1)
        for name in _TRANSITIONS
    }
    last = filter_states(model.double(), values.double(), batch)
    state = predict(
        Moments(last.mean[..., -1, :], last.covariance[..., -1, :, :]),
        first["transition_matrix"],
        first["transition_covariance"],
        first["transition_offset"],
    )
    for name in _TRANSITIONS:  # index 0 has been used
        value = future[name]
        if value is not None and value.shape[-EVENT_DIMS[name]] > 1:
            future[name] = value.narrow(-EVENT_DIMS[name], 1, num_steps - 1)
    return {"initial_mean": state.mean, "initial_covariance": state.covariance, **future}


def _future(model: StateSpace, name: str, value: Tensor | None, num_steps: int, batch: torch.Size) -> Any:
    """A parameter of the new steps, given or the model's own."""
    dims = EVENT_DIMS[name]
    if value is None:
        value = getattr(model, name)
        if value is not None and value.shape[-dims] != 1:
            raise ValueError(
                f"{name}: expected its values at the {num_steps} new steps, as it changes over time; got None"
            )
        return value
    check_type(name, value)
    if value.dim() < dims or value.shape[-dims] not in (1, num_steps):
        raise ValueError(
            f"{name}: expected {num_steps} or 1 steps at dim {-dims}, got {tuple(value.shape)}. Leave out those "
            "that are past"
        )
    sizes = (model.state_dim,) * (dims - 1)
    if name in _TRANSITIONS and value.shape[1 - dims :] != sizes:
        raise ValueError(
            f"{name}: expected (..., {', '.join(map(str, sizes))}) for states of this size, got {tuple(value.shape)}"
        )
    try:
        torch.broadcast_shapes(value.shape[:-dims], batch)
    except RuntimeError:
        raise ValueError(
            f"{name}: expected batch dims that broadcast with {tuple(batch)}, got {tuple(value.shape[:-dims])} of "
            f"{tuple(value.shape)}"
        ) from None
    return value
