"""Models that run one frame at a time, as particle filters need; `forward` is made of the steps."""

from collections.abc import Sequence
from typing import Any

import pyro
from pyro.nn import PyroModule
from torch import Tensor

State = Any
"""What a step passes to the next: a tensor, or tuples and dicts of tensors, each shaped like a site's value.

That is, (*plates, ...) with every plate of the model in front and particles leftmost: the dim of resampling.
"""


class StepwiseModel(PyroModule):
    """A model written as three methods, from which `forward` and every particle filter are made.

    The joint distribution is a product over frames: with s_t the state after step t, v_t the latents that step t
    draws::

        v_t ~ p(v_t | s_{t-1});   s_t = g(s_{t-1}, v_t);   x_t ~ p(x_t | s_t)

    Names of a step's sites contain its number; `emit` scores any number of frames at once, so a whole video is decoded
    in one call. Stepwise guides are `guides.StepwiseGuide`.
    """

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        """Check the arguments of the model, and compute what does not depend on latents; without sites.

        Args:
            frames: (sequences, time, channels, height, width).
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None.

        Returns:
            The `context` passed to `step` and `emit`.

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

    def emit(self, states: Sequence[State], context: Any, first: int = 0) -> Any:
        """Draw or score consecutive frames, in the plate `time`, inside the plate `sequences`.

        Args:
            states: states after each of their steps.
            context: result of `prepare`.
            first: index of the first of these frames.
        """
        raise NotImplementedError

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        """Draw or score one batch: all steps, then all frames at once.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None; `controls[:, t]` acts between frames t - 1 and t, so the first
                is not used.

        Returns:
            The result of `emit`.
        """
        context = self.prepare(frames, observed, controls)
        with pyro.plate("sequences", frames.shape[0], dim=-1):
            states: list[State] = []
            for index in pyro.markov(range(frames.shape[1])):
                states.append(self.step(index, states[-1] if states else None, context))
            return self.emit(states, context)
