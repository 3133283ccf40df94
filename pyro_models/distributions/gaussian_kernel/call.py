"""Calls of the fused kernel on tensors: shapes to index tables, memory, and the notice of a compilation."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from numba.core import event
from torch import Tensor

from pyro_models.distributions.gaussian_kernel.fused import GRADIENT, LOG_PROB, SMOOTH, build_sweep, work_slots
from pyro_models.distributions.gaussian_kernel.lanes import LaneLayout, lane_layout
from pyro_models.distributions.gaussian_kernel.vectors import LANES

_logger = logging.getLogger(__name__)
_memory = threading.local()
_KINDS = {torch.float32: np.float32(0), torch.float64: np.float64(0)}
_NOT_MASKED = np.ones(1, dtype=np.bool_)
_NOTHING_WANTED = np.zeros(9, dtype=np.bool_)


@dataclass(frozen=True)
class _Plan:
    """Quantities that follow from the shapes of the arguments."""

    state: int
    obs: int
    forward_slots: int
    backward_slots: int
    lanes: LaneLayout
    times: np.ndarray
    given: np.ndarray


@lru_cache(maxsize=64)
def _plan(shapes: tuple[torch.Size | None, ...], event_dims: tuple[int, ...]) -> _Plan:
    batches = tuple(
        torch.Size() if shape is None else shape[: len(shape) - dims]
        for shape, dims in zip(shapes, event_dims, strict=True)
    )
    times = [1 if shape is None else shape[-dims] for shape, dims in zip(shapes, event_dims, strict=True)][:9]
    times[1] = times[2] = 1  # the first state has no time dim
    values, mean = shapes[0], shapes[1]
    assert values is not None  # the operator's schema
    assert mean is not None
    lanes = lane_layout(batches, LANES)
    return _Plan(
        state=mean[-1],
        obs=values[-1],
        forward_slots=work_slots(mean[-1], values[-1], 1, lanes.repeats),
        backward_slots=work_slots(mean[-1], values[-1], values[-2], lanes.repeats),
        lanes=lanes,
        times=np.array(times),
        given=np.array([shape is not None for shape in shapes[7:]]),
    )


def run_forward(inputs: Sequence[Any], event_dims: tuple[int, ...]) -> Tensor:
    """Log p, of the broadcast batch shape of the ten arguments."""
    plan = _plan(tuple(None if tensor is None else tensor.shape for tensor in inputs), event_dims)
    log_prob = inputs[0].new_empty(plan.lanes.batch_shape)
    _run(plan, inputs, log_prob, LOG_PROB)
    return log_prob


def run_backward(
    adjoint: Tensor, inputs: Sequence[Any], wanted: Sequence[bool], event_dims: tuple[int, ...]
) -> list[Tensor]:
    """Gradients of the first nine arguments where requested, else empty tensors."""
    plan = _plan(tuple(None if tensor is None else tensor.shape for tensor in inputs), event_dims)
    kind = _KINDS[adjoint.dtype].dtype
    # numpy's zeros come zeroed from the system, without threads that a busy machine would delay
    grads = [
        torch.from_numpy(np.zeros(tuple(tensor.shape) if needed else 0, kind))
        for tensor, needed in zip(inputs[:9], wanted, strict=True)
    ]
    _run(plan, inputs, adjoint.contiguous(), GRADIENT, grads, np.array(wanted))
    return grads


def run_smoother(
    inputs: Sequence[Any], tilt: Tensor | None, event_dims: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed means and their two multipliers; `tilt` (*batch, time, state) has the full batch shape."""
    plan = _plan(tuple(None if tensor is None else tensor.shape for tensor in inputs), event_dims)
    shape = (*plan.lanes.batch_shape, inputs[0].shape[-2])
    mean, adjoint = inputs[0].new_empty(*shape, plan.state), inputs[0].new_empty(*shape, plan.state)
    residual = inputs[0].new_empty(*shape, plan.obs)
    tilted = mean if tilt is None else tilt.contiguous()
    _run(plan, inputs, mean, SMOOTH, paths=[tilted, mean, adjoint, residual], tilted=tilt is not None)
    return mean, adjoint, residual


def _run(
    plan: _Plan,
    inputs: Sequence[Any],
    log_prob: Tensor,
    task: int,
    grads: Sequence[Tensor] = (),
    wanted: np.ndarray = _NOTHING_WANTED,
    paths: Sequence[Tensor] = (),
    tilted: bool = False,
) -> None:
    if log_prob.numel() == 0:
        return
    # kept in a list: their memory must live until the kernel returns
    tensors = [log_prob if tensor is None else tensor.contiguous() for tensor in inputs]
    absent = [0] * 9
    addresses = [tensor.data_ptr() for tensor in (*tensors[:9], log_prob)]
    addresses += [tensor.data_ptr() for tensor in grads] or absent
    addresses += [tensor.data_ptr() for tensor in paths] or absent[:4]
    lanes = plan.lanes
    arguments = (
        _work_array(plan.forward_slots if task == LOG_PROB else plan.backward_slots),
        _KINDS[log_prob.dtype],
        np.array(addresses),
        tensors[9].numpy().reshape(-1) if plan.given[2] else _NOT_MASKED,
        plan.times,
        plan.given,
        lanes.table,
        lanes.weight,
        lanes.groups,
        lanes.repeats,
        wanted,
        lanes.shared,
        task,
        tilted,
    )
    _kernel(plan.state, plan.obs, log_prob.dtype)(*arguments)


def _work_array(slots: int) -> np.ndarray:
    """A work array of this thread, kept between calls: fresh memory costs more than the sweep."""
    work = getattr(_memory, "work", None)
    if work is None or work.size < slots * LANES:
        work = _memory.work = np.zeros(slots * LANES)
    return work


@cache
def _sweep(state: int, obs: int) -> Any:
    return build_sweep(state, obs)


@cache
def _kernel(state: int, obs: int, dtype: torch.dtype) -> Any:
    """The kernel, compiled or loaded from disk on its first call; logs a compilation."""
    sweep = _sweep(state, obs)

    def first_call(*arguments: Any) -> None:
        with event.install_listener("numba:compile", _Notice(f"state {state}, obs {obs}, {dtype}")):
            sweep(*arguments)

    called = False

    def call(*arguments: Any) -> None:
        nonlocal called
        if called:
            sweep(*arguments)
        else:
            first_call(*arguments)
            called = True

    return call


class _Notice(event.Listener):
    """Logs that the kernel is being compiled: once per pair of sizes and dtype on a machine."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.started = 0.0

    def on_start(self, event: event.Event) -> None:
        """Before the compilation."""
        if not self.started:
            _logger.info("compiling the Gaussian kernel for %s (a few seconds, kept on disk)", self.what)
            self.started = time.perf_counter()

    def on_end(self, event: event.Event) -> None:
        """After it."""
