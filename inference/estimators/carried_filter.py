"""A particle filter that is handed a video frame by frame, as long as it lasts, in constant memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from inference.estimators.particle_filter import Resampling, check_stepwise, filter_step
from inference.estimators.resampling import RESAMPLING, select_particles
from inference.programs.traces import evaluation_mode, find_particle_dim, local_parameters

ADAPTIVE = Resampling()


class Particles(NamedTuple):
    """The particles of some sequences after a frame.

    Attributes:
        states: of model and guide; tensors (particles, ..., sequences, ...).
        log_weights: since a sequence last resampled, nats.
    """

    states: tuple[Any, Any]
    log_weights: Float[Tensor, "particles sequences"]

    @property
    def shares(self) -> Float[Tensor, "particles sequences"]:
        """Normalised weights."""
        return self.log_weights.softmax(0)


@dataclass(frozen=True, eq=False)
class CarriedFilter:
    """`ParticleFilter` without an end: particles are an argument and a result, and nothing else is remembered.

    Sequences are independent, so they may be added, dropped and put in another order between two frames.

    Attributes:
        model: a `StepwiseModel` whose steps depend on the index only by the names of their sites.
        guide: a `StepwiseGuide` of the same kind.
        num_particles: K, at least 2.
        particle_dim: what `find_particle_dim` returns for the pair.
        resampling: when and how.
    """

    model: Any
    guide: Any
    num_particles: int
    particle_dim: int
    resampling: Resampling = ADAPTIVE

    @classmethod
    def of(cls, model: Any, guide: Any, num_particles: int, resampling: Resampling = ADAPTIVE) -> CarriedFilter:
        """A filter of a pair.

        Raises:
            ValueError: if the pair has no steps, there are fewer than 2 particles, or what `find_particle_dim` raises.
        """
        check_stepwise(model, guide)
        if num_particles < 2:
            raise ValueError(f"num_particles: expected at least 2, got {num_particles}")
        frames = next(iter(model.parameters())).new_zeros(1, 2, *model.frame_shape)
        return cls(model, guide, num_particles, find_particle_dim(model, guide, (frames,)), resampling)

    @torch.no_grad()
    def step(self, frames: Float[Tensor, "sequences channels height width"], before: Particles | None) -> Particles:
        """Particles after one more frame, not yet resampled.

        Args:
            frames: the next frame of each sequence.
            before: particles after the previous one; None = this is the first.

        Raises:
            ValueError: if the shape of a frame is wrong, or what `inference.programs.traces` raises.
        """
        states, weights = (None, None), frames.new_zeros(())
        if before is not None:
            states, weights = before
        with evaluation_mode(self.model, self.guide), local_parameters(self.model, self.guide):
            with self.model._pyro_context, self.guide._pyro_context:
                contexts = self.model.prepare(frames[:, None]), self.guide.prepare(frames[:, None])
            sizes = (len(frames), self.num_particles, self.particle_dim)
            traces, states = filter_step(self.model, self.guide, 0, states, contexts, *sizes)
        return Particles(states, weights + traces.log_weights())

    def resampled(self, particles: Particles) -> tuple[Particles, Int[Tensor, "particles sequences"]]:
        """Particles from which the next frame goes on, and the one that each of them was.

        A sequence resamples if its effective sample size is small, see `Resampling`.
        """
        shares = particles.shares
        stay = torch.arange(self.num_particles, device=shares.device)[:, None].expand_as(shares)
        if self.resampling.threshold == 0:
            return particles, stay
        again = 1 / shares.square().sum(0) < self.resampling.threshold * self.num_particles
        ancestors = torch.where(again, RESAMPLING[self.resampling.scheme](shares), stay)
        states = select_particles(particles.states, ancestors, -self.particle_dim)
        return Particles(states, torch.where(again, 0.0, particles.log_weights)), ancestors

    def select(self, particles: Particles, sequences: Int[Tensor, " chosen"]) -> Particles:
        """Particles of some of the sequences, in the order given."""
        states = over_states(lambda value: value.index_select(-self.particle_dim - 1, sequences), particles.states)
        return Particles(states, particles.log_weights[:, sequences])

    def joined(self, particles: Particles, others: Particles) -> Particles:
        """Particles of two sets of sequences, one after the other."""
        dim = -self.particle_dim - 1
        states = over_states(lambda *values: torch.cat(values, dim), particles.states, others.states)
        return Particles(states, torch.cat([particles.log_weights, others.log_weights], 1))


def over_states(function: Callable[..., Tensor], *states: Any) -> Any:
    """A function of the tensors of one or several states of the same kind, in a state of that kind."""
    first = states[0]
    if isinstance(first, dict):
        return {name: over_states(function, *(state[name] for state in states)) for name in first}
    if isinstance(first, (tuple, list)):
        parts = (over_states(function, *values) for values in zip(*states, strict=True))
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return function(*states)
