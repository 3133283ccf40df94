"""Training a model and a guide: the call, and what it promises."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from pyro.infer import ELBO
from torch import nn

from inference.estimators.objective import Loss, check_loss
from inference.runs.folder import RunFolder
from inference.runtime.generators import preserved_generators
from inference.runtime.host_memory import keep_freed_memory
from inference.runtime.processes import ALONE, Processes
from inference.svi.schedules import Number, Schedule
from inference.training.loop import TrainingLoop
from inference.training.options import TrainingOptions, TrainingResult
from inference.training.progress import Interrupts
from inference.training.stages import Stage
from videos import VideoBatch, VideoSource

__all__ = ["Stage", "TrainingResult", "train"]

FUSED_ADAM = partial(torch.optim.Adam, fused=True)


def train(
    model: nn.Module,
    guide: nn.Module,
    loss: Loss,
    source: VideoSource,
    stages: Sequence[Stage],
    *,
    learning_rate: Schedule,
    run: RunFolder,
    validation: VideoBatch | None = None,
    validation_loss: ELBO | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = FUSED_ADAM,
    clip_norm: Number | None = None,
    log_every: int = 50,
    validate_every: int = 500,
    checkpoint_every: int = 500,
    keep_last: int = 2,
    patience: int | None = None,
    seed: int = 0,
    progress: bool = True,
    tensorboard: bool = False,
    compile: str = "off",
    precision: str = "float32",
    processes: Processes = ALONE,
) -> TrainingResult:
    """Train a model and a guide, or go on with a training that was interrupted.

    If the run folder has a checkpoint, weights, optimizer and random streams continue from it: a run that was killed
    at any moment and called again ends, on a CPU, with the same bits as one that was not (with Pyro's TraceGraph_ELBO,
    which adds up in the order of Python's sets, if both had the same PYTHONHASHSEED). Ctrl-C finishes the step,
    writes a checkpoint and raises KeyboardInterrupt; a second Ctrl-C does not wait.

    Nothing is read back from the device except every `log_every` steps, at validations and at checkpoints; this is
    also when non-finite values are noticed. Pyro validates the first step of each stage and of each process; the later
    ones run without validation. The caller's random streams are as before when it returns. The process keeps its peak
    memory (`inference.runtime.host_memory`).

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`.
        guide: called with the same arguments. It holds its model, if it does, as a plain reference.
        loss: a `pyro.infer.ELBO`, or another `Objective`, such as a `WeightedSum`; a stage may have its own. What it
            reaches are parameters of model and guide.
        source: gives the batch of each step. Batches go to the parameters' device.
        stages: one after the other.
        learning_rate: a number, or a function of the global step.
        run: where everything is written, from `RunFolder.start`.
        validation: a `VideoBatch` on which the bound of model and guide (no site weights, its own fixed seed,
            evaluation mode) is computed, in pieces as large as a training batch; the weights that maximise it are kept.
        validation_loss: the ELBO that this bound comes from, the same in all stages. None takes `loss`, whatever the
            losses of stages; if `loss` is no ELBO, so that its value is no bound, `pyro.infer.Trace_ELBO()`.
        optimizer: called as `optimizer(parameters, lr=...)`, such as `torch.optim.Adam` or a partial of one. By default
            Adam in one kernel.
        clip_norm: largest norm of the gradient, in nats per sequence; None does not clip.
        log_every: steps between lines of metrics.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        keep_last: how many checkpoints are kept.
        patience: end after this many validations in a row, in the last stage, without a new best; None never does.
        seed: of all random streams that training draws from.
        progress: show a progress bar, if this is a terminal or a notebook.
        tensorboard: also write event files, into `<run>/tensorboard`.
        compile: how steps are taken, see `SVI`. Numbers of other ways differ by rounding, so only a run that goes on in
            the same one ends with the same bits.
        precision: of networks in training steps, see `mixed_precision`; validation is in float32.
        processes: which train together, each on its share of each batch; see `joined_processes`. A run may go on with
            another number of them. All processes are given the same arguments; the first one writes.

    Returns:
        How it ended. Model and guide hold the last weights; `run.load_weights(model, guide)` gives the best.

    Raises:
        ValueError: if an argument is not as described, if a pattern of `frozen` matches no parameter, if a run goes on
            with other settings (all are named; the last stage's steps may grow, stages may be added), if tensorboard is
            wanted and not installed, or if a loss has models or guides of its own with learnable parameters or changing
            buffers that are not among those of model and guide.
        TypeError: if a loss is neither an ELBO nor an `Objective`, or `validation_loss` is no ELBO.
        NonFiniteError: if a loss or a gradient was not finite; names the step, the site that was the first, and the
            last good checkpoint.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is written.
    """
    check_loss(loss, "loss")
    if not stages:
        raise ValueError("stages: expected at least one, got none")
    options = TrainingOptions(
        learning_rate,
        optimizer,
        clip_norm,
        log_every,
        validate_every,
        checkpoint_every,
        keep_last,
        patience,
        seed,
        compile,
        precision,
    )
    keep_freed_memory()
    loop = TrainingLoop(model, guide, loss, source, stages, run, validation, options, processes, validation_loss)
    with preserved_generators(), Interrupts() as interrupts:
        try:
            return loop.run_stages(interrupts, progress, tensorboard)
        finally:
            loop.unfreeze()
