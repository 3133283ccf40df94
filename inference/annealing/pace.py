"""How far moves of chains go at each temperature, found by chains that do not count."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.chains import TemperedChains
from inference.annealing.hamiltonian import Pace

QUARTER = math.pi / 2  # of the period of a standard Gaussian: after it, a draw has forgotten where it came from
TARGET_ACCEPTANCE, ADAPTATION_RATE = 0.8, 1.0
PRIOR_DRAWS = 5  # as many as the spread at the temperature before counts for


class PaceFinder:
    """The pace at each temperature, from chains that do not count.

    Scales are the spread of the chains of a video. Step sizes follow the share of moves that are accepted, but moves go
    no further than a quarter of a period: where all coordinates are alike, longer ones come back.

    Args:
        chains: those that do not count, at least two of each video.
        num_leapfrog: leapfrog steps of a move.
    """

    def __init__(self, chains: TemperedChains, num_leapfrog: int) -> None:
        self.chains = chains
        self.longest = QUARTER / num_leapfrog
        self.sizes = torch.full_like(chains.log_joint[0], self.longest)
        self.variances: dict[str, Tensor] = {}

    def pace(self) -> Pace:
        """The pace of the next move, from where the chains are."""
        densities = self.chains.densities
        number = densities.traces.num_particles
        for name in densities.coordinates:
            variance = self.chains.latents[name].var(densities.chain_dim(name), keepdim=True)
            before = self.variances.get(name, variance.nan_to_num(1.0, 1.0))  # draws may lie at a bound, at infinity
            found = torch.where(variance.isfinite(), variance, before)
            self.variances[name] = (number * found + PRIOR_DRAWS * before) / (number + PRIOR_DRAWS)
        return Pace(self.sizes, {name: variance.sqrt() for name, variance in self.variances.items()})

    def hear(self, chance: Float[Tensor, "particles sequences"]) -> None:
        """Take account of how the move went.

        Args:
            chance: that the moves of the chains were accepted with.
        """
        change = torch.exp(ADAPTATION_RATE * (chance.mean(0) - TARGET_ACCEPTANCE))
        self.sizes = (self.sizes * change).clamp(max=self.longest)
