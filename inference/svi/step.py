"""One step of stochastic variational inference, for parameters that live in modules."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pyro
import torch
from jaxtyping import Float
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from inference.estimators.objective import (
    Loss,
    Objective,
    begin_step,
    check_loss,
    find_plate_nesting,
    programs_of,
    scalar_loss,
)
from inference.programs.given_videos import check_given
from inference.programs.pairs import check_pair
from inference.programs.traces import Program, local_parameters, modules_of
from inference.runtime.numbers import check_positive
from inference.runtime.processes import ALONE, Processes
from inference.svi.compiled import CompiledStep, check_mode
from inference.svi.evaluation import count_sequences, evaluate_loss, explained
from inference.svi.frames_watch import FramesWatch, is_light
from inference.svi.mixed_precision import check_precision, mixed_precision
from inference.svi.reach import check_own_parameters, check_reach
from inference.svi.schedules import Number, Schedule
from inference.svi.site_weights import SiteWeights
from inference.svi.unread_values import unread_values
from inference.svi.update import ParameterUpdate, check_optimizer

ARGUMENTS = "frames", "observed", "controls"  # of every model and guide, in this order
DECAYING_AVERAGE = "__baseline_avg_downstream_cost_"  # of Pyro's TraceGraph_ELBO, in its global store


class NonFiniteError(ArithmeticError):
    """A loss or a gradient was not finite.

    Attributes:
        step: the step at which it was first seen, counted from 0.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class SVI:
    """Stochastic variational inference for any model, guide, loss and torch optimizer.

    With an ELBO as its loss, a step draws from the guide, runs the model against it, follows the gradient of the
    negative bound per sequence, and returns that negative bound. Parameters live in the modules, and Pyro's global
    parameter store is left as it was. Without Pyro's validation nothing is read back from the device (of Pyro's losses,
    `RenyiELBO` and `ReweightedWakeSleep` do that), so the check for non-finite values is separate: see `check_finite`.
    With it, an eager step also refuses frames with values that are not finite or no light.

    Args:
        model: a callable with Pyro sites, usually a `PyroModule`.
        guide: a callable that draws the model's latent sites; it may hold its model, as a plain reference.
        optimizer: a torch optimizer of the parameters that are to change; one without a closure.
        loss: a `pyro.infer.ELBO`, ours or Pyro's, or another `Objective`, such as a `WeightedSum`. A copy is kept: what
            it remembers about a model stays here.
        site_weights: weights on log probabilities by site name, numbers or functions of the step; see `SiteWeights`.
        clip_norm: largest norm of the gradient of all parameters together, in nats per sequence; None does not clip.
        compile: "off" calls model and guide in each step; "trace" calls them once, then repeats the tensor operations
            that they were made of; "inductor" compiles these operations as well; "cudagraph" replays on a CUDA device
            what they and the update launched; "auto" chooses among the three. The numbers are the same up to rounding.
            See `CompiledStep` for what a compiled step does not notice.
        expected_steps: number of steps that will be taken, if known; "auto" uses it to decide whether compilation pays.
        precision: "bfloat16" lets networks multiply in bfloat16, see `mixed_precision`; densities stay in float32.
        processes: which take steps together, each on its sequences; loss and gradient are those of all.

    Attributes:
        num_steps: steps taken so far; the step at which schedules are evaluated.

    Raises:
        ValueError: if `clip_norm` is not positive, there is no such way to compile, or precision, or a model or guide
            of the loss's own has learnable parameters that neither the optimizer nor model and guide have; or if the
            guide is one of another model.
        TypeError: if `loss` is neither an ELBO nor an `Objective`, `optimizer` is none of torch's, or model or guide is
            a class, a method or no callable.
    """

    def __init__(
        self,
        model: Program,
        guide: Program,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        site_weights: Mapping[str, Schedule] | None = None,
        clip_norm: Number | None = None,
        *,
        compile: str = "off",
        expected_steps: int | None = None,
        precision: str = "float32",
        processes: Processes = ALONE,
    ) -> None:
        check_mode(compile)
        check_precision(precision)
        check_pair(model, guide)
        check_optimizer(optimizer)
        check_loss(loss, "loss")
        if clip_norm is not None:
            check_positive("clip_norm", clip_norm)
        self.model = model
        self.guide = guide
        self.optimizer = optimizer
        self.loss = copy.copy(loss)
        self.site_weights = dict(site_weights or {})
        self.num_steps = 0
        self._update = ParameterUpdate(optimizer, clip_norm)
        self._frames = FramesWatch(light=is_light(model))
        self.precision = precision
        self.processes = processes
        self._mode = compile
        self._expected_steps = expected_steps
        self._compiled: CompiledStep | None = None
        self._weights: dict[str, Tensor] = {}  # what a graph reads; an eager step takes the numbers themselves
        self._own_programs = programs_of(self.loss)
        check_own_parameters(self._own_programs, self._parameters())
        self._programs = (model, guide, *self._own_programs.values())
        self._reach_checked = False

    def step(self, *args: Any, **kwargs: Any) -> Float[Tensor, ""]:
        """Take one step on a batch.

        Args:
            args: positional arguments of model and guide; the first is a tensor whose first dim counts sequences.
            kwargs: their keyword arguments.

        Returns:
            The loss in nats per sequence (of an ELBO, the negative bound), on the device, without gradient.

        Raises:
            TypeError: if the first argument is not a tensor with a dim of sequences, or the loss gives no tensor.
            ValueError: if there is no sequence, frames are refused, a site weight names no site, the loss is no scalar,
                reaches no parameter of the optimizer or one that nobody trains, if a parameter was found in Pyro's
                global store instead of a module, or if a baseline is a decaying average.
            SupportError: a `ValueError`, under Pyro's validation, which is on unless it is switched off: a value is
                outside the support of its distribution, or a parameter outside its range; names the site. A compiled
                step validates when it is traced.
        """
        num_sequences = count_sequences(args)
        weights = SiteWeights.at_step(self.site_weights, self.num_steps)
        self._look_at_frames(args, kwargs)
        begin_step(self.loss, self.num_steps, args[0].device)
        self.optimizer.zero_grad(set_to_none=True)
        with local_parameters(*self._programs), pyro.get_param_store().scope():
            loss = None if self._mode == "off" else self._compiled_step(weights, args, kwargs)
            if loss is None:
                loss = self._loss_and_gradients(weights, args, kwargs)
        loss = self.processes.average(loss, self._update.gradients(), num_sequences)
        recorded = self._mode != "off" and self._compiled is not None and self._compiled.recorded
        self._update.take(loss, self.num_steps, fixed_gradients=recorded)
        self.num_steps += 1
        return loss

    def _look_at_frames(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Read the values of frames where Pyro validates values anyway; otherwise only watch them on the device."""
        if self._mode == "off" and self._frames.light and is_validation_enabled() and args[0].dim() == 5:
            given = dict(zip(ARGUMENTS, args, strict=False)) | dict(kwargs)
            check_given(self.model, args[0], given.get("observed"), given.get("controls"))
        else:
            self._frames.look(args, kwargs, self.num_steps)

    @property
    def gradient_norm(self) -> Tensor | None:
        """Norm of the last step's gradient before clipping, a tensor on the device; None before any."""
        return self._update.gradient_norm

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """Inside, steps are taken eagerly: each site of model and guide runs."""
        mode, self._mode = self._mode, "off"
        try:
            yield
        finally:
            self._mode = mode

    def evaluate_loss(self, *args: Any, **kwargs: Any) -> float:
        """The loss of a batch in nats per sequence: no gradients, no site weights, evaluation mode.

        Args:
            args: as in `step`.
            kwargs: as in `step`.
        """
        count_sequences(args)
        begin_step(self.loss, self.num_steps, args[0].device)
        return evaluate_loss(self.loss, self.model, self.guide, *args, **kwargs)

    def _compiled_step(self, weights: SiteWeights, args: tuple, kwargs: dict[str, Any]) -> Tensor | None:
        """Loss of a compiled step, its gradients left in the parameters; None if it cannot be compiled."""
        if self._compiled is None:
            modules = list(dict.fromkeys(modules_of(*self._programs)))
            self._compiled = CompiledStep(self._mode, modules, list(self._parameters()), self._expected_steps)
            self._weights = {name: torch.zeros((), device=args[0].device) for name in weights.weights}
        for name, weight in weights.weights.items():
            self._weights[name].fill_(weight)

        def eager(*args: Any, **kwargs: Any) -> Tensor:
            return self._loss_and_gradients(SiteWeights(self._weights), args, kwargs)

        return self._compiled.run(eager, args, kwargs)

    def _loss_and_gradients(self, weights: SiteWeights, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        """The loss in nats per sequence; its gradient is left in the parameters."""

        def run() -> Tensor:
            find_plate_nesting(self.loss, self.model, self.guide, args, kwargs)  # without the weights of sites
            with weights if weights.weights else nullcontext(), mixed_precision(self.precision), unread_values():
                return self._mean_loss(count_sequences(args), args, kwargs)

        loss = explained(run)
        weights.check_names()
        self._check_param_store()
        return loss

    def _mean_loss(self, num_sequences: int, args: tuple, kwargs: dict[str, Any]) -> Tensor:
        if isinstance(self.loss, Objective):
            loss = scalar_loss(self.loss, self.model, self.guide, args, kwargs) / num_sequences
            if not self._reach_checked:
                self._check_param_store()
                check_reach(loss, self._parameters(), self._update.parameters(), self._own_programs)
                self._reach_checked = True
            loss.backward()
            return loss.detach()
        loss = self.loss.loss_and_grads(self.model, self.guide, *args, **kwargs)  # pyright: ignore
        loss = loss[0] if isinstance(loss, tuple) else loss  # wake-sleep: the model's bound, then the guide's objective
        gradients = [parameter.grad for parameter in self._parameters() if parameter.grad is not None]
        torch._foreach_div_(gradients, float(num_sequences))
        return torch.as_tensor(loss, dtype=torch.get_default_dtype(), device=args[0].device) / num_sequences

    def _parameters(self) -> Iterator[nn.Parameter]:
        """Every parameter once: the optimizer's, and those of the modules that it leaves alone."""
        seen = set()
        groups = [group["params"] for group in self.optimizer.param_groups]
        owned = [module.parameters(recurse=False) for module in modules_of(self.model, self.guide)]
        for parameter in (parameter for parameters in (*groups, *owned) for parameter in parameters):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter

    def _check_param_store(self) -> None:
        stored = dict(pyro.get_param_store().named_parameters())
        if stored:
            known = {id(parameter) for parameter in self._parameters()}
            foreign = [name for name, parameter in stored.items() if id(parameter) not in known]
            if any(name.startswith(DECAYING_AVERAGE) for name in foreign):
                raise ValueError(
                    "guide: expected baselines without 'use_decaying_avg_baseline', since Pyro averages costs for each "
                    "place in a batch, and new sequences take that place at each step; give a 'baseline_value' that is "
                    "computed from them, as GlimpseAttentionGuide(..., baseline=True) does"
                )
            if foreign:
                raise ValueError(
                    f"model, guide: expected parameters that live in modules, got pyro.param statements for "
                    f"{', '.join(map(repr, foreign))}; make them nn.Parameter or PyroParam attributes of a PyroModule"
                )

    def check_finite(self) -> None:
        """Read back whether any loss or gradient norm so far was not finite; waits for the device.

        Raises:
            NonFiniteError: if one was; names the first such step, and the frames if their values are to blame.
        """
        step = self._update.first_nonfinite()
        if step is not None:
            raise NonFiniteError(f"step {step}: loss or gradient is not finite{self._frames.fault()}", step)

    def forget_nonfinite(self) -> None:
        """Forget it and watch again, after parameters were put back to an earlier state."""
        self._update.forget_nonfinite()
        self._frames.forget()
