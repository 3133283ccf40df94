"""Settings of predictive scores: numbers of draws and particles, the budget, the random stream."""

from dataclasses import dataclass
from typing import TypedDict

from inference.evidence import Budget
from inference.runtime.numbers import check_count
from videos.typed import typed_fields


class PredictiveSettings(TypedDict, total=False):
    """Keyword settings of `predictive_scores`, which says what they are and their defaults."""

    num_samples: int
    num_particles: int
    budget: Budget | None
    completion: str | None
    seed: int
    progress: bool


@dataclass(frozen=True)
@typed_fields
class ScoreSettings:
    """`PredictiveSettings` with their defaults, checked.

    Attributes:
        num_samples: draws of held-out frames.
        num_particles: particles in each repeat, one step ahead.
        budget: budget of each log evidence; None = `Budget()`.
        completion: one of `guide.completion_methods`; None = its first.
        seed: seed of all draws.
        progress: show bars.
    """

    num_samples: int = 64
    num_particles: int = 64
    budget: Budget | None = None
    completion: str | None = None
    seed: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        for name, number, least in (("num_samples", self.num_samples, 2), ("num_particles", self.num_particles, 1)):
            check_count(name, number, least)
