"""Filters that are run first, so that guide and weights fit each video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inference.estimators.corrected_draws import CorrectedDraws, Correction, choose_corrections, find_corrections
from inference.estimators.particle_filter import FilterStep, Resampling, run_filter
from inference.estimators.twists import FilteredStates, Twist, choose_twists, fit_twist, state_features


class Adaptation(NamedTuple):
    """How a filter is fitted to each video of a batch."""

    corrections: dict[str, Correction]
    twist: Twist | None

    def repeat_sequences(self, count: int) -> "Adaptation":
        """For a batch that holds every sequence `count` times, one copy of the batch after the other."""
        corrections = {name: correction.repeat_sequences(count) for name, correction in self.corrections.items()}
        return Adaptation(corrections, None if self.twist is None else self.twist.repeat_sequences(count))

    def choose(self, other: "Adaptation", better: Bool[Tensor, " sequences"]) -> "Adaptation":
        """For each video the other one where it is better."""
        corrections = choose_corrections(self.corrections, other.corrections, better)
        twist = other.twist if other.twist is None else choose_twists(self.twist, other.twist, better)
        return Adaptation(corrections, twist)


@dataclass(frozen=True)
class Pilot:
    """How to adapt the proposals of a particle filter to each video.

    A guide is amortized: for a single frame its Gaussian lies somewhat beside the posterior. In each round a filter
    runs with the guide as it is corrected so far. The first two moments of each step's weighted draws, relative to the
    guide's own Gaussian, are the next correction (adaptive importance sampling, Cappé et al. 2004, within each step).
    A pilot also says what became of its particles, from which a function of their states is fitted that looks ahead
    (`Twist`): the next filters keep particles that have a future, and their moments are those of smoothing. Each video
    keeps correction and twist of the quietest pilot, which may be none, unless its estimate lies significantly below
    another's: where the posterior has several modes, their common moments are a bad guide. The filter whose estimate
    counts runs afterwards with draws of its own, so that it stays unbiased.

    Attributes:
        num_particles: of each pilot.
        rounds: how many corrections are tried, one after the other; with one pilot more than that.
        widening: factor of the variances that are found.
        looks_ahead: fit twists as well; worth it from about a hundred particles on.
    """

    num_particles: int = 128
    rounds: int = 3
    widening: float = 1.2
    looks_ahead: bool = True

    def __post_init__(self) -> None:
        if self.num_particles < 2 or self.rounds < 1:
            raise ValueError(
                f"pilot: expected at least 2 particles and 1 round, got {self.num_particles} and {self.rounds}"
            )
        if not 1 <= self.widening < float("inf"):
            raise ValueError(f"widening: expected a number from 1 on, got {self.widening}")

    def adapt(self, model: Any, guide: Any, args: Sequence[Any], resampling: Resampling) -> Adaptation:
        """Run the pilots, from the random state that there is.

        Args:
            model: a `StepwiseModel`.
            guide: a `StepwiseGuide`; its Gaussian sites are corrected.
            args: frames first, and what else both take.
            resampling: when and how.

        Raises:
            ValueError: as `run_filter`.
        """
        tried = kept = Adaptation({}, None)
        best: Tensor | None = None
        for number in range(self.rounds + 1):
            found: dict[str, Correction] = {}
            steps: list[FilteredStates] = []

            def watch(
                step: FilterStep, found: dict[str, Correction] = found, steps: list[FilteredStates] = steps
            ) -> None:
                found |= find_corrections(step.traces, step.log_shares, self.widening)
                assert step.traces.particle_dim is not None
                features = state_features(step.states[0], step.traces.particle_dim, step.increments)
                steps.append(FilteredStates(features, step.increments, step.log_shares))

            with CorrectedDraws(tried.corrections):
                last = number == self.rounds
                result = run_filter(
                    model,
                    guide,
                    args,
                    self.num_particles,
                    resampling,
                    watch=None if last else watch,
                    twist=tried.twist,
                )
            noise = (self.num_particles / result.effective_sample_size - 1).sum(0) / self.num_particles
            attempt = torch.stack([result.log_evidence, noise.nan_to_num(torch.inf)])  # nan: no particle was possible
            better = _improves(attempt, best)
            kept = kept.choose(tried, better)
            best = attempt if best is None else torch.where(better, attempt, best)
            twist = fit_twist(steps, result.ancestors) if self.looks_ahead and not last else None
            tried = Adaptation(found, twist)
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
