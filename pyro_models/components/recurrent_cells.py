"""One step of a recurrent cell on inputs with any batch dims."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def step_cell(
    cell: nn.GRUCell | nn.RNNCell, inputs: Float[Tensor, "*batch input"], state: Float[Tensor, "*#batch state"]
) -> Float[Tensor, "*batch state"]:
    """The state after one step; batch dims of inputs and state broadcast.

    Args:
        cell: with one state.
        inputs: of the step.
        state: before it.
    """
    batch = torch.broadcast_shapes(inputs.shape[:-1], state.shape[:-1])
    flat = (value.expand(*batch, value.shape[-1]).reshape(-1, value.shape[-1]) for value in (inputs, state))
    return cell(*flat).reshape(*batch, -1)
