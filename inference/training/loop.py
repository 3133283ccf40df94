"""The training loop: stages, schedules, validation, checkpoints, and an honest end."""

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import pyro
import torch
from pyro.infer import ELBO
from torch import nn

from inference.estimators.objective import Loss, programs_of
from inference.programs.violations import SupportError, Violations, at_step
from inference.runs.checkpoints import STATE, assign_weights, named_weights
from inference.runs.folder import RunFolder
from inference.runtime.generators import capture_generators, restore_generators
from inference.svi.evaluation import evaluate_loss
from inference.svi.nonfinite import inspect_step
from inference.svi.reach import check_own_parameters
from inference.svi.schedules import value_at
from inference.svi.step import SVI, NonFiniteError
from inference.svi.weighted_sum import WeightedSum
from inference.training.graphs import graphs_where_worthwhile
from inference.training.interrupts import Interrupts
from inference.training.loggers import started
from inference.training.loss_settings import flat_loss_settings, loss_settings
from inference.training.options import TrainingOptions, TrainingResult
from inference.training.progress import ProgressBar
from inference.training.reported_bound import reported_bound
from inference.training.same_settings import check_same_settings
from inference.training.saved_state import check_training_state, resuming_from
from inference.training.stages import Stage, learnable_parameters, scheduled_buffers, split_frozen
from inference.training.streams import TrainingStreams
from inference.training.unsaved_buffers import UnsavedBuffers
from videos import VideoBatch, VideoSource


class TrainingLoop:
    """The state of a training run and the steps that change it."""

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        loss: Loss,
        source: VideoSource,
        stages: Sequence[Stage],
        run: RunFolder,
        validation: VideoBatch | None,
        options: TrainingOptions,
    ) -> None:
        self.processes = options.processes
        self.model, self.guide, self.loss, self.source = model, guide, loss, source
        self.stages, self.run, self.validation, self.options = stages, run, validation, options
        self.bound = reported_bound(loss, options.validation_loss)
        self.settings = options.settings() | {
            "loss": loss_settings(loss),
            "stages": [stage.settings() for stage in stages],
        }
        if options.validation_loss is not None or not isinstance(loss, ELBO):
            self.settings["validation_loss"] = loss_settings(self.bound)
        self.streams = TrainingStreams(options.seed)
        self.parameters = learnable_parameters(model, guide)
        if not self.parameters:
            raise ValueError("model, guide: expected parameters that learn, got none that requires a gradient")
        self.device = next(iter(self.parameters.values())).device
        for stage in stages:
            split_frozen(self.parameters, stage.frozen)
            check_own_parameters(programs_of(self._loss_of(stage)), self.parameters.values())
        self.buffers = scheduled_buffers(model, guide, {name: 0 for stage in stages for name in stage.buffers})
        self.stage, self.step, self.svi = -1, 0, None
        self.window, self.window_steps = torch.zeros((), device=self.device), 0
        self.last_loss: float | None = None
        self.best_bound: float | None = None
        self.best_step: int | None = None
        self.stale = 0
        self.ended_early = False
        self.seconds_before, self.began = 0.0, time.monotonic()
        self.checkpointed: tuple[int, int] | None = None  # step and stage of the last checkpoint
        self.snapshot: dict[str, Any] = {}
        self.validated: set[tuple[Any, ...]] = set()  # stages, and shapes of batches in them

    @property
    def seconds(self) -> float:
        """Time in the loop so far, over all processes that worked on the run."""
        return self.seconds_before + time.monotonic() - self.began

    def run_stages(self, interrupts: Interrupts) -> TrainingResult:
        """Take all steps that are left; see `inference.train`."""
        self._resume()
        self._take_steps(interrupts)
        self._write_checkpoint()
        return TrainingResult(
            steps=self.step,
            loss=self.last_loss,
            best_bound=self.best_bound,
            best_step=self.best_step,
            ended_early=self.ended_early,
            seconds=self.seconds,
        )

    def _take_steps(self, interrupts: Interrupts) -> None:
        ends = [sum(stage.steps for stage in self.stages[: index + 1]) for index in range(len(self.stages))]
        leads = self.processes.leads
        with (
            started(self.options.all_loggers() if leads else [], self.run, self.step) as write,
            ProgressBar(ends[-1], self.step, self.options.progress and leads) as bar,
        ):
            for index, end in enumerate(ends):
                if index > self.stage and not self.ended_early:
                    self._enter(index)
                while index == self.stage and self.step < end and not self.ended_early:
                    self._take_step()
                    record = self._measure(end)
                    bar.advance(record)
                    if record is not None:
                        write(record)
                    stop = interrupts.stop(self.processes, waits=record is not None)
                    if self.step % self.options.checkpoint_every == 0 or stop:
                        self._write_checkpoint()
                    if stop:
                        raise interrupts.error(f"stopped after step {self.step}; the run can go on from there")

    def last_good(self) -> str:
        """Where the run can go on from, in words."""
        if self.checkpointed is None:
            return "no checkpoint was written yet"
        return f"the last good checkpoint is {self.run.checkpoint_path(self.checkpointed[0])}"

    def unfreeze(self) -> None:
        """Let all parameters learn again that did when this was built."""
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)

    # beginning

    def _resume(self) -> None:
        """Continue from the last checkpoint, or write the first one: a run is resumable from its first step on."""
        checkpoint = self.processes.of_the_leader(lambda: self.run.last_checkpoint(check_training_state))
        if checkpoint is None:
            if self.processes.leads:
                self.run.cut_back({})
                self.run.set_aside_after(-1)
            self.processes.align((self.model, self.guide))
            self.streams.start_training()
            self._write_checkpoint()
            return
        state = checkpoint.state
        check_same_settings(state, self.settings, flat_loss_settings(self.loss))
        assign_weights(self.model, self.guide, checkpoint.weights)
        with resuming_from(checkpoint.path / STATE, state, [stage.steps for stage in self.stages]):
            self._restore(state)
        if self.processes.leads:
            self.run.cut_back(state["sizes"])
            self.run.set_aside_after(state["step"])
        self._take_snapshot()

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.streams = replace(self.streams, version=state.get("streams", 1))
        self.step, self.checkpointed = state["step"], (state["step"], state["stage"])
        if state["stage"] >= 0:
            self._set_stage(state["stage"])
            assert self.svi is not None
            self.svi.optimizer.load_state_dict(state["optimizer"])
        self.window, self.window_steps = state["window"].to(self.device), state["window_steps"]
        self.last_loss, self.best_bound, self.best_step = state["last_loss"], state["best_bound"], state["best_step"]
        self.stale, self.ended_early = state["stale"], state["ended_early"]
        self.seconds_before = state["seconds"]
        restore_generators(state["generators"])

    def _enter(self, index: int) -> None:
        """Begin a stage: rearrange, freeze, and make its optimizer."""
        stage = self.stages[index]
        previous = None if self.svi is None or stage.fresh_optimizer else self.svi.optimizer
        if index > 0 and self.stages[index - 1].buffers:
            self.best_bound = self.best_step = None  # bounds of another model
        if stage.prepare is not None:
            stage.prepare(self.model, self.guide)
            self.processes.align((self.model, self.guide))
        self._set_stage(index)
        if previous is not None and self.svi is not None:
            for parameter in (parameter for group in self.svi.optimizer.param_groups for parameter in group["params"]):
                if parameter in previous.state:
                    self.svi.optimizer.state[parameter] = previous.state[parameter]
        self._take_snapshot()

    def _set_stage(self, index: int) -> None:
        stage = self.stages[index]
        learning, still = split_frozen(self.parameters, stage.frozen)
        for parameter in learning:
            parameter.requires_grad_(True)
        for parameter in still:
            parameter.requires_grad_(False)
        optimizer = self.options.optimizer(learning, lr=value_at(self.options.learning_rate, self.step))
        self.svi = SVI(
            self.model,
            self.guide,
            optimizer,
            self._loss_of(stage),
            site_weights=stage.site_weights,
            clip_norm=self.options.clip_norm,
            compile=self.options.compile,
            precision=self.options.precision,
            expected_steps=stage.steps,
            processes=self.processes,
        )
        self.svi.num_steps = self.step
        self.unsaved = UnsavedBuffers(programs_of(self.svi.loss), self.model, self.guide)
        self.stage = index

    def _loss_of(self, stage: Stage) -> Loss:
        return self.loss if stage.loss is None else stage.loss

    # one step

    def _batch(self) -> tuple[Any, ...]:
        """The arguments of this step, with the learning rate, the buffers and other processes' random streams set."""
        assert self.svi is not None
        if not self.processes.leads:  # the leader's stream is the run's own and goes on from checkpoints
            self.streams.start_step(self.step, self.processes.rank)
        for group in self.svi.optimizer.param_groups:
            group["lr"] = value_at(self.options.learning_rate, self.step)
        for name, schedule in self.stages[self.stage].buffers.items():
            self.buffers[name].fill_(value_at(schedule, self.step))
        return self.processes.share(self.source.batch(self.step)).to(self.device).arguments

    def _take_step(self) -> None:
        assert self.svi is not None
        args = self._batch()
        kind = (self.stage, *(None if one is None else tuple(one.shape) for one in args))
        try:
            # a compiled step is traced again for another shape, and cannot look at values later
            graphs = graphs_where_worthwhile(self.svi, self.source, self.step, self.options.compile, self.device)
            with pyro.validation_enabled(kind not in self.validated), graphs:
                loss = self.svi.step(*args)
        except (ArithmeticError, RuntimeError, ValueError) as error:
            if isinstance(error, SupportError) and error.finite:
                raise at_step(error, self.step, self.last_good()) from error
            self._explain(error, self.step)
        self.validated.add(kind)
        self.window = self.window + loss
        self.window_steps += 1
        self.step += 1

    def _measure(self, stage_end: int) -> dict[str, Any] | None:
        """Log and validate, if it is time; returns the record that was written."""
        log = self.step % self.options.log_every == 0 or self.step == stage_end
        validate = self.validation is not None and (
            self.step % self.options.validate_every == 0 or self.step == stage_end
        )
        if not (log or validate):
            return None
        self._check_finite()
        record: dict[str, Any] = {"step": self.step, "stage": self.stage}
        if log:
            record |= self._log()
        if validate:
            record["validation_bound"] = self._validate()
        if self.processes.leads:
            self.run.append_metrics(record, self.seconds)
        return record

    def _log(self) -> dict[str, Any]:
        """The mean loss since the last log, the last gradient norm, and what schedules gave for the last step."""
        assert self.svi is not None
        assert self.svi.gradient_norm is not None
        self.last_loss = float(self.window) / self.window_steps
        self.window, self.window_steps = torch.zeros((), device=self.device), 0
        record: dict[str, Any] = {
            "loss": self.last_loss,
            "gradient_norm": float(self.svi.gradient_norm),
            "learning_rate": value_at(self.options.learning_rate, self.step - 1),
        }
        record |= self.stages[self.stage].values_at(self.step - 1)
        if isinstance(self.svi.loss, WeightedSum):
            weights = self.svi.loss.weights_at(self.step - 1)
            record |= {f"loss_weight/{name}": weight for name, weight in weights.items()}
        return record

    def _validate(self) -> float | None:
        """The validation bound in nats per sequence; None if it is not finite, which is never a best one."""
        assert self.validation is not None
        total, size = 0.0, self.source.batch(0).num_sequences
        for number, start in enumerate(range(0, self.validation.num_sequences, size)):
            if number % self.processes.size != self.processes.rank:
                continue
            piece = self.validation.select(slice(start, start + size)).to(self.device)
            with self.streams.validation(number):
                loss = evaluate_loss(self.bound, self.model, self.guide, *piece.arguments)
                total -= loss * piece.num_sequences
        bound = self.processes.total(total) / self.validation.num_sequences
        if math.isfinite(bound) and (self.best_bound is None or bound > self.best_bound):
            self.best_bound, self.best_step, self.stale = bound, self.step, 0
            if self.processes.leads:
                self.run.write_best(self.step, bound, named_weights(self.model, self.guide))
        elif self.stage == len(self.stages) - 1:
            self.stale += 1
            self.ended_early = self.options.patience is not None and self.stale >= self.options.patience
        return bound if math.isfinite(bound) else None

    # what is kept

    def _write_checkpoint(self) -> None:
        if self.checkpointed == (self.step, self.stage):
            return
        if self.svi is not None:
            self._check_finite()
            self.unsaved.check()
        state = {
            "step": self.step,
            "stage": self.stage,
            "settings": self.settings,
            "nested_losses": True,  # settings of losses within losses are recorded
            "streams": self.streams.version,
            "optimizer": self.svi.optimizer.state_dict() if self.svi is not None else {},
            "generators": capture_generators(),
            "window": self.window,
            "window_steps": self.window_steps,
            "last_loss": self.last_loss,
            "best_bound": self.best_bound,
            "best_step": self.best_step,
            "stale": self.stale,
            "ended_early": self.ended_early,
            "seconds": self.seconds,
        }
        if self.processes.leads:
            weights = named_weights(self.model, self.guide)
            self.run.write_checkpoint(self.step, weights, state, self.options.keep_last)
        self.checkpointed = (self.step, self.stage)

    def _take_snapshot(self) -> None:
        """Keep, in memory, what is needed to take the next steps again."""
        if self.svi is not None:
            self.snapshot = {
                "step": self.step,
                "weights": {
                    name: tensor.detach().clone() for name, tensor in named_weights(self.model, self.guide).items()
                },
                "optimizer": copy.deepcopy(self.svi.optimizer.state_dict()),
                "generators": capture_generators(),
            }

    # when something is not finite

    def _check_finite(self) -> None:
        """Read back whether all losses, gradients and parameters so far are finite."""
        assert self.svi is not None
        try:
            self.svi.check_finite()
        except NonFiniteError as error:
            self._explain(error, error.step)
        largest = torch.stack(torch._foreach_norm(list(self.parameters.values()), torch.inf))
        if not bool(torch.isfinite(largest).all()):
            named = zip(self.parameters, largest.tolist(), strict=True)
            names = [name for name, value in named if not math.isfinite(value)]
            step = self.step - 1
            raise NonFiniteError(
                f"step {step}: after the update {names[0]!r} is not finite, though loss and gradient were; "
                f"{self.last_good()}",
                step,
            )
        self._take_snapshot()

    def _explain(self, error: Exception, failing: int) -> NoReturn:
        """Go back to the last snapshot and take its steps again, looking at every site.

        Raises:
            NonFiniteError: names the step and, if one is to blame, the site.
            Exception: the error itself, if it was another and all numbers are finite.
        """
        assert self.svi is not None
        assign_weights(self.model, self.guide, self.snapshot["weights"])
        self.svi.optimizer.load_state_dict(self.snapshot["optimizer"])
        self.svi.forget_nonfinite()
        self.step = self.svi.num_steps = self.snapshot["step"]
        restore_generators(self.snapshot["generators"])
        outside = ""
        while self.step <= failing:
            try:
                with Violations() as violations:
                    reason = inspect_step(self.svi, self._batch())
            except (ArithmeticError, RuntimeError, ValueError):
                raise error from None
            outside = f"{violations.found[0]}; " if violations.found else ""
            if reason is not None:
                raise NonFiniteError(
                    f"step {self.step}: loss or gradient is not finite; {reason}; {self.last_good()}", self.step
                ) from error
            self.step += 1
        if not isinstance(error, NonFiniteError):
            raise error
        raise NonFiniteError(
            f"step {failing}: the loss or a gradient was not finite, but finite when that step was repeated; "
            f"{outside}{self.last_good()}",
            failing,
        ) from error
