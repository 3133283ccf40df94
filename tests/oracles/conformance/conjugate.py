"""Three conjugate families whose latents are bounded: a rate, a mean with its precision, and shares of a whole.

    counts:  r ~ Gamma(2, 1),  x_t ~ Poisson(r u_t) with exposures u, the controls
    spread:  v ~ Gamma(2.5, 1.5),  m ~ N(0.4, 1 / (0.6 v)),  x_t ~ N(m, 1 / v)
    shares:  s ~ Dirichlet(1.5, 1, 0.8),  x_t ~ Categorical(s), as one of (1, 0, 0), (0, 1, 0), (0, 0, 1)

The guides are the posteriors, made wider: Gamma(0.35 a, 0.35 b), N(m, 1.8 s^2), Dirichlet(0.4 a). The evidence is a
ratio of normalising constants (Gelman et al. 2013, chapters 2, 3).
"""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case, hide, seen_frames

SHAPE, RATE = 2.0, 1.0
SPREAD_SHAPE, SPREAD_RATE, CENTRE, STRENGTH = 2.5, 1.5, 0.4, 0.6
PRIOR_SHARES = torch.tensor([1.5, 1.0, 0.8], dtype=torch.float64)
GAMMA_TEMPER, NORMAL_WIDENING, SHARES_TEMPER = 0.35, 1.8, 0.4
SEQUENCES, TIME = 4, 4
MISSING = [(0, 0), (2, 3), (3, 1), (3, 2)]


def counts_model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    exposure = torch.ones_like(x) if controls is None else controls
    with pyro.plate("sequences", len(x), dim=-1):
        rate = pyro.sample("rate", dist.Gamma(x.new_tensor(SHAPE), RATE))
        with pyro.plate("time", x.shape[1], dim=-2):
            seen = dist.Poisson(rate[..., None] * exposure.transpose(0, 1)).to_event(1).mask(mask.mT)
            pyro.sample("frames", seen, obs=x.transpose(0, 1))


def counts_posterior(frames: Tensor, observed: Tensor | None, controls: Tensor | None) -> tuple[Tensor, Tensor]:
    x, mask = seen_frames(frames, observed)
    exposure = torch.ones_like(x) if controls is None else controls
    return SHAPE + x[..., 0].sum(1), RATE + (mask * exposure[..., 0]).sum(1)


def counts_guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    shape, rate = counts_posterior(frames, observed, controls)
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        pyro.sample("rate", dist.Gamma(GAMMA_TEMPER * shape, GAMMA_TEMPER * rate))


def counts() -> Case:
    generator = torch.Generator().manual_seed(15)
    exposure = 0.5 + torch.rand(SEQUENCES, TIME, 1, dtype=torch.float64, generator=generator)
    rates = torch.tensor([0.7, 1.6, 2.5, 4.0], dtype=torch.float64)[:, None, None]
    frames, observed = hide(torch.poisson(rates * exposure, generator=generator), MISSING)
    shape, rate = counts_posterior(frames, observed, exposure)
    each = torch.where(observed[..., None], frames * exposure.log() - torch.lgamma(frames + 1), 0.0).sum((1, 2))
    evidence = SHAPE * math.log(RATE) - math.lgamma(SHAPE) + torch.lgamma(shape) - shape * rate.log() + each
    return Case("conjugate counts", counts_model, counts_guide, frames, evidence, observed, exposure)


def spread_model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    with pyro.plate("sequences", len(x), dim=-1):
        precision = pyro.sample("precision", dist.Gamma(x.new_tensor(SPREAD_SHAPE), SPREAD_RATE))
        mean = pyro.sample("mean", dist.Normal(CENTRE, (STRENGTH * precision).rsqrt()))
        with pyro.plate("time", x.shape[1], dim=-2):
            seen = dist.Normal(mean[..., None], precision.rsqrt()[..., None]).to_event(1).mask(mask.mT)
            pyro.sample("frames", seen, obs=x.transpose(0, 1))


def spread_posterior(frames: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shape and rate of the precision, centre and strength of the mean."""
    x, mask = seen_frames(frames, observed)
    x, number = x[..., 0], mask.sum(1)
    average = x.sum(1) / number
    scatter = (mask * (x - average[:, None]) ** 2).sum(1)
    strength = STRENGTH + number
    rate = SPREAD_RATE + 0.5 * scatter + 0.5 * STRENGTH * number * (average - CENTRE) ** 2 / strength
    return SPREAD_SHAPE + 0.5 * number, rate, (STRENGTH * CENTRE + number * average) / strength, strength


def spread_guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    shape, rate, centre, strength = spread_posterior(frames, observed)
    with pyro.plate("sequences", frames.shape[0], dim=-1):
        precision = pyro.sample("precision", dist.Gamma(GAMMA_TEMPER * shape, GAMMA_TEMPER * rate))
        pyro.sample("mean", dist.Normal(centre, (NORMAL_WIDENING / (strength * precision)).sqrt()))


def spread() -> Case:
    generator = torch.Generator().manual_seed(16)
    frames, observed = hide(1.2 * torch.randn(SEQUENCES, TIME, 1, dtype=torch.float64, generator=generator), MISSING)
    shape, rate, _, strength = spread_posterior(frames, observed)
    before = SPREAD_SHAPE * math.log(SPREAD_RATE) - math.lgamma(SPREAD_SHAPE) + 0.5 * math.log(STRENGTH)
    after = shape * rate.log() - torch.lgamma(shape) + 0.5 * strength.log()
    evidence = before - after - 0.5 * observed.sum(1) * math.log(2 * math.pi)
    return Case("conjugate spread", spread_model, spread_guide, frames, evidence, observed)


def shares_model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    valid = torch.where(mask[..., None], x, torch.eye(3, dtype=x.dtype)[0])
    with pyro.plate("sequences", len(x), dim=-1):
        shares = pyro.sample("shares", dist.Dirichlet(PRIOR_SHARES))
        with pyro.plate("time", x.shape[1], dim=-2):
            pyro.sample("frames", dist.OneHotCategorical(shares).mask(mask.mT), obs=valid.transpose(0, 1))


def shares_guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, _ = seen_frames(frames, observed)
    with pyro.plate("sequences", len(x), dim=-1):
        pyro.sample("shares", dist.Dirichlet(SHARES_TEMPER * (PRIOR_SHARES + x.sum(1))))


def shares() -> Case:
    generator = torch.Generator().manual_seed(17)
    drawn = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]).expand(SEQUENCES, 3), TIME, True, generator=generator)
    frames, observed = hide(torch.eye(3, dtype=torch.float64)[drawn], MISSING)
    after = PRIOR_SHARES + seen_frames(frames, observed)[0].sum(1)

    def log_beta(alpha: Tensor) -> Tensor:
        return torch.lgamma(alpha).sum(-1) - torch.lgamma(alpha.sum(-1))

    evidence = log_beta(after) - log_beta(PRIOR_SHARES)
    return Case("conjugate shares", shares_model, shares_guide, frames, evidence, observed)
