"""One step of a recurrent cell on inputs with any batch dims."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def step_cell(
    cell: nn.GRUCell | nn.RNNCell, inputs: Float[Tensor, "*batch input"], state: Float[Tensor, "*#batch state"]
) -> Float[Tensor, "*batch state"]:
    """The state after one step; batch dims of inputs and state broadcast.

    Args:
        cell: a cell with one state.
        inputs: inputs of the step.
        state: state before it.
    """
    batch = torch.broadcast_shapes(inputs.shape[:-1], state.shape[:-1])
    flat = (value.expand(*batch, value.shape[-1]).reshape(-1, value.shape[-1]) for value in (inputs, state))
    return cell(*flat).reshape(*batch, -1)


def step_lstm(
    cell: nn.LSTMCell,
    inputs: Float[Tensor, "*#batch input"],
    output: Float[Tensor, "*#batch state"],
    memory: Float[Tensor, "*#batch state"],
) -> tuple[Float[Tensor, "*batch state"], Float[Tensor, "*batch state"]]:
    """Output and memory after one step; batch dims of all three broadcast.

    Args:
        cell: an LSTM cell.
        inputs: inputs of the step.
        output: output before it.
        memory: memory before it.
    """
    batch = torch.broadcast_shapes(inputs.shape[:-1], output.shape[:-1], memory.shape[:-1])
    flat = [value.expand(*batch, value.shape[-1]).reshape(-1, value.shape[-1]) for value in (inputs, output, memory)]
    after, kept = cell(flat[0], (flat[1], flat[2]))
    return after.reshape(*batch, -1), kept.reshape(*batch, -1)
