"""Training a model and a guide: the call, and what it promises."""

import tempfile
from collections.abc import Sequence
from typing import Any

from pyro.infer import Trace_ELBO
from torch import nn

from inference.estimators.objective import Loss, check_loss
from inference.programs.given_videos import check_given
from inference.programs.pairs import check_pair
from inference.runs.checkpoints import named_weights
from inference.runs.folder import RunFolder
from inference.runs.lock import check_still_ours, training_in
from inference.runs.writing import RunWriteError
from inference.runtime.generators import preserved_generators
from inference.runtime.host_memory import keep_freed_memory
from inference.svi.step import NonFiniteError
from inference.training.disk_room import needed_bytes, warn_of_little_room
from inference.training.interrupts import Interrupts, Terminated
from inference.training.loop import TrainingLoop
from inference.training.options import TrainingOptions, TrainingResult
from inference.training.stages import Stage, check_stages
from videos import FixedVideos, VideoBatch, VideoSource

__all__ = ["Stage", "TrainingOptions", "TrainingResult", "train"]


def train(
    model: nn.Module,
    guide: nn.Module,
    videos: VideoBatch | VideoSource,
    stages: Sequence[Stage] | int,
    *,
    loss: Loss | None = None,
    validation: VideoBatch | None = None,
    run: RunFolder | None = None,
    options: TrainingOptions | None = None,
) -> TrainingResult:
    """Train a model and a guide, or resume an interrupted training::

        train(model, guide, videos, 1000)

    If the run folder has a checkpoint, weights, optimizer and random streams continue from it: a run that was killed
    at any moment and called again ends, on a CPU, with the same bits as one that was not (with Pyro's TraceGraph_ELBO,
    which adds up in the order of Python's sets, if both had the same PYTHONHASHSEED). Ctrl-C and SIGTERM finish the
    step, write a checkpoint and raise KeyboardInterrupt or `Terminated`; a second one does not wait. Several processes
    notice them when they next log.

    Nothing is read back from the device except every `log_every` steps, at validations and at checkpoints; this is
    also when non-finite values are noticed. Pyro validates the first step of each stage and of each process; the later
    ones run without validation. The caller's random streams are as before when it returns. The process keeps its peak
    memory (`inference.runtime.host_memory`).

    Args:
        model: a `PyroModule` called `(frames, observed, controls)`.
        guide: called with the same arguments. It holds its model, if it does, as a plain reference.
        videos: to train on, in shuffled batches; or a source that gives the batch of each step. Batches go to the
            parameters' device.
        stages: one after the other; or a number of steps.
        loss: a `pyro.infer.ELBO`, or another `Objective`, such as a `WeightedSum`; a stage may have its own. What it
            reaches are parameters of model and guide. None = `pyro.infer.Trace_ELBO()`.
        validation: videos on which the bound of model and guide (no site weights, its own fixed seed, evaluation mode)
            is computed, in pieces as large as a training batch; the weights that maximise it are kept.
        run: where everything is written, from `RunFolder.start`. None: nothing is kept on disk, so that the training
            cannot be resumed, and the best weights are loaded at the end.
        options: learning rate, batch size and all else; None = `TrainingOptions()`.

    Returns:
        How it ended. With a run folder, model and guide hold the last weights, and `run.load_weights(model, guide)`
        gives the best; without, they hold the best, or the last if there was no validation.

    Raises:
        ValueError: if an argument is not as described, frames of a `VideoBatch` or of the first batch of a source are
            not finite or no light from 0 to 1, if several processes have no run folder, if a pattern of
            `frozen` matches no parameter, if a run is resumed with other settings (all are named; the last stage's
            steps may grow, stages may be added), if tensorboard is requested and not installed, or if a loss has models
            or guides of its own with learnable parameters or changing buffers that model and guide do not have.
        TypeError: if model or guide is a class, a method or no callable, videos are of another type, a loss is neither
            an ELBO nor an `Objective`, or `validation_loss` is no ELBO.
        RunInUseError: if another process trains in the run folder.
        NonFiniteError: if a loss or a gradient was not finite; names the step, the site that was the first, and the
            last good checkpoint.
        RunWriteError: if the disk is full or read-only; names the last good checkpoint, from which the run goes on.
        KeyboardInterrupt: after Ctrl-C, when the checkpoint is written.
        Terminated: after SIGTERM, when the checkpoint is written; a SystemExit with status 143.
    """
    check_pair(model, guide)
    loss = Trace_ELBO() if loss is None else loss
    check_loss(loss, "loss")
    options = TrainingOptions() if options is None else options
    stages = [Stage(stages)] if isinstance(stages, int) else stages
    check_stages(stages)
    source = _source(videos, options)
    for part in (videos if isinstance(videos, VideoBatch) else source.batch(0), validation):
        if part is not None:
            check_given(model, *part.arguments)
    keep_freed_memory()

    def trained(run: RunFolder) -> TrainingResult:
        loop = TrainingLoop(model, guide, loss, source, stages, run, validation, options)
        locked = training_in(run.path, force=options.force, processes=options.processes)
        with locked, preserved_generators(), Interrupts() as interrupts:
            if options.processes.leads:
                needed = needed_bytes(named_weights(model, guide), loop.parameters, options.keep_last)
                warn_of_little_room(run.path, needed)
            try:
                return loop.run_stages(interrupts)
            except RunWriteError as error:
                check_still_ours(run.path)  # files that another process cleaned up are no fault of the disk
                raise RunWriteError(f"{error}; {loop.last_good()}") from error
            finally:
                loop.unfreeze()

    if run is not None:
        return trained(run)
    if options.processes.size > 1:
        raise ValueError("run: expected a run folder, as several processes train together, got None")
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.start(folder, {}, seed=options.seed)
        try:
            result = trained(run)
        except (KeyboardInterrupt, Terminated) as stop:
            raise type(stop)(
                "stopped; without a run folder the training cannot be resumed; model and guide have the last weights"
            ) from None
        except NonFiniteError as error:
            raise NonFiniteError(f"{error}, which is deleted, as there is no run folder", error.step) from error
        if validation is not None:
            run.load_weights(model, guide)
        return result


def _source(videos: Any, options: TrainingOptions) -> VideoSource:
    if isinstance(videos, VideoBatch):
        return FixedVideos(videos, min(options.batch_size, videos.num_sequences), options.seed)
    if not callable(getattr(videos, "batch", None)):
        raise TypeError(
            "videos: expected a VideoBatch, or a source with a method batch(step), got "
            f"{type(videos).__name__}; a loss is a keyword argument: train(model, guide, videos, steps, loss=...)"
        )
    return videos
