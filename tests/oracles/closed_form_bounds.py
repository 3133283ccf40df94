"""A linear-Gaussian toy with evidence, posterior, bounds and gradients in closed form; and its Pyro programs.

    z_n ~ N(m, s^2),   x_nt | z_n ~ N(w z_n + b, r^2),   q(z_n | x_n) = N(a mean_t x_nt + c, e^2)

in float64, for sequences n and times t. The evidence is a Gaussian in x; the importance-weighted bound with K particles
is a K-dimensional Gaussian integral over the guide's standard normal draws, done by Gauss-Hermite quadrature; gradients
are those of these expressions.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn


@dataclass
class ToyParameters:
    """All scalars of the toy; scales by their logarithm."""

    m: Tensor
    log_s: Tensor
    w: Tensor
    b: Tensor
    log_r: Tensor
    a: Tensor
    c: Tensor
    log_e: Tensor

    @classmethod
    def make(cls, *, exact_for: int | None = None, **values: float) -> "ToyParameters":
        """Some values, all different; `exact_for` makes the guide the posterior of sequences of that length."""
        defaults = {"m": 0.3, "log_s": 0.1, "w": 1.2, "b": -0.2, "log_r": -0.3, "a": 0.5, "c": 0.1, "log_e": -0.6}
        parameters = cls(
            **{name: torch.tensor(value, dtype=torch.float64) for name, value in (defaults | values).items()}
        )
        if exact_for is not None:
            precision = torch.exp(-2 * parameters.log_s) + exact_for * parameters.w**2 * torch.exp(
                -2 * parameters.log_r
            )
            gain = parameters.w * torch.exp(-2 * parameters.log_r) / precision
            parameters.a = exact_for * gain
            parameters.c = parameters.m * torch.exp(-2 * parameters.log_s) / precision - exact_for * gain * parameters.b
            parameters.log_e = -0.5 * torch.log(precision)
        return parameters

    def named(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def log_normal(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    return -0.5 * ((x - mean) * torch.exp(-log_scale)) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)


def log_evidence(p: ToyParameters, x: Tensor) -> Tensor:
    """(sequences,): log N(x; (w m + b) 1, r^2 I + w^2 s^2 1 1^T), by the dense joint."""
    time = x.shape[-1]
    ones = torch.ones(time, time, dtype=x.dtype)
    covariance = torch.exp(2 * p.log_r) * torch.eye(time, dtype=x.dtype) + p.w**2 * torch.exp(2 * p.log_s) * ones
    mean = (p.w * p.m + p.b).expand(time)
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)


def posterior(p: ToyParameters, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (sequences,) and variance () of z given x."""
    precision = torch.exp(-2 * p.log_s) + x.shape[-1] * p.w**2 * torch.exp(-2 * p.log_r)
    mean = (p.m * torch.exp(-2 * p.log_s) + p.w * torch.exp(-2 * p.log_r) * (x - p.b).sum(-1)) / precision
    return mean, 1 / precision


def elbo(p: ToyParameters, x: Tensor) -> Tensor:
    """(sequences,): evidence minus the Kullback-Leibler divergence of two Gaussians."""
    mean, variance = posterior(p, x)
    guide_mean, guide_variance = p.a * x.mean(-1) + p.c, torch.exp(2 * p.log_e)
    divergence = 0.5 * (
        guide_variance / variance + (guide_mean - mean) ** 2 / variance - 1 - torch.log(guide_variance / variance)
    )
    return log_evidence(p, x) - divergence


def importance_weighted_bound(p: ToyParameters, x: Tensor, num_particles: int, nodes: int = 24) -> Tensor:
    """(sequences,): E log mean_k w_k over K independent draws of the guide, by quadrature in K dimensions."""
    points, weights = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(nodes))
    log_weights = toy_log_weight(p, x, points[:, None])  # (nodes, sequences)
    weights = weights / weights.sum()
    chosen = torch.cartesian_prod(*[torch.arange(nodes)] * num_particles).reshape(-1, num_particles)
    terms = torch.logsumexp(log_weights[chosen], 1) - math.log(num_particles)  # (configurations, sequences)
    return weights[chosen].prod(-1) @ terms


def toy_log_weight(p: ToyParameters, x: Tensor, noise: Tensor) -> Tensor:
    """log p(x, z) - log q(z | x) at z = a mean(x) + c + e noise; noise (..., sequences or 1)."""
    mean = p.a * x.mean(-1) + p.c
    z = mean + torch.exp(p.log_e) * noise
    likelihood = log_normal(x, (p.w * z + p.b)[..., None], p.log_r).sum(-1)
    return likelihood + log_normal(z, p.m, p.log_s) - log_normal(z, mean, p.log_e)


def gradients(p: ToyParameters, bound) -> dict[str, Tensor]:
    """Gradient of sum over sequences of bound(p) for every parameter."""
    live = ToyParameters(**{name: value.detach().clone().requires_grad_() for name, value in p.named().items()})
    values = live.named()
    return dict(zip(values, torch.autograd.grad(bound(live).sum(), list(values.values())), strict=True))


class ToyModel(PyroModule):
    """z in the plate of sequences, x in those of sequences and time; takes x (sequences, time) and its mask."""

    def __init__(self, p: ToyParameters, scale: float = 1.0) -> None:
        super().__init__()
        for name in ("m", "log_s", "w", "b", "log_r"):
            setattr(self, name, nn.Parameter(getattr(p, name).clone()))
        self.scale = scale

    def forward(self, x: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        sequences, time = x.shape
        mask = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
        with pyro.plate("sequences", sequences, dim=-1):
            z = pyro.sample("z", dist.Normal(self.m, torch.exp(self.log_s)))
            with pyro.plate("time", time, dim=-2), pyro.poutine.scale(scale=self.scale):
                law = dist.Normal(self.w * z + self.b, torch.exp(self.log_r)).mask(mask.mT)
                pyro.sample("frames", law, obs=torch.where(mask, x, 0.0).mT)


class ToyGuide(PyroModule):
    """q(z | x)."""

    def __init__(self, p: ToyParameters) -> None:
        super().__init__()
        for name in ("a", "c", "log_e"):
            setattr(self, name, nn.Parameter(getattr(p, name).clone()))

    def forward(self, x: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
        x = x if observed is None else torch.where(observed, x, 0.0)
        with pyro.plate("sequences", x.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(self.a * x.mean(-1) + self.c, torch.exp(self.log_e)))


def toy_data(sequences: int = 5, time: int = 3) -> Tensor:
    """Fixed observations (sequences, time)."""
    return torch.randn(sequences, time, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) * 1.3 + 0.4
