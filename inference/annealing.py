"""Annealed importance sampling from the guide to the posterior, by Hamiltonian moves and flips of bits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.estimators.traces import (
    ImportanceTraces,
    Program,
    evaluation_mode,
    importance_traces,
    local_parameters,
    modules_of,
)
from inference.presence_flips import flip_bits
from inference.tempered_densities import TemperedDensities

TARGET_ACCEPTANCE = 0.8
FIRST_STEP_SIZE, ADAPTATION_RATE = 0.1, 1.0


@dataclass(frozen=True)
class Annealing:
    """How to go from the guide to the posterior.

    At inverse temperature b the target is q(z | x)^(1 - b) p(x, z)^b; b goes from 0 to 1 along a logistic curve, slow
    at both ends (Grosse, Ghahramani and Adams 2015). At each b between them each chain is offered a flip of each of its
    bits (presence), then one Hamiltonian move of its continuous latents.

    Attributes:
        num_temperatures: parts of the way; each further one narrows the gap to the evidence.
        num_leapfrog: leapfrog steps of a move, each a gradient of both densities.
        num_tuning: chains of the run before, which finds the step size of each temperature and video, so that the run
            that counts does not adapt and its weights stay unbiased.
    """

    num_temperatures: int = 100
    num_leapfrog: int = 5
    num_tuning: int = 8

    def __post_init__(self) -> None:
        for name in ("num_temperatures", "num_leapfrog", "num_tuning"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def inverse_temperatures(self) -> Float[Tensor, " temperatures"]:
        """From 0 to 1, both included."""
        curve = torch.sigmoid(torch.linspace(-4, 4, self.num_temperatures + 1, dtype=torch.float64))
        return (curve - curve[0]) / (curve[-1] - curve[0])


def anneal(
    densities: TemperedDensities,
    start: Mapping[str, Tensor],
    annealing: Annealing,
    step_sizes: Float[Tensor, "temperatures sequences"] | None = None,
    *,
    backwards: bool = False,
) -> tuple[Float[Tensor, "particles sequences"], Float[Tensor, "temperatures sequences"]]:
    """Run chains through all temperatures.

    Args:
        densities: of the batch.
        start: in the coordinates of `densities`: draws of the guide, or of the posterior when going backwards.
        annealing: how.
        step_sizes: of each move; None finds them on the way, by the share of moves that were accepted.
        backwards: from the posterior to the guide.

    Returns:
        Log weights, whose exponentials have the evidence (backwards: its inverse) as expectation; and the step sizes.
    """
    inverse = annealing.inverse_temperatures()
    inverse = inverse.flip(0) if backwards else inverse
    latents = dict(start)
    log_joint, log_guide = densities(latents)
    log_weights = torch.zeros_like(log_joint, dtype=torch.float64)
    sizes = torch.full_like(log_joint[0], FIRST_STEP_SIZE)
    used = []
    for index in range(annealing.num_temperatures):
        step = inverse[index + 1] - inverse[index]
        log_weights = log_weights + step.item() * (log_joint - log_guide).detach().double()
        if index + 1 == annealing.num_temperatures:
            break
        sizes = sizes if step_sizes is None else step_sizes[index]
        used.append(sizes)
        if densities.bits:
            latents, log_joint, log_guide = flip_bits(densities, latents, inverse[index + 1].item())
        if len(densities.bits) == len(densities.sites):
            continue
        latents, log_joint, log_guide, accepted = _move(
            densities, latents, inverse[index + 1].item(), sizes, annealing.num_leapfrog
        )
        if step_sizes is None:
            sizes = sizes * torch.exp(ADAPTATION_RATE * (accepted.mean(0) - TARGET_ACCEPTANCE))
    return log_weights, torch.stack(used) if used else sizes[None]


def _move(
    densities: TemperedDensities, latents: dict[str, Tensor], inverse: float, sizes: Tensor, num_leapfrog: int
) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor]:
    """One Hamiltonian Monte Carlo move (Neal 2011) of the continuous latents of each chain and video, by itself."""
    bits = {name: latents[name] for name in densities.bits}
    latents = {name: place for name, place in latents.items() if name not in bits}

    def slopes(places: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        leaves = {name: place.detach().requires_grad_() for name, place in places.items()}
        with torch.enable_grad():
            log_joint, log_guide = densities(leaves | bits)
            target = (1 - inverse) * log_guide + inverse * log_joint
            found = torch.autograd.grad(target.sum(), list(leaves.values()), allow_unused=True)
        gradients = {
            name: torch.zeros_like(places[name]) if g is None else g for name, g in zip(leaves, found, strict=True)
        }
        return gradients, log_joint.detach(), log_guide.detach()

    def kinetic(momenta: dict[str, Tensor]) -> Tensor:
        terms = []
        for name, momentum in momenta.items():
            batch_dims = momentum.dim() - len(densities.sites[name]["fn"].event_shape)
            square = 0.5 * momentum.square()
            square = square.sum(list(range(batch_dims, square.dim()))) if square.dim() > batch_dims else square
            terms.append(densities.traces.per_sequence(densities.sites[name], square, scaled=False))
        return torch.stack(terms).sum(0)

    chains = sizes.expand(densities.traces.num_particles, -1)
    epsilon = {name: densities.broadcast(chains, name) for name in latents}
    momenta = {name: torch.randn_like(place) for name, place in latents.items()}
    gradients, first_joint, first_guide = slopes(latents)
    before = (1 - inverse) * first_guide + inverse * first_joint - kinetic(momenta)
    places, log_joint, log_guide = latents, first_joint, first_guide
    for _ in range(num_leapfrog):
        momenta = {name: momenta[name] + 0.5 * epsilon[name] * gradients[name] for name in places}
        places = {name: places[name] + epsilon[name] * momenta[name] for name in places}
        gradients, log_joint, log_guide = slopes(places)
        momenta = {name: momenta[name] + 0.5 * epsilon[name] * gradients[name] for name in places}
    after = (1 - inverse) * log_guide + inverse * log_joint - kinetic(momenta)
    chance = torch.exp(torch.clamp(after - before, max=0.0))
    chance = torch.where(torch.isfinite(chance), chance, 0.0)  # a move that ran away
    accept = torch.rand_like(chance) < chance
    moved = {
        name: torch.where(densities.broadcast(accept, name), places[name], latents[name]).detach() for name in latents
    }
    return (
        moved | bits,
        torch.where(accept, log_joint, first_joint),
        torch.where(accept, log_guide, first_guide),
        chance,
    )


def annealed_log_weights(
    traces: ImportanceTraces, model: Program, guide: Program, args: Sequence[Any], annealing: Annealing
) -> Float[Tensor, "particles sequences"]:
    """Log weights of annealed importance sampling (Neal 2001) that starts at draws of the guide.

    Args:
        traces: the draws, from `importance_traces`.
        model: the model.
        guide: the guide.
        args: their positional arguments.
        annealing: how.
    """
    with frozen(model, guide):
        sizes = tuned_step_sizes(traces, model, guide, args, annealing)
        densities = TemperedDensities(traces, model, guide, args)
        return anneal(densities, densities.start(), annealing, sizes)[0]


def tuned_step_sizes(
    traces: ImportanceTraces, model: Program, guide: Program, args: Sequence[Any], annealing: Annealing
) -> Float[Tensor, "temperatures sequences"]:
    """Step sizes from a run of other chains, so that they are independent of the chains that count."""
    others = importance_traces(model, guide, args, annealing.num_tuning, particle_dim=traces.particle_dim)
    densities = TemperedDensities(others, model, guide, args)
    return anneal(densities, densities.start(), annealing)[1]


@contextmanager
def frozen(*programs: Program) -> Iterator[None]:
    """Inside, no parameter asks for a gradient, and modules are in evaluation mode."""
    parameters = [p for module in modules_of(*programs) for p in module.parameters(recurse=False) if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        with evaluation_mode(*programs), local_parameters(*programs), torch.no_grad():
            yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
