"""Videos decoded from a Markov chain of states, one site per frame: the base of deep Markov models and DVBF."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyro
import torch
from torch import Tensor, nn

from pyro_models.components.arguments import check_video
from pyro_models.components.layout import merge_particles, to_time_plate
from pyro_models.components.likelihoods import frame_likelihood
from pyro_models.components.stepwise import State, StepwiseModel
from pyro_models.components.transitions import Transition


@dataclass(frozen=True)
class VideoContext:
    """A checked batch of videos: frames, zero where missing, the mask of seen ones, and the controls."""

    frames: Tensor
    seen: Tensor
    controls: Tensor | None

    def control(self, index: int) -> Tensor | None:
        """The control that acts between frames index - 1 and index."""
        return None if self.controls is None else self.controls[:, index]


class MarkovVideo(StepwiseModel):
    """Frames x_t ~ likelihood(decoder(s_t)) of states s_t that a `Transition` moves.

    Sites, in the plate `sequences`: the variables of the transition, `<variable>_1`, ..., `<variable>_T`, event
    (variable,); and, in the plate `time` as well, the observed `frames`, event (channels, height, width).

    Args:
        frame_shape: (channels, height, width) of a frame.
        variable: name of the transition's variable.
        transition: distribution of the states.
        decoder: module (*batch, state) -> (*batch, channels, height, width).
        likelihood: "bernoulli" or "gaussian" (one learned variance per pixel).

    Raises:
        ValueError: if the likelihood is unknown, or frames, observed or controls have the wrong shape.
    """

    def __init__(
        self,
        frame_shape: tuple[int, int, int],
        *,
        variable: str,
        transition: Transition,
        decoder: nn.Module,
        likelihood: str,
    ) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.variable = variable
        self.transition = transition
        self.decoder = decoder
        self.likelihood = frame_likelihood(likelihood, frame_shape)

    @property
    def control_dim(self) -> int:
        """Size of a control, 0 = none."""
        return self.transition.control_dim

    def site(self, step: int) -> str:
        """Name of the variable of a step, counted from 0: `z_1` is that of the first frame."""
        return f"{self.variable}_{step + 1}"

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> VideoContext:
        """See `StepwiseModel.prepare`."""
        frames, seen = check_video(frames, observed, controls, self.frame_shape, self.control_dim, self)
        return VideoContext(frames, seen, controls)

    def step(self, index: int, state: State | None, context: VideoContext) -> Tensor:
        """See `StepwiseModel.step`."""
        if state is None:
            return self.transition.initial_state(pyro.sample(self.site(0), self.transition.initial_law()))
        control = context.control(index)
        variable = pyro.sample(self.site(index), self.transition.law(state, control))
        return self.transition.next_state(state, variable, control)

    def emit(self, states: Sequence[State], context: VideoContext, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their states, (*particles, sequences, time, state)."""
        path = merge_particles(torch.stack(list(states), -2), 2)
        law = self.likelihood(to_time_plate(self.decoder(path), 3))
        steps = slice(first, first + len(states))
        with pyro.plate("time", len(states), dim=-2):
            pyro.sample("frames", law.mask(context.seen[:, steps].T), obs=to_time_plate(context.frames[:, steps], 3))
        return path
