"""A number observed only through its square: a posterior with two modes, evidence by quadrature.

    z ~ N(0, 2.5^2),   x_t ~ N(z^2, 1.5^2)

    "two modes":     q(z | x) = 1/2 N(-m, 0.7^2) + 1/2 N(m, 0.7^2) with m^2 the mean of the frames that are seen
    "one of two modes":  q(z | x) = N(m, 0.7^2): one half of the posterior is never drawn, and estimates settle at the
    evidence - log 2

The integrand falls faster than exp(-z^2), so that the trapezoidal rule converges at an exponential rate.
"""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case, hide, seen_frames

SCALE, NOISE, WIDTH = 2.5, 1.5, 0.7
SEQUENCES, TIME = 4, 2


def model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    with pyro.plate("sequences", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), SCALE))
        with pyro.plate("time", x.shape[1], dim=-2):
            seen = dist.Normal(z.square()[..., None], NOISE).to_event(1).mask(mask.mT)
            pyro.sample("frames", seen, obs=x.transpose(0, 1))


def place(frames: Tensor, observed: Tensor | None) -> Tensor:
    """Approximate place of the upper mode, (sequences,)."""
    x, mask = seen_frames(frames, observed)
    return (x[..., 0].sum(1) / mask.sum(1)).clamp_min(0.1).sqrt()


def both(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    upper = place(frames, observed)
    modes = torch.stack([-upper, upper], -1)
    with pyro.plate("sequences", len(upper), dim=-1):
        halves = dist.Categorical(torch.full_like(modes, 0.5))
        pyro.sample("z", dist.MixtureSameFamily(halves, dist.Normal(modes, WIDTH)))


def one(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        pyro.sample("z", dist.Normal(place(frames, observed), WIDTH))


def exact(frames: Tensor, observed: Tensor) -> Tensor:
    """(sequences,)."""
    z = torch.linspace(-15, 15, 6001, dtype=torch.float64)
    values = []
    for x, mask in zip(frames[..., 0], observed, strict=True):
        seen = x[mask]
        fit = -0.5 * ((seen[:, None] - z**2) / NOISE) ** 2 - math.log(NOISE) - 0.5 * math.log(2 * math.pi)
        prior = -0.5 * (z / SCALE) ** 2 - math.log(SCALE) - 0.5 * math.log(2 * math.pi)
        values.append(torch.logsumexp(prior + fit.sum(0), 0) + math.log(30 / 6000))
    return torch.stack(values)


def two_modes(both_covered: bool = True) -> Case:
    generator = torch.Generator().manual_seed(18)
    z = torch.tensor([[3.1], [-2.6], [3.8], [-3.4]], dtype=torch.float64)
    noise = NOISE * torch.randn(SEQUENCES, TIME, dtype=torch.float64, generator=generator)
    frames, observed = hide((z**2 + noise)[..., None], [(1, 0), (3, 1)])
    evidence = exact(frames, observed)
    if both_covered:
        return Case("two modes", model, both, frames, evidence, observed)
    return Case("one of two modes", model, one, frames, evidence, observed, demand="bounds")
