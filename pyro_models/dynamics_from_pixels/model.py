"""Unsupervised separation of dynamics from pixels (Chiappa and Paquet 2019)."""

from collections.abc import Sequence
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pyro_models.components.arguments import check_video
from pyro_models.components.layout import to_time_plate
from pyro_models.components.likelihoods import BernoulliFrames
from pyro_models.components.stepwise import StepwiseModel
from pyro_models.distributions import MixtureLinearGaussianSSM
from pyro_models.dynamics_from_pixels.ballistic_mixture import COORDINATES, STATE, BallisticMixture, PositionPrior
from pyro_models.dynamics_from_pixels.object_renderers import RecurrentRenderer
from pyro_models.dynamics_from_pixels.position_steps import (
    PositionPrediction,
    first_prediction,
    next_prediction,
    position_distribution,
)
from videos.typed import Count, FrameShape, typed


class PositionContext(NamedTuple):
    """A checked batch: frames, zero where missing, the mask of seen ones, presence of objects, and their prior."""

    frames: Tensor
    seen: Tensor
    presence: Tensor
    prior: MixtureLinearGaussianSSM


class PositionState(NamedTuple):
    """State after a step: positions, and the prediction of the next ones (None after the last)."""

    positions: Tensor
    prediction: PositionPrediction | None


class DynamicsFromPixels(StepwiseModel):
    """Positions of several objects between pixels and physics::

        a^n ~ sum_k w_k p(a_1, ..., a_T | k)     each component an exact linear-Gaussian marginal, shared by all objects
        v_t ~ Bernoulli(renderer(a_t^1, ..., a_t^N))

    (Chiappa and Paquet 2019, eqs. 1 to 4). States and components are integrated out (`MixtureLinearGaussianSSM`), so
    the positions are the only latent site.

    Sites: `a`, in the plates `sequences` and `objects`, event (time, 2); the observed `frames`, in `sequences` and
    `time`, event (channels, height, width). Without `marginalize`, `a` is preceded by `z`, the component, and `noise`,
    the standard normal noises that drive an object's states, event (time * 4,): h_1 = mu_z + L_z noise_1, h_t = A
    h_{t-1} + u + L_Q noise_t, which has a density at zero process noise too.

    The presence of objects is given, as `controls` (sequences, time, objects), 1 or 0, the same at all times; None =
    all present. Positions of absent objects have no density.

    Where a frame is missing, the position is integrated out and its value in a trace means nothing.

    Step by step, for particle filters, the same joint is prod_t p(a_t | a_{<t}) p(v_t | a_t), with sites `a_1`, ...,
    `a_T` in place of `a`: each particle carries a Kalman filter for each object and component.

    Args:
        frame_shape: (channels, height, width) of a frame.
        num_objects: N, the largest number of objects.
        prior: distribution of the positions of one object; by default `BallisticMixture()`.
        renderer: logits of pixels from positions and presence; by default `RecurrentRenderer(frame_shape)`.
        marginalize: integrate components and states out (no sites `z` and `noise`); otherwise the prior must be a
            `BallisticMixture`.

    Raises:
        ValueError: if frames, observed or controls have the wrong shape.
    """

    prior: PositionPrior

    @typed
    def __init__(
        self,
        frame_shape: FrameShape = (1, 48, 48),
        num_objects: Count = 3,
        *,
        prior: PositionPrior | None = None,
        renderer: nn.Module | None = None,
        marginalize: bool = True,
    ) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.num_objects = self.control_dim = num_objects
        self.marginalize = marginalize
        self.prior = BallisticMixture() if prior is None else prior
        self.renderer = RecurrentRenderer(frame_shape) if renderer is None else renderer
        self.likelihood = BernoulliFrames()

    def presence(self, frames: Tensor, controls: Tensor | None) -> Bool[Tensor, "objects sequences"]:
        """Presence of objects."""
        if controls is None:
            return torch.ones(self.num_objects, len(frames), dtype=torch.bool, device=frames.device)
        return controls[:, 0].T > 0.5

    def check_arguments(
        self, frames: Tensor, observed: Tensor | None, controls: Tensor | None
    ) -> tuple[Float[Tensor, "sequences time channels height width"], Bool[Tensor, "sequences time"]]:
        """The frames, zero where missing, and the mask of seen ones; see `check_video`. Controls may be left out."""
        control_dim = 0 if controls is None else self.control_dim
        return check_video(frames, observed, controls, self.frame_shape, control_dim, self)

    def forward(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Tensor:
        """Draw or score one batch.

        Args:
            frames: (sequences, time, channels, height, width), zeros and ones; missing ones are never read.
            observed: bool (sequences, time), None = all.
            controls: presence of objects, (sequences, time, objects), or None for all.

        Returns:
            The positions, (*particles, objects, sequences, time, 2).
        """
        frames, seen = self.check_arguments(frames, observed, controls)
        num_sequences, num_frames = frames.shape[:2]
        presence = self.presence(frames, controls)
        with pyro.plate("sequences", num_sequences, dim=-1):
            with pyro.plate("objects", self.num_objects, dim=-2):
                if self.marginalize:
                    law = self.prior.law(num_frames, observed)
                else:
                    law = self._emission(num_frames, observed, presence)
                positions = pyro.sample("a", law.mask(presence))
            self._emit(positions, presence, frames, seen, slice(0, num_frames))
        return positions

    @property
    def runs_stepwise(self) -> bool:
        """Whether `step` can be used: components and states are integrated out."""
        return self.marginalize

    def prepare(
        self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None
    ) -> PositionContext:
        """See `StepwiseModel.prepare`.

        Raises:
            ValueError: if components and states are sites, since those are drawn for whole paths.
        """
        if not self.marginalize:
            raise ValueError(
                "model: expected marginalize=True, since sites 'z' and 'noise' hold whole paths; got False"
            )
        frames, seen = self.check_arguments(frames, observed, controls)
        return PositionContext(frames, seen, self.presence(frames, controls), self.prior.law(frames.shape[1]))

    def step(self, index: int, state: PositionState | None, context: PositionContext) -> PositionState:
        """See `StepwiseModel.step`."""
        prediction, seen = self.prediction(state, context), context.seen[:, index]
        distribution = position_distribution(context.prior, index, prediction)
        with pyro.plate("objects", self.num_objects, dim=-2):
            positions = pyro.sample(f"a_{index + 1}", distribution.mask(context.presence & seen))
        if index + 1 == context.frames.shape[1]:
            return PositionState(positions, None)
        return PositionState(positions, next_prediction(context.prior, index, prediction, positions, seen))

    def prediction(self, state: PositionState | None, context: PositionContext) -> PositionPrediction:
        """The prediction of the positions of a step from the previous state."""
        if state is None:
            return first_prediction(context.prior, context.presence.shape)
        assert state.prediction is not None
        return state.prediction

    def emit(self, states: Sequence[PositionState], context: PositionContext, first: int = 0) -> Tensor:
        """Frames of consecutive steps; returns their positions, (*particles, objects, sequences, time, 2)."""
        positions = torch.stack([state.positions for state in states], -2)
        self._emit(positions, context.presence, context.frames, context.seen, slice(first, first + len(states)))
        return positions

    def _emit(self, positions: Tensor, presence: Tensor, frames: Tensor, seen: Tensor, steps: slice) -> None:
        likelihood = self.likelihood(to_time_plate(self.render(positions, presence), 3))
        with pyro.plate("time", steps.stop - steps.start, dim=-2):
            pyro.sample("frames", likelihood.mask(seen[:, steps].T), obs=to_time_plate(frames[:, steps], 3))

    def render(self, positions: Tensor, presence: Tensor) -> Tensor:
        """Logits (*particles, sequences, time, channels, height, width) from drawn positions."""
        first = positions.movedim(-4, 0)  # objects before particles
        there = presence.reshape(len(first), *(1,) * (first.dim() - 4), -1, 1)
        return self.renderer(first, there)

    def _emission(self, num_frames: int, observed: Tensor | None, presence: Tensor) -> dist.Independent:
        """The distribution of positions given components and noises, both drawn here."""
        prior = self.prior
        if not isinstance(prior, BallisticMixture):
            raise ValueError(f"prior: expected a BallisticMixture for marginalize=False, got {type(prior).__name__}")
        chosen = pyro.sample("z", dist.Categorical(logits=prior.logits).mask(presence))
        zeros = prior.offset.new_zeros(num_frames * STATE)
        noise = pyro.sample("noise", dist.Normal(zeros, 1.0).to_event(1).mask(presence))
        states = prior.driven(chosen, noise.unflatten(-1, (num_frames, STATE)))
        law = dist.MultivariateNormal(states[..., :COORDINATES], scale_tril=prior.emission_covariance.factor())
        return (law if observed is None else law.mask(observed)).to_event(1)
