"""A level that wanders, is pushed by controls, and has a vague start: linear-Gaussian, one draw per step.

    z_0 ~ N(0, 10^6),   z_t ~ N(z_{t-1} + 0.7 u_t, 0.4),   x_t ~ N(z_t, 0.3)

    q(z_t | z_{t-1}, x_t) = N(m, 1.3 v) with N(m, v) the posterior of z_t given z_{t-1} and x_t; p(z_t | z_{t-1}) where
    x_t is missing

The evidence is that of the dense joint Gaussian of a video, in float64. The guide does not look ahead, so that weights
stay bounded at each step of a filter.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case, hide, seen_frames
from tests.oracles.joint_gaussian import joint_gaussian

START, WANDER, NOISE, PUSH = 1e6, 0.4, 0.3, 0.7
WIDENING = 1.3
SEQUENCES, TIME = 4, 5


def predicted(index: int, before: Tensor | None, controls: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and variance of z_t given z_{t-1}."""
    if before is None:
        return torch.zeros((), dtype=torch.float64), torch.tensor(START, dtype=torch.float64)
    push = 0.0 if controls is None else PUSH * controls[:, index, 0]
    return before + push, torch.tensor(WANDER, dtype=torch.float64)


def transition(index: int, before: Tensor | None, controls: Tensor | None) -> dist.Normal:
    """p(z_t | z_{t-1})."""
    mean, variance = predicted(index, before, controls)
    return dist.Normal(mean, variance.sqrt())


def proposal(
    index: int, before: Tensor | None, frames: Tensor, observed: Tensor | None, controls: Tensor | None
) -> dist.Normal:
    """q(z_t | z_{t-1}, x_t)."""
    mean, variance = predicted(index, before, controls)
    x, mask = seen_frames(frames, observed)
    x, mask = x[:, index, 0], mask[:, index]
    gain = torch.where(mask, variance / (variance + NOISE), 0.0)
    spread = torch.where(mask, WIDENING * variance * NOISE / (variance + NOISE), variance)
    return dist.Normal(mean + gain * (x - mean), spread.sqrt())


def emit(states: list[Tensor], frames: Tensor, observed: Tensor | None) -> None:
    """Score frames, given the state of each."""
    path = torch.cat([state if state.dim() > 1 else state[None] for state in states], -2)
    x, mask = seen_frames(frames, observed)
    with pyro.plate("time", x.shape[1], dim=-2):
        seen = dist.Normal(path[..., None], NOISE**0.5).to_event(1).mask(mask.mT)
        pyro.sample("frames", seen, obs=x.transpose(0, 1))


def model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        states: list[Tensor] = []
        for index in range(frames.shape[1]):
            states.append(pyro.sample(f"z_{index}", transition(index, states[-1] if states else None, controls)))
        emit(states, frames, observed)


def guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        state = None
        for index in range(frames.shape[1]):
            state = pyro.sample(f"z_{index}", proposal(index, state, frames, observed, controls))


def exact(frames: Tensor, observed: Tensor, controls: Tensor) -> Tensor:
    one = torch.ones(1, 1, dtype=torch.float64)
    values = []
    for x, mask, push in zip(frames, observed, controls, strict=True):
        joint = joint_gaussian(
            initial_mean=one[0] * 0,
            initial_covariance=START * one,
            transition_matrix=one[None],
            transition_covariance=WANDER * one[None],
            emission_matrix=one[None],
            emission_covariance=NOISE * one[None],
            transition_offset=PUSH * push[1:],
            emission_offset=None,
            time=frames.shape[1],
        )
        values.append(joint.log_prob(x, mask))
    return torch.stack(values)


def vague_level() -> Case:
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    controls = normal(SEQUENCES, TIME, 1)
    level = START**0.5 * normal(SEQUENCES, 1)
    steps = WANDER**0.5 * normal(SEQUENCES, TIME - 1) + PUSH * controls[:, 1:, 0]
    path = torch.cat([level, level + steps.cumsum(1)], 1)
    frames, observed = hide((path + NOISE**0.5 * normal(SEQUENCES, TIME))[..., None], [(0, 2), (1, 4), (1, 1), (3, 3)])
    return Case("vague level", model, guide, frames, exact(frames, observed, controls), observed, controls)
