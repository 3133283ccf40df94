"""Filters that are run first, so that the guide fits each video."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from inference.estimators.corrected_draws import CorrectedDraws, Correction, find_corrections
from inference.estimators.particle_filter import Resampling, run_filter
from inference.estimators.traces import ImportanceTraces


@dataclass(frozen=True)
class Pilot:
    """How to adapt the proposals of a particle filter to each video.

    A guide is amortized: for a single frame its Gaussian lies somewhat beside the posterior. In each round a filter
    runs with the guide as it is corrected so far. The first two moments of each step's weighted draws, relative to the
    guide's own Gaussian, are the next correction (adaptive importance sampling, Cappé et al. 2004, within each step).
    The filter whose estimate counts runs afterwards with draws of its own, so that it stays unbiased.

    Attributes:
        num_particles: of each pilot.
        rounds: how many pilots follow one another.
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
        corrections: dict[str, Correction] = {}
        for _ in range(self.rounds):
            found: dict[str, Correction] = {}

            def watch(
                traces: ImportanceTraces,
                shares: Float[Tensor, "particles sequences"],
                found: dict[str, Correction] = found,
            ) -> None:
                found |= find_corrections(traces, shares, self.widening)

            with CorrectedDraws(corrections):
                run_filter(model, guide, args, self.num_particles, resampling, watch=watch)
            corrections = found
        return corrections
