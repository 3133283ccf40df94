"""What a training run is asked for, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from inference.runs.folder import describe
from inference.svi.compiled import check_mode
from inference.svi.mixed_precision import check_precision
from inference.svi.schedules import Number, Schedule


@dataclass(frozen=True)
class TrainingResult:
    """How a training run ended.

    Attributes:
        steps: steps taken in all.
        loss: mean loss of the last logged window, nats per sequence, under the site weights of that time: a negative
            bound only if it was an ELBO.
        best_bound: highest validation bound, nats per sequence, without site weights; None without validation.
        best_step: the step after which it was reached; None without validation.
        ended_early: whether patience ran out.
        seconds: time in the loop, over all processes that worked on the run.
    """

    steps: int
    loss: float | None
    best_bound: float | None
    best_step: int | None
    ended_early: bool
    seconds: float


@dataclass(frozen=True)
class TrainingOptions:
    """The options of `inference.train`, under the same names.

    Raises:
        ValueError: if one of them is not as described there.
    """

    learning_rate: Schedule
    optimizer: Callable[..., torch.optim.Optimizer]
    clip_norm: Number | None
    log_every: int
    validate_every: int
    checkpoint_every: int
    keep_last: int
    patience: int | None
    seed: int
    compile: str
    precision: str

    def __post_init__(self) -> None:
        for name in ("log_every", "validate_every", "checkpoint_every", "keep_last", "patience"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name}: expected at least 1, got {count}")
        check_mode(self.compile)
        check_precision(self.precision)

    def settings(self) -> dict[str, Any]:
        """What the numbers of a run depend on, as plain values."""
        kept = ("clip_norm", "log_every", "validate_every", "patience", "seed", "precision")
        described = {name: describe(getattr(self, name)) for name in ("learning_rate", "optimizer")}
        return {name: getattr(self, name) for name in kept} | described
