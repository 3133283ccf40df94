"""Videos decoded from a Markov chain of states, one sample site per frame: what deep Markov models and DVBF share."""

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_models.components.arguments import check_video
from pyro_models.components.layout import merge_particles, to_time_plate
from pyro_models.components.likelihoods import frame_likelihood
from pyro_models.components.transitions import Transition


class MarkovVideo(PyroModule):
    """Frames x_t ~ likelihood(decoder(s_t)) of states s_t that a `Transition` moves.

    Sites, in the plate `sequences`: the variables of the transition, `<variable>_1`, ..., `<variable>_T`, event
    (variable,); and, in the plate `time` as well, the observed `frames`, event (channels, height, width).

    Args:
        frame_shape: (channels, height, width) of a frame.
        variable: name of the transition's variable.
        transition: law of the states.
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

    def site(self, step: int) -> str:
        """Name of the variable of a step, counted from 0: `z_1` is that of the first frame."""
        return f"{self.variable}_{step + 1}"

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw or score one batch.

        Args:
            frames: (sequences, time, channels, height, width) in [0, 1]; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: (sequences, time, control) or None; `controls[:, t]` acts between frames t - 1 and t, so the first
                is not used.

        Returns:
            The states, (*particles, sequences, time, state).
        """
        frames = check_video(frames, observed, controls, self.frame_shape, self.transition.control_dim)
        num_sequences, num_frames = frames.shape[:2]
        seen = torch.ones_like(frames[:, :, 0, 0, 0], dtype=torch.bool) if observed is None else observed
        with pyro.plate("sequences", num_sequences, dim=-1):
            variable = pyro.sample(self.site(0), self.transition.initial_law())
            states = [self.transition.initial_state(variable)]
            for step in pyro.markov(range(1, num_frames)):
                control = None if controls is None else controls[:, step]
                variable = pyro.sample(self.site(step), self.transition.law(states[-1], control))
                states.append(self.transition.next_state(states[-1], variable, control))
            path = merge_particles(torch.stack(states, -2), 2)
            law = self.likelihood(to_time_plate(self.decoder(path), 3))
            with pyro.plate("time", num_frames, dim=-2):
                pyro.sample("frames", law.mask(seen.T), obs=to_time_plate(frames, 3))
        return path
