"""The random streams of a training run: one for training, one for each other process and step, one for each bound."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inference.runtime.generators import preserved_generators, seed_generators, seed_generators_of_version_one

VALIDATION = 2**32 - 1  # second number of the seed of validation bounds, in version 1


@dataclass(frozen=True)
class TrainingStreams:
    """How a run seeds its generators.

    A run keeps the version that it was started with, so that resuming it gives the bits that it would have given. In
    version 1, of runs started by Kinema 0.1.0, the stream of training and that of step 0 of process 0 are one.

    Attributes:
        seed: seed of the run.
        version: 1 or 2.
    """

    seed: int
    version: int = 2

    def start_training(self) -> None:
        """Seed the stream of the whole training."""
        self._start("training")

    def start_step(self, step: int, rank: int) -> None:
        """Seed one step of a process that does not lead."""
        self._start("training step", step, rank)

    @contextmanager
    def validation(self, piece: int) -> Iterator[None]:
        """Inside, draw for the bound on one piece of the validation videos."""
        with preserved_generators():
            self._start("validation", *([VALIDATION] if self.version == 1 else []), piece)
            yield

    def _start(self, purpose: str, *path: int) -> None:
        if self.version == 1:
            seed_generators_of_version_one(self.seed, *path)
        else:
            seed_generators(purpose, self.seed, *path)
