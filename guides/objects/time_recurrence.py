"""A network that is recurrent over objects and time."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pyro_models.components.initial_weights import normal_by_size


class ObjectTimeRecurrence(nn.Module):
    """One state per object and frame, from the object's last state, the state of the object before it, and the frame::

        c = [s_{t-1}^n, s_t^{n-1}, v_t],   s_t^0 = 0,   s_0^n = tanh(phi_{N,n})
        s_t^n = (1 - g) s_t^{n-1} + g tanh(W_s c + b_s),   g = sigm(W_g c + b_g)

    (Chiappa and Paquet 2019, eq. 6). The additive, gated path runs over objects. A state has seen the frames and the
    objects up to its own.

    Cells (t, n) with the same t + n are independent of each other and computed together: T + N - 1 steps instead of
    T * N. The frames' part of all products is computed beforehand.

    Args:
        frame_dim: number of values in a frame.
        state_dim: size of a state.
        num_objects: N, the largest number of objects; each number of objects has its own initial states.
        backward: run over time from the end, so that states see frames from their own on.
    """

    def __init__(self, frame_dim: int, state_dim: int, num_objects: int, backward: bool = False) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.num_objects = num_objects
        self.backward_in_time = backward
        self.gate = nn.Linear(2 * state_dim + frame_dim, state_dim).apply(normal_by_size)
        self.candidate = nn.Linear(2 * state_dim + frame_dim, state_dim).apply(normal_by_size)
        counts = num_objects * (num_objects + 1) // 2
        self.initial = nn.Parameter(torch.randn(counts, state_dim) * state_dim**-0.25)

    def forward(
        self,
        frames: Float[Tensor, "time sequences frame"],
        presence: Bool[Tensor, "objects sequences"],
        memory: Float[Tensor, "objects sequences state"] | None = None,
    ) -> Float[Tensor, "objects time sequences state"]:
        """States of all objects and frames; an absent object has the states of the object before it.

        Args:
            frames: flattened frames.
            presence: which objects are present.
            memory: states to continue from, at the frame before the first (with `backward`, after the last); None =
                initial states.
        """
        if self.backward_in_time:
            frames = frames.flip(0)
        steps, objects, size = len(frames), self.num_objects, self.state_dim
        weight = torch.cat([self.gate.weight, self.candidate.weight])
        bias = torch.cat([self.gate.bias, self.candidate.bias])
        pixels = nn.functional.linear(frames, weight[:, 2 * size :], bias)
        # The cell of object n in diagonal d belongs to frame d - n: with time reversed these are neighbours.
        # They are unbound once: each slice's gradient would otherwise be scattered into a tensor of all frames.
        pixels = nn.functional.pad(pixels.flip(0), (0, 0, 0, 0, objects - 1, objects - 1)).unbind(0)
        recurrent = weight[:, : 2 * size].T
        states = self.first_states(presence) if memory is None else memory
        nothing = torch.zeros_like(states[:1])
        number = torch.arange(objects, device=frames.device)
        diagonals = []
        for diagonal in range(steps + objects - 1):
            before = torch.cat([nothing, states[:-1]])
            start = steps + objects - 2 - diagonal
            mixed = torch.cat([states, before], -1) @ recurrent + torch.stack(pixels[start : start + objects])
            gate, candidate = mixed.split(size, -1)
            gate = torch.where(presence.unsqueeze(-1), gate.sigmoid(), 0.0)
            new = torch.lerp(before, candidate.tanh(), gate)
            if diagonal < objects - 1 or diagonal >= steps:  # not all objects have a frame in this diagonal
                begun = (number <= diagonal) & (number > diagonal - steps)
                new = torch.where(begun[:, None, None], new, states)
            states = new
            diagonals.append(states)
        found = torch.stack(diagonals)
        found = torch.stack([found[index : index + steps, index] for index in range(objects)])
        return found.flip(1) if self.backward_in_time else found

    def first_states(self, presence: Tensor) -> Float[Tensor, "objects sequences state"]:
        """s_0^n = tanh(phi_{N,n}) for the number of objects of each sequence."""
        count = presence.sum(0)
        number = torch.arange(self.num_objects, device=presence.device)[:, None]
        place = count * (count - 1) // 2 + torch.minimum(number, count - 1)
        return self.initial[place.clamp(min=0)].tanh()
