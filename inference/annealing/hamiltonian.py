"""Hamiltonian moves of continuous latents, for all chains and videos in parallel."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.densities import TemperedDensities

JITTER = (0.5, 1.5)


@dataclass(frozen=True, eq=False)
class Pace:
    """Step sizes of the moves at one temperature.

    Attributes:
        sizes: size of a leapfrog step for each video, in units of `scales`.
        scales: spread of each coordinate among chains, by site: masses are their inverse squares.
    """

    sizes: Float[Tensor, " sequences"]
    scales: Mapping[str, Tensor]

    def scale(self, name: str, dims: int) -> Tensor:
        """The scale of a site's coordinates with this number of dims: a single chain has no chain dim."""
        scale = self.scales[name]
        return scale.reshape(scale.shape[-dims:])


def hamiltonian_move(
    densities: TemperedDensities,
    latents: Mapping[str, Tensor],
    inverse: Float[Tensor, "*sequences"],
    pace: Pace,
    num_leapfrog: int,
) -> tuple[
    dict[str, Tensor],
    Float[Tensor, "particles sequences"],
    Float[Tensor, "particles sequences"],
    Float[Tensor, "particles sequences"],
]:
    """One Hamiltonian Monte Carlo move (Neal 2011) of continuous latents; leaves the target q^(1 - b) p^b invariant.

    The step size of each chain and video is multiplied by a random factor, uniform on (0.5, 1.5). Trajectories of a
    fixed length near a multiple of half a period end where they started, or at its mirror image, at every temperature,
    and more temperatures may then do worse than fewer (Mackenzie 1989; Neal 2011).

    Args:
        densities: densities of the batch.
        latents: current latents, in the coordinates of `densities`; bits are not moved.
        inverse: b, the inverse temperature of each video, or of all.
        pace: step sizes.
        num_leapfrog: leapfrog steps per move, each with a gradient of both densities.

    Returns:
        The latents after the move, log p and log q there, and the acceptance probability.
    """
    bits = {name: latents[name] for name in densities.bits}
    start = {name: place for name, place in latents.items() if name not in bits}

    def target(log_joint: Tensor, log_guide: Tensor) -> Tensor:
        return (1 - inverse) * log_guide + inverse * log_joint

    def slopes(places: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        leaves = {name: place.detach().requires_grad_() for name, place in places.items()}
        with torch.enable_grad():
            log_joint, log_guide = densities(leaves | bits)
            found = torch.autograd.grad(
                target(log_joint, log_guide).sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
            )
        return dict(zip(leaves, found, strict=True)), log_joint.detach(), log_guide.detach()

    def kinetic(momenta: dict[str, Tensor]) -> Tensor:
        return torch.stack([densities.per_sequence(name, 0.5 * p.square()) for name, p in momenta.items()]).sum(0)

    sizes = pace.sizes.expand(densities.traces.num_particles, -1)
    sizes = sizes * torch.empty_like(sizes).uniform_(*JITTER)
    epsilon = {name: pace.scale(name, place.dim()) * densities.broadcast(sizes, name) for name, place in start.items()}
    momenta = {name: torch.randn_like(place) for name, place in start.items()}
    gradients, first_joint, first_guide = slopes(start)
    before = target(first_joint, first_guide) - kinetic(momenta)
    places, log_joint, log_guide = start, first_joint, first_guide
    for _ in range(num_leapfrog):
        momenta = {name: momenta[name] + 0.5 * epsilon[name] * gradients[name] for name in places}
        places = {name: places[name] + epsilon[name] * momenta[name] for name in places}
        gradients, log_joint, log_guide = slopes(places)
        momenta = {name: momenta[name] + 0.5 * epsilon[name] * gradients[name] for name in places}
    after = target(log_joint, log_guide) - kinetic(momenta)
    chance = torch.exp(torch.clamp(after - before, max=0.0))
    chance = torch.where(torch.isfinite(chance), chance, 0.0)  # reject divergent trajectories
    accept = torch.rand_like(chance) < chance
    moved = {name: torch.where(densities.broadcast(accept, name), places[name], start[name]).detach() for name in start}
    return (
        moved | bits,
        torch.where(accept, log_joint, first_joint),
        torch.where(accept, log_guide, first_guide),
        chance,
    )
