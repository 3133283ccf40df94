"""Controls with states and frames: `controls[:, t]` acts between frames t - 1 and t."""

import torch
from jaxtyping import Float
from torch import Tensor


def with_control(
    state: Float[Tensor, "*batch state"], control: Float[Tensor, "*sequences control"] | None
) -> Float[Tensor, "*batch input"]:
    """State and control concatenated; the control is the same for all particles."""
    return state if control is None else torch.cat([state, control.expand(*state.shape[:-1], control.shape[-1])], -1)


def without_first(controls: Float[Tensor, "sequences time control"]) -> Float[Tensor, "sequences time control"]:
    """Zero the control of the first frame, which acted before the video began and is never used."""
    return torch.cat([torch.zeros_like(controls[:, :1]), controls[:, 1:]], 1)
