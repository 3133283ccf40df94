"""Pilot filters, which adapt proposals and weights to each video before the main filter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from inference.estimators.corrected_draws import CorrectedDraws, Correction, choose_corrections, find_corrections
from inference.estimators.particle_filter import FilterStep, ParticleFilter, Resampling
from inference.estimators.twists import FilteredStates, Twist, choose_twists, fit_twist, state_features
from inference.runtime.numbers import check_count
from videos.typed import typed_fields


class Adaptation(NamedTuple):
    """How a filter is fitted to each video of a batch."""

    corrections: dict[str, Correction]
    twist: Twist | None

    def repeat_sequences(self, count: int) -> "Adaptation":
        """Repeat for `count` copies of the batch, concatenated along the sequences."""
        corrections = {name: correction.repeat_sequences(count) for name, correction in self.corrections.items()}
        return Adaptation(corrections, None if self.twist is None else self.twist.repeat_sequences(count))

    def choose(self, other: "Adaptation", better: Bool[Tensor, " sequences"]) -> "Adaptation":
        """Take `other` for the videos where it is better."""
        corrections = choose_corrections(self.corrections, other.corrections, better)
        twist = other.twist if other.twist is None else choose_twists(self.twist, other.twist, better)
        return Adaptation(corrections, twist)


@dataclass(frozen=True)
@typed_fields
class Pilot:
    """How to adapt the proposals of a particle filter to each video.

    A guide is amortized: for a single frame its Gaussian is somewhat off the posterior. In each round a filter runs
    with the guide as corrected so far. The first two moments of each step's weighted draws, relative to the guide's own
    Gaussian, are the next correction (adaptive importance sampling, Cappé et al. 2004, within each step). The pilot's
    ancestry also shows which particles survived; a look-ahead function of their states (`Twist`) is fitted to it, so
    the next filters favour particles with surviving descendants, and their moments are smoothing moments. Each video
    keeps correction and twist of the pilot with the least noise (possibly neither), unless its estimate is
    significantly below another's: with a multimodal posterior, the moments over all modes make a bad proposal. The
    filter whose estimate is reported runs afterwards with independent draws, so it stays unbiased.

    Attributes:
        num_particles: particles per pilot.
        rounds: number of successive corrections; one more pilot than that is run.
        widening: factor applied to the fitted variances.
        looks_ahead: also fit twists; worthwhile from about a hundred particles.
    """

    num_particles: int = 128
    rounds: int = 3
    widening: float = 1.2
    looks_ahead: bool = True

    def __post_init__(self) -> None:
        check_count("num_particles", self.num_particles, 2)
        check_count("rounds", self.rounds)
        if not 1 <= self.widening < float("inf"):
            raise ValueError(f"widening: expected a finite number of at least 1, got {self.widening}")

    def adapt(self, model: Any, guide: Any, args: Sequence[Any], resampling: Resampling) -> Adaptation:
        """Run the pilots, from the current random state.

        Args:
            model: a `StepwiseModel`.
            guide: a `StepwiseGuide`; its Gaussian sites are corrected.
            args: frames, then the other arguments of model and guide.
            resampling: when and how to resample.

        Raises:
            ValueError: as `ParticleFilter.run`.
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
                particles = ParticleFilter(self.num_particles, resampling, tried.twist)
                result = particles.run(model, guide, args, watch=None if last else watch)
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
    """Whether new estimates (log evidence and its variance, by effective sample sizes) are better than older ones.

    The one with less variance is better, unless it is significantly lower: then it has lost a part of the posterior.
    """
    if old is None:
        return torch.ones_like(new[0], dtype=torch.bool)
    error = 2 * (new[1] + old[1]).sqrt()
    quieter = (new[1] < old[1]) & (new[0] >= old[0] - error)
    return quieter | (new[0] > old[0] + error)
