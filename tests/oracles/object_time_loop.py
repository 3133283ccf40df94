"""The recurrence over objects and time as the paper writes it: one cell after the other."""

import torch
from torch import Tensor


def naive_states(network, frames: Tensor, presence: Tensor, memory: Tensor | None = None) -> Tensor:
    """States (objects, time, sequences, state) of an `ObjectTimeRecurrence`, cell by cell."""
    steps = range(len(frames))
    states = list(network.first_states(presence) if memory is None else memory)
    found = [[None] * len(frames) for _ in states]
    for time in reversed(steps) if network.backward_in_time else steps:
        before = torch.zeros_like(states[0])
        for index in range(len(states)):
            inputs = torch.cat([states[index], before, frames[time]], -1)
            gate, candidate = network.gate(inputs).sigmoid(), network.candidate(inputs).tanh()
            new = (1 - gate) * before + gate * candidate
            before = states[index] = torch.where(presence[index][:, None], new, before)
            found[index][time] = before
    return torch.stack([torch.stack(one) for one in found])
