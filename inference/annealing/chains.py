"""State of the annealed chains of each video between the guide and the posterior."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from inference.annealing.densities import TemperedDensities
from inference.annealing.flips import flip_bits
from inference.annealing.hamiltonian import Pace, hamiltonian_move


class TemperedChains:
    """Chains of each video: their latents and weights.

    Args:
        densities: densities of the batch.
        start: initial latents, in the coordinates of `densities`.

    Attributes:
        latents: current latents of the chains.
        log_joint: log p there, (particles, sequences), and
        log_guide: log q there.
        log_weights: (particles, sequences), float64.
    """

    def __init__(self, densities: TemperedDensities, start: Mapping[str, Tensor]) -> None:
        self.densities = densities
        self.latents = dict(start)
        self.log_joint, self.log_guide = densities(self.latents)
        self.log_weights = torch.zeros_like(self.log_joint, dtype=torch.float64)

    @property
    def log_ratio(self) -> Float[Tensor, "particles sequences"]:
        """Log p - log q, float64."""
        return (self.log_joint - self.log_guide).detach().double()

    @property
    def can_move(self) -> bool:
        """Whether there are continuous latents."""
        return bool(self.densities.coordinates)

    def reweigh(self, step: Float[Tensor, "*sequences"]) -> None:
        """Update the weights after a change of temperature.

        Args:
            step: increase of the inverse temperature, of each video or of all.
        """
        # a zero step leaves all weights unchanged, even if p is 0: 0 x inf is NaN
        self.log_weights = self.log_weights + torch.where(step != 0, step * self.log_ratio, 0.0)

    def flip(self, inverse: Float[Tensor, "*sequences"]) -> None:
        """Offer each chain a flip of each of its bits, at this inverse temperature."""
        if self.densities.bits:
            self.latents, self.log_joint, self.log_guide = flip_bits(self.densities, self.latents, inverse)

    def move(self, inverse: Float[Tensor, "*sequences"], pace: Pace, num_leapfrog: int) -> Tensor:
        """Move the continuous latents of each chain.

        Returns:
            Acceptance probability of each move.
        """
        self.latents, self.log_joint, self.log_guide, chance = hamiltonian_move(
            self.densities, self.latents, inverse, pace, num_leapfrog
        )
        return chance

    def select(self, ancestors: Int[Tensor, "particles sequences"]) -> None:
        """Replace each chain by its ancestor; the caller updates the weights.

        Args:
            ancestors: index of a chain, for each chain and video.
        """
        for name, place in self.latents.items():
            chain_dim = self.densities.chain_dim(name)
            if chain_dim is not None:
                index = self.densities.broadcast(ancestors, name).expand(place.shape)
                self.latents[name] = place.gather(chain_dim, index)
        self.log_joint, self.log_guide = self.log_joint.gather(0, ancestors), self.log_guide.gather(0, ancestors)
