"""Cases as stepwise models and guides, for the particle filters of this library: the same sites and densities."""

from typing import Any

import pyro
from torch import Tensor

from guides.stepwise import StepwiseGuide
from pyro_models.components.stepwise import StepwiseModel
from tests.oracles.conformance import hidden_markov, simulated_videos, vague_level


class LevelModel(StepwiseModel):
    """See `vague_level`."""

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        return frames, observed, controls

    def step(self, index: int, state: Tensor | None, context: Any) -> Tensor:
        return pyro.sample(f"z_{index}", vague_level.transition(index, state, context[2]))

    def emit(self, states: Any, context: Any, first: int = 0) -> None:
        vague_level.emit(states, *_window(context, first, len(states)))


class LevelGuide(StepwiseGuide):
    """See `vague_level`."""

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        return frames, observed, controls

    def step(self, index: int, state: Tensor | None, context: Any) -> Tensor:
        return pyro.sample(f"z_{index}", vague_level.proposal(index, state, *context))


class MarkovModel(StepwiseModel):
    """See `hidden_markov`."""

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        return frames, observed

    def step(self, index: int, state: Tensor | None, context: Any) -> Tensor:
        return pyro.sample(f"z_{index}", hidden_markov.transition(state))

    def emit(self, states: Any, context: Any, first: int = 0) -> None:
        hidden_markov.emit(states, *_window(context, first, len(states)))


class MarkovGuide(StepwiseGuide):
    """See `hidden_markov`."""

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        return frames, observed

    def step(self, index: int, state: Tensor | None, context: Any) -> Tensor:
        return pyro.sample(f"z_{index}", hidden_markov.proposal(index, state, *context))


class SimulatedModel(StepwiseModel):
    """See `simulated_videos`; one step, since they have one frame."""

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        return frames

    def step(self, index: int, state: Tensor | None, context: Any) -> Tensor:
        return simulated_videos.latent(context)

    def emit(self, states: Any, context: Any, first: int = 0) -> None:
        simulated_videos.emit(states[0], context)


class SimulatedGuide(StepwiseGuide):
    """See `simulated_videos`."""

    def prepare(self, frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> Any:
        return frames

    def step(self, index: int, state: Tensor | None, context: Any) -> Tensor:
        return simulated_videos.latent(context)


def _window(context: Any, first: int, count: int) -> tuple[Tensor, Tensor | None]:
    """Consecutive frames and their mask."""
    frames, observed, *_ = context
    window = slice(first, first + count)
    return frames[:, window], None if observed is None else observed[:, window]


STEPWISE = {
    "vague level": (LevelModel, LevelGuide),
    "hidden Markov": (MarkovModel, MarkovGuide),
    "simulated videos": (SimulatedModel, SimulatedGuide),
}
