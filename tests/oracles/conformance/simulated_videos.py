"""Videos of a seed, with the prior as guide: an estimator that reuses the simulation's noise draws the true latents.

    z ~ N(0, I) in eight dimensions,   x ~ N(z, I / 4),   q(z | x) = N(0, I);   so x ~ N(0, 5/4 I)

With the true latents as one of the draws, log p(x | z) - log p(x) is 4 log 5 = 6.4 nats on average: hundreds of
other draws do not bring the estimate down to the evidence. The numbers behind all videos are a multiple of sixteen,
since torch fills tensors with normal draws in blocks of that size: a larger draw from a stream starts with a smaller.
"""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case

NOISE = 0.5
SEQUENCES, FEATURES = 64, 8


def latent(frames: Tensor) -> Tensor:
    prior = dist.Normal(torch.zeros(frames.shape[0], FEATURES, dtype=torch.float64), 1.0)
    return pyro.sample("z", prior.to_event(1))


def emit(z: Tensor, frames: Tensor) -> None:
    with pyro.plate("time", frames.shape[1], dim=-2):
        one = z if z.dim() > 2 else z[None]  # (particles, 1, sequences, features) or (1, sequences, features)
        pyro.sample("frames", dist.Normal(one, NOISE).to_event(1), obs=frames.transpose(0, 1))


def model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        emit(latent(frames), frames)


def guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        latent(frames)


def simulated_videos(seed: int) -> Case:
    empty = torch.zeros(SEQUENCES, 1, FEATURES, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        frames = pyro.poutine.trace(pyro.poutine.uncondition(model)).get_trace(empty).nodes["frames"]["value"]
    frames = frames.transpose(0, 1)
    variance = 1 + NOISE**2
    evidence = (-0.5 * frames**2 / variance - 0.5 * math.log(2 * math.pi * variance)).sum((1, 2))
    return Case("simulated videos", model, guide, frames, evidence)
