"""A hidden Markov model with three states: categories, one draw per step, evidence by the forward algorithm.

    z_0 ~ Categorical(pi),   z_t ~ Categorical(P[z_{t-1}]),   x_t ~ N(mu[z_t], 0.8^2)

    q(z_t = k | z_{t-1}, x_t) = 0.9 f_k + 0.1 / 3   with f_k proportional to p(z_t = k | z_{t-1}) p(x_t | z_t = k)^0.6;
    p(z_t | z_{t-1}) in place of f where x_t is missing

The forward algorithm (Rabiner 1989, eq. 20) runs in log space, one video after the other.
"""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case, hide, seen_frames

INITIAL = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
TRANSITION = torch.tensor([[0.7, 0.2, 0.1], [0.15, 0.7, 0.15], [0.3, 0.1, 0.6]], dtype=torch.float64)
MEANS, SCALE = torch.tensor([-1.5, 0.2, 1.4], dtype=torch.float64), 0.8
TEMPER, UNIFORM = 0.6, 0.1
SEQUENCES, TIME = 4, 6


def transition(before: Tensor | None) -> dist.Categorical:
    """p(z_t | z_{t-1})."""
    return dist.Categorical(INITIAL if before is None else TRANSITION[before])


def proposal(index: int, before: Tensor | None, frames: Tensor, observed: Tensor | None) -> dist.Categorical:
    """q(z_t | z_{t-1}, x_t)."""
    x, mask = seen_frames(frames, observed)
    fits = dist.Normal(MEANS, SCALE).log_prob(x[:, index])  # (sequences, states)
    logits = transition(before).logits + TEMPER * torch.where(mask[:, index, None], fits, 0.0)
    return dist.Categorical((1 - UNIFORM) * logits.softmax(-1) + UNIFORM / len(MEANS))


def emit(states: list[Tensor], frames: Tensor, observed: Tensor | None) -> None:
    """Score frames, given the state of each."""
    path = torch.cat([state if state.dim() > 1 else state[None] for state in states], -2)
    x, mask = seen_frames(frames, observed)
    with pyro.plate("time", x.shape[1], dim=-2):
        seen = dist.Normal(MEANS[path][..., None], SCALE).to_event(1).mask(mask.mT)
        pyro.sample("frames", seen, obs=x.transpose(0, 1))


def model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        states: list[Tensor] = []
        for index in range(frames.shape[1]):
            states.append(pyro.sample(f"z_{index}", transition(states[-1] if states else None)))
        emit(states, frames, observed)


def guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        state = None
        for index in range(frames.shape[1]):
            state = pyro.sample(f"z_{index}", proposal(index, state, frames, observed))


def log_fit(x: Tensor, mask: Tensor) -> Tensor:
    """Log p(x_t | z_t = k), (states,); 0 for a frame that is missing."""
    fit = -0.5 * ((x - MEANS) / SCALE) ** 2 - math.log(SCALE) - 0.5 * math.log(2 * math.pi)
    return torch.where(mask, fit, 0.0)


def forward_algorithm(frames: Tensor, observed: Tensor) -> Tensor:
    """(sequences,)."""
    values = []
    for x, mask in zip(frames, observed, strict=True):
        forward = INITIAL.log() + log_fit(x[0], mask[0])
        for step in range(1, len(x)):
            forward = torch.logsumexp(forward[:, None] + TRANSITION.log(), 0) + log_fit(x[step], mask[step])
        values.append(torch.logsumexp(forward, 0))
    return torch.stack(values)


def hidden_markov() -> Case:
    generator = torch.Generator().manual_seed(13)
    rows = INITIAL.expand(SEQUENCES, -1)
    states = []
    for _ in range(TIME):
        states.append(torch.multinomial(rows, 1, generator=generator)[:, 0])
        rows = TRANSITION[states[-1]]
    noise = SCALE * torch.randn(SEQUENCES, TIME, dtype=torch.float64, generator=generator)
    frames, observed = hide(
        (MEANS[torch.stack(states, 1)] + noise)[..., None], [(0, 0), (0, 3), (2, 5), (3, 2), (3, 3)]
    )
    evidence = forward_algorithm(frames, observed)
    return Case("hidden Markov", model, guide, frames, evidence, observed, latents="categories")
