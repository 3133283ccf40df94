"""Step sizes of moves at each temperature, tuned on separate pilot chains."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.chains import TemperedChains
from inference.annealing.hamiltonian import Pace

QUARTER = math.pi / 2  # a quarter period of a standard Gaussian, after which a draw is independent of its start
TARGET_ACCEPTANCE, ADAPTATION_RATE = 0.8, 1.0
PRIOR_DRAWS = 5  # weight of the spread at the previous temperature, in draws


class PaceFinder:
    """Tunes step sizes at each temperature, on pilot chains.

    Scales are the spread of the chains of a video. Step sizes adapt to the acceptance rate, but a trajectory is at most
    a quarter of a period: if all coordinates have the same scale, longer ones turn back.

    Args:
        chains: pilot chains, at least two for each video.
        num_leapfrog: leapfrog steps per move.
    """

    def __init__(self, chains: TemperedChains, num_leapfrog: int) -> None:
        self.chains = chains
        self.longest = QUARTER / num_leapfrog
        self.sizes = torch.full_like(chains.log_joint[0], self.longest)
        self.variances: dict[str, Tensor] = {}

    def pace(self) -> Pace:
        """The pace of the next move, from the current chains."""
        densities = self.chains.densities
        number = densities.traces.num_particles
        for name in densities.coordinates:
            variance = self.chains.latents[name].var(densities.chain_dim(name), keepdim=True)
            before = self.variances.get(name, variance.nan_to_num(1.0, 1.0))  # draws may lie at a bound, at infinity
            found = torch.where(variance.isfinite(), variance, before)
            self.variances[name] = (number * found + PRIOR_DRAWS * before) / (number + PRIOR_DRAWS)
        return Pace(self.sizes, {name: variance.sqrt() for name, variance in self.variances.items()})

    def hear(self, chance: Float[Tensor, "particles sequences"]) -> None:
        """Adapt step sizes to the last move.

        Args:
            chance: acceptance probabilities of the move.
        """
        change = torch.exp(ADAPTATION_RATE * (chance.mean(0) - TARGET_ACCEPTANCE))
        self.sizes = (self.sizes * change).clamp(max=self.longest)
