"""Guides that run one frame at a time, alongside a stepwise model; `forward` is made of the steps."""

from typing import Any

import pyro
from pyro.nn import PyroModule
from torch import Tensor

from pyro_models.components.stepwise import State


class StepwiseGuide(PyroModule):
    """A guide written as two methods, from which `forward` and every particle filter are made.

    It serves a `StepwiseModel`, q(v_{1:T} | x) = prod_t q(v_t | s_{t-1}, x): its step t draws the latents of the
    model's step t. It keeps its own states; the model's reach it only through draws.
    """

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        """Check the arguments and read the frames, once for all particles; without sites.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.

        Returns:
            The `context` passed to `step`.

        Raises:
            ValueError: if a shape is wrong.
        """
        raise NotImplementedError

    def step(self, index: int, state: State | None, context: Any) -> State:
        """Draw the latents of one step, inside the plate `sequences`.

        Args:
            index: index of the frame, from 0.
            state: state after the previous step; None at the first.
            context: result of `prepare`.
        """
        raise NotImplementedError

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        """Draw the latents of all steps.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None; `controls[:, t]` acts between frames t - 1 and t, so the first
                is not used.
        """
        context = self.prepare(frames, observed, controls)
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            state = None
            for index in range(frames.shape[1]):
                state = self.step(index, state, context)
