"""Three objects, present or absent, with a shared brightness: bits and a number, presences enumerated.

    b_i ~ Bernoulli(sigmoid(prior_i)), i = 0, 1, 2;   c ~ N(0.2, 0.9^2);   x_t ~ N(sum_i b_i (base_i + gain_i c), 0.7^2)

    q: b_i ~ Bernoulli(sigmoid(0.3 + 0.4 m)),   c ~ N(0.3 m + 0.2 sum_i b_i, 1.1^2)

with m the mean of the frames that are seen.

The evidence is a sum over the eight presences; given them, a video is Gaussian with c integrated out on paper.
"""

import itertools

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.oracles.conformance.case import Case, hide, seen_frames
from tests.oracles.joint_gaussian import dense_log_prob

PRIOR = torch.tensor([-0.4, 0.3, 0.1], dtype=torch.float64)
BASE = torch.tensor([0.8, -0.6, 1.5], dtype=torch.float64)
GAIN = torch.tensor([0.5, 1.1, -0.7], dtype=torch.float64)
MEAN, SCALE, NOISE, WIDE = 0.2, 0.9, 0.7, 1.1
SEQUENCES, TIME = 4, 3


def model(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    with pyro.plate("sequences", len(x), dim=-1):
        bits = [pyro.sample(f"presence_{index}", dist.Bernoulli(logits=PRIOR[index])) for index in range(3)]
        content = pyro.sample("content", dist.Normal(x.new_tensor(MEAN), SCALE))
        mean = sum(bit * (base + gain * content) for bit, base, gain in zip(bits, BASE, GAIN, strict=True))
        with pyro.plate("time", x.shape[1], dim=-2):
            seen = dist.Normal(mean[..., None], NOISE).to_event(1).mask(mask.mT)
            pyro.sample("frames", seen, obs=x.transpose(0, 1))


def guide(frames: Tensor, observed: Tensor | None = None, controls: Tensor | None = None) -> None:
    x, mask = seen_frames(frames, observed)
    average = x[..., 0].sum(1) / mask.sum(1).clamp_min(1)
    with pyro.plate("sequences", len(x), dim=-1):
        presence = dist.Bernoulli(logits=0.3 + 0.4 * average)
        bits = [pyro.sample(f"presence_{index}", presence) for index in range(3)]
        pyro.sample("content", dist.Normal(0.3 * average + 0.2 * sum(bits), WIDE))


def exact(frames: Tensor, observed: Tensor) -> Tensor:
    """(sequences,)."""
    presences = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    values = []
    for x, mask in zip(frames[..., 0], observed, strict=True):
        seen = x[mask]
        terms = []
        for presence in presences:
            chance = torch.where(presence == 1, PRIOR.sigmoid(), 1 - PRIOR.sigmoid()).log().sum()
            base, gain = presence @ BASE, presence @ GAIN
            covariance = NOISE**2 * torch.eye(len(seen), dtype=torch.float64) + (gain * SCALE) ** 2
            terms.append(chance + dense_log_prob(seen, base + gain * MEAN, covariance))
        values.append(torch.logsumexp(torch.stack(terms), 0))
    return torch.stack(values)


def presence() -> Case:
    generator = torch.Generator().manual_seed(14)
    bits = torch.bernoulli(PRIOR.sigmoid().expand(SEQUENCES, 3), generator=generator)
    content = MEAN + SCALE * torch.randn(SEQUENCES, 1, dtype=torch.float64, generator=generator)
    noise = NOISE * torch.randn(SEQUENCES, TIME, dtype=torch.float64, generator=generator)
    frames, observed = hide(
        ((bits * (BASE + GAIN * content)).sum(1, keepdim=True) + noise)[..., None], [(0, 0), (2, 1)]
    )
    return Case("presence", model, guide, frames, exact(frames, observed), observed, latents="bits")
