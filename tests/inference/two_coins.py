"""Videos of bits from one of two coins, with the exact posterior as guide and every probability in closed form."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule


class TwoCoins(PyroModule):
    """One of two coins for a whole video, z; three bits a frame."""

    frame_shape = (1, 1, 3)
    chances = torch.tensor([0.2, 0.7])

    def forward(self, frames, observed=None, controls=None):
        seen = torch.ones(frames.shape[:2], dtype=torch.bool) if observed is None else observed
        with pyro.plate("sequences", len(frames), dim=-1):
            z = pyro.sample("z", dist.Bernoulli(0.4))
            with pyro.plate("time", frames.shape[1], dim=-2):
                chance = self.chances[z.long()][..., None, None, None].expand(*z.shape, *self.frame_shape)
                law = dist.Bernoulli(chance).to_event(3).mask(seen.T)
                pyro.sample("frames", law, obs=torch.where(seen[..., None, None, None], frames, 0.0).transpose(0, 1))


class ExactCoin(PyroModule):
    completion_methods = ("exact",)

    def law(self, frames, observed):
        """The posterior of z, by Bayes' rule."""
        seen = torch.ones(frames.shape[:2], dtype=torch.bool) if observed is None else observed
        return dist.Bernoulli(coin_posterior(frames, seen))

    def forward(self, frames, observed=None, controls=None):
        with pyro.plate("sequences", len(frames), dim=-1):
            pyro.sample("z", self.law(frames, observed))

    def complete(self, frames, observed=None, controls=None, *, method="exact", num_samples=None):
        law = self.law(frames, observed)
        return {"z": law.probs.round() if num_samples is None else law.sample((num_samples, 1))}


def coin_likelihoods(frames, seen):
    """log p(z, x_seen) for both coins, (2, sequences)."""
    heads, bits = torch.where(seen, frames.flatten(2).sum(2), 0.0).sum(1), 3 * seen.sum(1)
    prior = torch.tensor([0.6, 0.4])
    return torch.stack(
        [math.log(prior[z]) + heads * math.log(p) + (bits - heads) * math.log(1 - p) for z, p in enumerate((0.2, 0.7))]
    )


def coin_posterior(frames, seen):
    return coin_likelihoods(frames, seen).softmax(0)[1]
