"""Settings of estimates of the log evidence: which draws are made, how many at once, from which random streams."""

from dataclasses import dataclass
from typing import TypedDict

from inference.annealing.smc import SMC
from inference.annealing.walks import Annealing
from inference.estimators.fivo import FIVO
from inference.evidence.pilot import Pilot
from inference.runtime.numbers import check_count
from inference.runtime.processes import ALONE, Processes

Method = Annealing | SMC | FIVO | None
"""What each draw is: an annealed chain, a population, a particle filter, or (None) a draw of the guide."""


class EvidenceSettings(TypedDict, total=False):
    """Keyword settings of `log_evidence`; `DrawSettings` has their defaults.

    Attributes:
        particles_per_chunk: particles drawn at once; None, the default, = 50, or as many as some 2 GB of memory hold.
        sequences_per_chunk: sequences run at once; None, the default, = as many as that memory holds.
        pilot: filters that first adapt the guide's draws to each video, with `method=FIVO(...)`; None, the default, =
            the guide as it is.
        seed: seed of the particles; 0 by default.
        progress: show a bar; False by default.
        processes: processes that share the chunks; this process alone by default. All get the whole result.
    """

    particles_per_chunk: int | None
    sequences_per_chunk: int | None
    pilot: Pilot | None
    seed: int
    progress: bool
    processes: Processes


@dataclass(frozen=True)
class DrawSettings:
    """`EvidenceSettings` with their defaults, checked: how draws are made.

    Attributes:
        particles_per_chunk: particles drawn at once; None = not chosen yet (`with_room`).
        sequences_per_chunk: sequences run at once; None = not chosen yet.
        pilot: filters that adapt the guide's draws to each video before particle filters are run, or None.
        seed: seed of the particles.
        progress: show a bar.
        processes: processes that share the chunks.
    """

    particles_per_chunk: int | None = None
    sequences_per_chunk: int | None = None
    pilot: Pilot | None = None
    seed: int = 0
    progress: bool = False
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        at_least_one(particles_per_chunk=self.particles_per_chunk, sequences_per_chunk=self.sequences_per_chunk)


def at_least_one(**numbers: int | None) -> None:
    """Refuse numbers below 1; None stands for a number that is chosen later.

    Raises:
        TypeError: if one is no whole number.
        ValueError: names the number.
    """
    for name, number in numbers.items():
        if number is not None:
            check_count(name, number)
