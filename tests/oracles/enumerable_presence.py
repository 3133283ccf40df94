"""Three presence bits and a shared content, whose multi-sample bounds are sums over all configurations.

    b_ni ~ Bernoulli(sigmoid(prior_i)), i = 1, 2, 3;   c_n ~ N(mean, scale^2)
    x_n ~ N(sum_i b_ni (base_i + gain_i c_n), noise^2)

    q: "content first"    c ~ N(u + v x, s^2),              b_i ~ Bernoulli(sigmoid(l_i + r x + t c))
       "presence first"   b_i ~ Bernoulli(sigmoid(l_i + r x)),    c ~ N(u + v x + t sum_i b_i, s^2)

in float64. A particle is one of 8 presences times a node of Gauss-Hermite quadrature for the noise behind c; an
expectation over K particles is a sum over all K-tuples of these. Gradients are those of such sums. Shares no code with
the estimators.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

VALUES = {
    "prior": [-0.4, 0.3, 0.1],
    "mean": 0.2,
    "log_scale": -0.1,
    "base": [0.8, -0.6, 1.5],
    "gain": [0.5, 1.1, -0.7],
    "log_noise": 0.2,
    "l": [0.2, -0.3, 0.1],
    "r": 0.4,
    "t": 0.6,
    "u": -0.1,
    "v": 0.3,
    "log_s": -0.7,
}
MODEL = ("prior", "mean", "log_scale", "base", "gain", "log_noise")
ORDERS = ("content first", "presence first")
PRESENCES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
DATA = torch.tensor([0.9, -0.7], dtype=torch.float64)


class PresenceModel(PyroModule):
    """Presence in a plate of objects, or, with `plated=False`, in one site for each, which can be enumerated."""

    def __init__(self, plated: bool = True) -> None:
        super().__init__()
        self.plated = plated
        for name in MODEL:
            setattr(self, name, nn.Parameter(torch.tensor(VALUES[name], dtype=torch.float64)))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("sequences", x.shape[0], dim=-1):
            c = pyro.sample("content", dist.Normal(self.mean, self.log_scale.exp()))
            bits = sample_presence(list(self.prior), self.plated)
            mean = sum(b * (base + gain * c) for b, base, gain in zip(bits, self.base, self.gain, strict=True))
            pyro.sample("frames", dist.Normal(mean, self.log_noise.exp()), obs=x)


class PresenceGuide(PyroModule):
    def __init__(self, order: str, plated: bool = True) -> None:
        super().__init__()
        self.order = order
        self.plated = plated
        for name in VALUES:
            if name not in MODEL:
                setattr(self, name, nn.Parameter(torch.tensor(VALUES[name], dtype=torch.float64)))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("sequences", x.shape[0], dim=-1):
            if self.order == "content first":
                c = pyro.sample("content", dist.Normal(self.u + self.v * x, self.log_s.exp()))
                self.presence(self.r * x + self.t * c)
            else:
                bits = self.presence(self.r * x)
                mean = self.u + self.v * x + self.t * sum(bits)
                pyro.sample("content", dist.Normal(mean, self.log_s.exp()))

    def presence(self, logit: Tensor) -> list[Tensor]:
        return sample_presence([bias + logit for bias in self.l], self.plated, {"enumerate": "parallel"})


def sample_presence(logits: list[Tensor], plated: bool, infer: dict[str, str] | None = None) -> list[Tensor]:
    """Three bits that broadcast with what has the plate of sequences at -1, nothing at -2 and particles at -3."""
    if not plated:
        return [pyro.sample(f"presence_{i}", dist.Bernoulli(logits=one), infer=infer) for i, one in enumerate(logits)]
    with pyro.plate("objects", 3, dim=-2):
        rows = [one if one.dim() > 1 else one.expand(1, *one.shape[-1:] or (1,)) for one in logits]
        b = pyro.sample("presence", dist.Bernoulli(logits=torch.cat(rows, -2)))
    return [b[..., i : i + 1, :] for i in range(3)]


def log_normal(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    return -0.5 * ((x - mean) * torch.exp(-log_scale)) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)


def log_bernoulli(b: Tensor, logits: Tensor) -> Tensor:
    return (b * logits - nn.functional.softplus(logits)).sum(-1)


def particles(
    p: dict[str, Tensor], x: Tensor, order: str, nodes: int, drawn_from: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """All particles of one sequence: log probability of each, log p(x, z) and log q(z | x), each (8 * nodes,).

    The distributions have parameters p; draws and their probabilities those of `drawn_from`.
    """
    grid, weights = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(nodes))
    b, noise = PRESENCES[:, None], grid[None, :, None]  # (8, 1, 3), (1, nodes, 1)

    def content_mean(q: dict[str, Tensor]) -> Tensor:
        late = q["t"] * b.sum(-1, keepdim=True) if order == "presence first" else 0.0
        return q["u"] + q["v"] * x + late

    def log_presence(q: dict[str, Tensor]) -> Tensor:
        late = q["t"] * c if order == "content first" else 0.0
        return log_bernoulli(b, q["l"] + q["r"] * x + late)

    c = content_mean(drawn_from) + drawn_from["log_s"].exp() * noise
    log_probability = log_presence(drawn_from) + torch.log(weights / weights.sum())
    log_guide = log_presence(p) + log_normal(c, content_mean(p), p["log_s"]).squeeze(-1)
    emitted = (b * (p["base"] + p["gain"] * c)).sum(-1)
    log_joint = (
        log_bernoulli(b, p["prior"])
        + log_normal(c, p["mean"], p["log_scale"]).squeeze(-1)
        + log_normal(x, emitted, p["log_noise"])
    )
    return tuple(term.expand(8, nodes).flatten() for term in (log_probability, log_joint, log_guide))


def expectation(
    p: dict[str, Tensor],
    num_particles: int,
    order: str,
    value: Callable[[Tensor, Tensor], Tensor],
    *,
    nodes: int = 12,
    drawn_from: dict[str, Tensor] | None = None,
) -> Tensor:
    """Sum over the data of E[value(log p, log q)], whose arguments are (K, configurations)."""
    total = torch.zeros((), dtype=torch.float64)
    for x in DATA:
        log_probability, log_joint, log_guide = particles(p, x, order, nodes, drawn_from or p)
        index = torch.cartesian_prod(*[torch.arange(len(log_joint))] * num_particles).reshape(-1, num_particles).T
        tuples = log_probability[index].sum(0).exp()
        total = total + (tuples * value(log_joint[index], log_guide[index])).sum()
    return total


def parameters() -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in VALUES.items()}


def gradients(total: Tensor, p: dict[str, Tensor]) -> dict[str, Tensor]:
    values = torch.autograd.grad(total, list(p.values()), allow_unused=True)
    return {name: torch.zeros_like(p[name]) if g is None else g for name, g in zip(p, values, strict=True)}


def importance_weighted_bound(log_joint: Tensor, log_guide: Tensor) -> Tensor:
    return torch.logsumexp(log_joint - log_guide, 0) - math.log(log_joint.shape[0])


def log_evidence(p: dict[str, Tensor]) -> Tensor:
    """Sum over the data: content integrated out on paper, presence summed."""
    total = torch.zeros((), dtype=torch.float64)
    for x in DATA:
        base, gain = PRESENCES @ p["base"], PRESENCES @ p["gain"]
        variance = (gain * p["log_scale"].exp()) ** 2 + (2 * p["log_noise"]).exp()
        marginal = log_normal(x, base + gain * p["mean"], 0.5 * variance.log())
        total = total + torch.logsumexp(log_bernoulli(PRESENCES, p["prior"]) + marginal, 0)
    return total
