"""Frames without latents: the weight is the evidence.

x_t ~ N(0.5 u_t, 0.6^2)
"""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case, hide, seen_frames

PUSH, NOISE = 0.5, 0.6
SEQUENCES, TIME = 4, 3


def model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    mean = torch.zeros_like(x) if controls is None else PUSH * controls
    with pyro.plate("sequences", len(x), dim=-1), pyro.plate("time", x.shape[1], dim=-2):
        seen = dist.Normal(mean.transpose(0, 1), NOISE).to_event(1).mask(mask.mT)
        pyro.sample("frames", seen, obs=x.transpose(0, 1))


def guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    pass


def nothing_latent() -> Case:
    generator = torch.Generator().manual_seed(19)
    drawn = torch.randn(2, SEQUENCES, TIME, 1, dtype=torch.float64, generator=generator)
    frames, observed = hide(drawn[0], [(0, 0), (2, 1), (2, 2)])
    each = -0.5 * ((frames - PUSH * drawn[1]) / NOISE) ** 2 - math.log(NOISE) - 0.5 * math.log(2 * math.pi)
    evidence = torch.where(observed[..., None], each, 0.0).sum((1, 2))
    return Case("nothing latent", model, guide, frames, evidence, observed, drawn[1], latents="none", demand="equality")
