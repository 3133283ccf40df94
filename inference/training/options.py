"""Options of a training run, and its result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pyro.infer import ELBO

from inference.runs.folder import describe
from inference.runtime.numbers import check_count, check_positive
from inference.runtime.processes import ALONE, Processes
from inference.svi.compiled import check_mode
from inference.svi.mixed_precision import check_precision
from inference.svi.schedules import Number, Schedule
from inference.svi.update import check_optimizer_class
from inference.training.loggers import Logger, TensorBoard, check_loggers
from videos.typed import typed_fields

FUSED_ADAM = partial(torch.optim.Adam, fused=True)


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


@dataclass(frozen=True, kw_only=True)
@typed_fields(left=("optimizer", "validation_loss", "loggers"))
class TrainingOptions:
    """How `inference.train` trains, and how much of it one sees.

    Attributes:
        learning_rate: a number, or a function of the global step.
        batch_size: most sequences in a step, where `train` is given a `VideoBatch`; a `VideoSource` has its own.
        optimizer: called as `optimizer(parameters, lr=...)`, such as `torch.optim.Adam` or a partial of one. By default
            Adam in one kernel.
        clip_norm: largest norm of the gradient, in nats per sequence; None does not clip.
        log_every: steps between lines of metrics.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        keep_last: how many checkpoints are kept.
        patience: end after this many validations in a row, in the last stage, without a new best; None never does.
        validation_loss: the ELBO that the reported bound comes from, the same in all stages. None takes the loss of
            `train`, whatever the losses of stages; if that is no ELBO, so that its value is no bound,
            `pyro.infer.Trace_ELBO()`.
        seed: seed of all random streams in training.
        compile: how steps are taken, see `SVI`; eagerly while videos grow so fast that a graph of each length does not
            pay. The modes differ by rounding, so a run ends with the same bits only if it is resumed in the same mode.
        precision: of networks in training steps, see `mixed_precision`; validation is in float32.
        progress: show a progress bar, if this is a terminal or a notebook.
        tensorboard: also write event files, into `<run>/tensorboard`.
        loggers: where metrics also go: any objects with `start`, `write` and `close`, see `Logger`.
        processes: processes that train together, each on its share of each batch; see `joined_processes`. A run may be
            resumed with another number of them. All processes are given the same arguments; the first one writes.
        force: take the run from another process that trains in its folder, which then stops; see
            `inference.runs.lock`.

    Raises:
        ValueError: if one of them is not as described.
        TypeError: if the optimizer is one of Pyro's or was created already, or a logger lacks a method.
    """

    learning_rate: Schedule = 0.001
    batch_size: int = 32
    optimizer: Callable[..., torch.optim.Optimizer] = FUSED_ADAM
    clip_norm: Number | None = None
    log_every: int = 50
    validate_every: int = 500
    checkpoint_every: int = 500
    keep_last: int = 2
    patience: int | None = None
    validation_loss: ELBO | None = None
    seed: int = 0
    compile: str = "off"
    precision: str = "float32"
    progress: bool = True
    tensorboard: bool = False
    loggers: Sequence[Logger] = ()
    processes: Processes = ALONE
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "log_every", "validate_every", "checkpoint_every", "keep_last", "patience"):
            count = getattr(self, name)
            if count is not None:
                check_count(name, count)
        for name in ("learning_rate", "clip_norm"):
            number = getattr(self, name)
            if number is not None and not callable(number):
                check_positive(name, number, or_zero=name == "learning_rate")
        check_optimizer_class(self.optimizer)
        check_loggers(self.loggers)
        check_mode(self.compile)
        check_precision(self.precision)

    def all_loggers(self) -> list[Logger]:
        """TensorBoard's, if it is wanted, and those that were given."""
        return [*([TensorBoard()] if self.tensorboard else []), *self.loggers]

    def settings(self) -> dict[str, Any]:
        """What the numbers of a run depend on, as plain values."""
        kept = ("clip_norm", "log_every", "validate_every", "patience", "seed", "precision")
        described = {name: describe(getattr(self, name)) for name in ("learning_rate", "optimizer")}
        return {name: getattr(self, name) for name in kept} | described
