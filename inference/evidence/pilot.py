"""Filters that are run first, so that the guide fits each video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inference.estimators.corrected_draws import CorrectedDraws, Correction, choose_corrections, find_corrections
from inference.estimators.particle_filter import Resampling, run_filter
from inference.estimators.traces import ImportanceTraces


@dataclass(frozen=True)
class Pilot:
    """How to adapt the proposals of a particle filter to each video.

    A guide is amortized: for a single frame its Gaussian lies somewhat beside the posterior. In each round a filter
    runs with the guide as it is corrected so far. The first two moments of each step's weighted draws, relative to the
    guide's own Gaussian, are the next correction (adaptive importance sampling, Cappé et al. 2004, within each step).
    Each video keeps the correction with the quietest pilot, which may be none, unless its estimate lies significantly
    below another's: where the posterior has several modes, their common moments are a bad guide. The filter whose
    estimate counts runs afterwards with draws of its own, so that it stays unbiased.

    Attributes:
        num_particles: of each pilot.
        rounds: how many corrections are tried, one after the other; with one pilot more than that.
        widening: factor of the variances that are found.
    """

    num_particles: int = 64
    rounds: int = 3
    widening: float = 1.2

    def __post_init__(self) -> None:
        if self.num_particles < 2 or self.rounds < 1:
            raise ValueError(
                f"pilot: expected at least 2 particles and 1 round, got {self.num_particles} and {self.rounds}"
            )
        if not 1 <= self.widening < float("inf"):
            raise ValueError(f"widening: expected a number from 1 on, got {self.widening}")

    def corrections(self, model: Any, guide: Any, args: Sequence[Any], resampling: Resampling) -> dict[str, Correction]:
        """Run the pilots, from the random state that there is.

        Args:
            model: a `StepwiseModel`.
            guide: a `StepwiseGuide`; its Gaussian sites are corrected.
            args: frames first, and what else both take.
            resampling: when and how.

        Raises:
            ValueError: as `run_filter`.
        """
        tried: dict[str, Correction] = {}
        kept: dict[str, Correction] = {}
        best: Tensor | None = None
        for number in range(self.rounds + 1):
            found: dict[str, Correction] = {}

            def watch(
                traces: ImportanceTraces,
                log_shares: Float[Tensor, "particles sequences"],
                found: dict[str, Correction] = found,
            ) -> None:
                found |= find_corrections(traces, log_shares, self.widening)

            with CorrectedDraws(tried):
                last = number == self.rounds
                result = run_filter(model, guide, args, self.num_particles, resampling, watch=None if last else watch)
            noise = (self.num_particles / result.effective_sample_size - 1).sum(0) / self.num_particles
            attempt = torch.stack([result.log_evidence, noise])
            better = _improves(attempt, best)
            kept = choose_corrections(kept, tried, better)
            best = attempt if best is None else torch.where(better, attempt, best)
            tried = found
        return kept


def _improves(
    new: Float[Tensor, "2 sequences"], old: Float[Tensor, "2 sequences"] | None
) -> Bool[Tensor, " sequences"]:
    """Whether estimates (log evidence and its variance, by effective sample sizes) are to be preferred to older ones.

    The quieter one is, unless it lies significantly below: then it has lost a part of the posterior.
    """
    if old is None:
        return torch.ones_like(new[0], dtype=torch.bool)
    error = 2 * (new[1] + old[1]).sqrt()
    quieter = (new[1] < old[1]) & (new[0] >= old[0] - error)
    return quieter | (new[0] > old[0] + error)
