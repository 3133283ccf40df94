"""Annealed importance sampling from the guide to the posterior, by Hamiltonian moves and flips of bits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inference.annealing.chains import TemperedChains
from inference.annealing.densities import TemperedDensities
from inference.annealing.hamiltonian import Pace
from inference.annealing.pace import PaceFinder
from inference.programs.traces import (
    ImportanceTraces,
    Program,
    evaluation_mode,
    importance_traces,
    local_parameters,
    modules_of,
)
from inference.runtime.numbers import check_count
from videos.memory import check_room
from videos.typed import typed_fields


@dataclass(frozen=True)
@typed_fields
class Annealing:
    """Settings of annealing from the guide to the posterior.

    At inverse temperature b the target is q(z | x)^(1 - b) p(x, z)^b; b goes from 0 to 1 along a logistic curve, slow
    at both ends (Grosse, Ghahramani and Adams 2015). At each intermediate b each chain gets a proposed flip of each of
    its bits (presence), then one Hamiltonian move of its continuous latents, see `inference.annealing.hamiltonian`.

    Attributes:
        num_temperatures: steps of b. The mean gap to the evidence falls with their number, inversely proportionally if
            chains mix well at each temperature.
        num_leapfrog: leapfrog steps per move, each with a gradient of both densities.
        num_tuning: chains of the pilot run, at least 2. It finds the step size for each temperature and video and the
            spread of each coordinate; the main run does not adapt, so its weights stay unbiased.
    """

    num_temperatures: int = 100
    num_leapfrog: int = 5
    num_tuning: int = 8

    def __post_init__(self) -> None:
        for name, least in (("num_temperatures", 1), ("num_leapfrog", 1), ("num_tuning", 2)):
            check_count(name, getattr(self, name), least)
        check_room("num_temperatures", self.num_temperatures, 8, "inverse temperatures")

    def inverse_temperatures(self) -> Float[Tensor, " temperatures"]:
        """From 0 to 1, both included."""
        curve = torch.sigmoid(torch.linspace(-4, 4, self.num_temperatures + 1, dtype=torch.float64))
        return (curve - curve[0]) / (curve[-1] - curve[0])


def anneal(
    densities: TemperedDensities,
    start: Mapping[str, Tensor],
    annealing: Annealing,
    paces: Sequence[Pace] | None = None,
    *,
    backwards: bool = False,
) -> tuple[Float[Tensor, "particles sequences"], list[Pace]]:
    """Run chains through all temperatures.

    Args:
        densities: densities of the batch.
        start: in the coordinates of `densities`: draws from the guide, or from the posterior if `backwards`.
        annealing: settings.
        paces: paces of the moves at intermediate temperatures, from the guide to the posterior; None tunes them during
            the run.
        backwards: anneal from the posterior to the guide.

    Returns:
        Log weights, whose exponentials have the evidence (backwards: its inverse) as expectation; and the paces.
    """
    chains = TemperedChains(densities, start)
    inverse = annealing.inverse_temperatures().to(chains.log_weights.device)
    inverse = inverse.flip(0) if backwards else inverse
    finder = PaceFinder(chains, annealing.num_leapfrog) if paces is None else None
    known, used = list(paces or [])[:: -1 if backwards else 1], []
    steps = inverse.diff()
    for index in range(annealing.num_temperatures):
        chains.reweigh(steps[index])
        if index + 1 == annealing.num_temperatures:
            break
        now = inverse[index + 1].to(chains.log_joint)
        chains.flip(now)
        if chains.can_move:
            pace = known[index] if finder is None else finder.pace()
            chance = chains.move(now, pace, annealing.num_leapfrog)
            used.append(pace)
            if finder is not None:
                finder.hear(chance)
    return chains.log_weights, used[:: -1 if backwards else 1]


def annealed_log_weights(
    traces: ImportanceTraces, model: Program, guide: Program, args: Sequence[Any], annealing: Annealing
) -> Float[Tensor, "particles sequences"]:
    """Log weights of annealed importance sampling (Neal 2001) started at draws of the guide.

    Args:
        traces: the draws, from `importance_traces`.
        model: the model.
        guide: the guide.
        args: their positional arguments.
        annealing: settings.
    """
    with frozen(model, guide):
        paces = tuned_paces(traces, model, guide, args, annealing)
        densities = TemperedDensities(traces, model, guide, args)
        return anneal(densities, densities.start(), annealing, paces)[0]


def tuned_paces(
    traces: ImportanceTraces, model: Program, guide: Program, args: Sequence[Any], annealing: Annealing
) -> list[Pace]:
    """Paces from a pilot run, independent of the main chains."""
    others = importance_traces(model, guide, args, annealing.num_tuning, particle_dim=traces.particle_dim)
    densities = TemperedDensities(others, model, guide, args)
    return anneal(densities, densities.start(), annealing)[1]


@contextmanager
def frozen(*programs: Program) -> Iterator[None]:
    """Inside, no parameter requires a gradient, and modules are in evaluation mode."""
    parameters = [p for module in modules_of(*programs) for p in module.parameters(recurse=False) if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        with evaluation_mode(*programs), local_parameters(*programs), torch.no_grad():
            yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
