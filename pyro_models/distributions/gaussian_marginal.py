"""log p(a) of a linear-Gaussian state-space model as one operator: the fused kernel, or the torch reference.

`torch.ops.kinema.gaussian_log_prob` is what tracing and `torch.compile` see, one node forwards and one backwards. It
runs the kernel of `gaussian_kernel` on CPU tensors in float32 or float64, for states up to 16 and observations up to 8
dimensions. Everything else (other devices and dtypes, larger sizes, one step only, double backward, forward mode,
`torch.func` transforms, no numba) is computed by `gaussian_steps`, to the same numbers.
"""

import importlib.util
import logging
import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pyro_models.distributions.gaussian_steps import marginal_log_prob
from pyro_models.distributions.state_space import EVENT_DIMS, StateSpace

if TYPE_CHECKING:
    import numpy as np

    from pyro_models.distributions.gaussian_kernel_lanes import LaneLayout

MAX_STATE, MAX_OBS = 16, 8
_OPERATOR = "kinema::gaussian_log_prob"
_BACKWARD = "kinema::gaussian_log_prob_backward"
_PARAMETERS = (
    "Tensor a, Tensor initial_mean, Tensor initial_covariance, Tensor transition_matrix, Tensor transition_covariance, "
    "Tensor emission_matrix, Tensor emission_covariance, Tensor? transition_offset, Tensor? emission_offset, "
    "Tensor? observed"
)
_EVENT_DIMS = (2, *EVENT_DIMS.values())  # of a and the nine parameters, in this order
_logger = logging.getLogger(__name__)
_memory = threading.local()


def gaussian_log_prob(model: StateSpace, values: Tensor) -> Tensor:
    """Log p(a), with any batch dims that broadcast, in nats; `values` must be finite also where they are missing."""
    dtype = torch.promote_types(model.dtype, values.dtype)
    if not _kernel_serves(model, values, dtype):
        return marginal_log_prob(model.double(), values.double()).to(dtype)
    *parameters, observed = (None if tensor is None else tensor for tensor in (values, *model.tensors))
    parameters = [tensor if tensor is None or tensor.dtype == dtype else tensor.to(dtype) for tensor in parameters]
    return torch.ops.kinema.gaussian_log_prob(*parameters, observed)


def _kernel_serves(model: StateSpace, values: Tensor, dtype: torch.dtype) -> bool:
    return (
        values.device.type == "cpu"
        and model.initial_mean.device.type == "cpu"
        and dtype in (torch.float32, torch.float64)
        and model.state_dim <= MAX_STATE
        and model.obs_dim <= MAX_OBS
        and model.num_steps > 1
        and forward_ad._current_level < 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and _numba_is_installed()
    )


@lru_cache(maxsize=1)
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


torch.library.define(_OPERATOR, f"({_PARAMETERS}) -> Tensor")
torch.library.define(_BACKWARD, f"(Tensor adjoint, {_PARAMETERS}, bool[] wanted) -> Tensor[]")


@torch.library.impl(_OPERATOR, "CPU")
def _forward(*inputs: Tensor | None) -> Tensor:
    layout = _layout(inputs)
    result = inputs[0].new_empty(layout.batch_shape)
    _sweep(inputs, layout, result, [result] * 9, (False,) * 9, backward=False)
    return result


@torch.library.impl(_BACKWARD, "CPU")
def _backward(adjoint: Tensor, *inputs: Any) -> list[Tensor]:
    *inputs, wanted = inputs
    layout = _layout(inputs)
    grads = _gradients(inputs, wanted, torch.zeros_like)
    _sweep(inputs, layout, adjoint.contiguous(), grads, wanted, backward=True)
    return grads


@torch.library.register_fake(_OPERATOR)
def _fake_forward(*inputs: Tensor | None) -> Tensor:
    return inputs[0].new_empty(torch.broadcast_shapes(*_batch_shapes(inputs)))


@torch.library.register_fake(_BACKWARD)
def _fake_backward(adjoint: Tensor, *inputs: Any) -> list[Tensor]:
    return _gradients(inputs[:-1], inputs[-1], torch.empty_like)


def _gradients(inputs: Sequence[Tensor | None], wanted: Sequence[bool], make: Any) -> list[Tensor]:
    return [
        make(tensor, memory_format=torch.contiguous_format) if needed else inputs[0].new_empty(0)
        for tensor, needed in zip(inputs[:9], wanted, strict=True)
    ]


def _save(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
    inputs = ctx.saved_tensors
    wanted = [tensor is not None and needed for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=True)][:9]
    if torch.is_grad_enabled():  # someone will differentiate this again
        values, *parameters = inputs
        model = StateSpace(*parameters, num_steps=values.shape[-2])
        log_prob = marginal_log_prob(model.double(), values.double()).to(values.dtype)
        chosen = [tensor for tensor, needed in zip(inputs, wanted, strict=False) if needed]
        found = iter(torch.autograd.grad(log_prob, chosen, adjoint, create_graph=True))
        return *(next(found) if needed else None for needed in wanted), None
    grads = torch.ops.kinema.gaussian_log_prob_backward(adjoint, *inputs, wanted)
    return *(grad if needed else None for grad, needed in zip(grads, wanted, strict=True)), None


torch.library.register_autograd(_OPERATOR, _differentiate, setup_context=_save)


def _batch_shapes(inputs: Sequence[Tensor | None]) -> tuple[torch.Size, ...]:
    return tuple(
        torch.Size() if tensor is None else tensor.shape[: tensor.dim() - dims]
        for tensor, dims in zip(inputs, _EVENT_DIMS, strict=True)
    )


def _layout(inputs: Sequence[Tensor | None]) -> "LaneLayout":
    from pyro_models.distributions.gaussian_kernel_lanes import lane_layout
    from pyro_models.distributions.gaussian_kernel_vectors import LANES

    return lane_layout(_batch_shapes(inputs), LANES)


def _sweep(
    inputs: Sequence[Tensor | None],
    layout: "LaneLayout",
    log_prob: Tensor,
    grads: Sequence[Tensor],
    wanted: Sequence[bool],
    *,
    backward: bool,
) -> None:
    """Run the kernel on the tensors' memory."""
    import numpy as np

    values = inputs[0]
    state, obs, num_steps = inputs[1].shape[-1], values.shape[-1], values.shape[-2]
    if layout.batch_shape.numel() == 0:
        return
    flat = [_flat(values if tensor is None else tensor) for tensor in inputs]
    times = [1 if tensor is None else tensor.shape[-dims] for tensor, dims in zip(inputs, _EVENT_DIMS, strict=True)]
    times[1] = times[2] = 1
    arguments = (
        _work_array(state, obs, num_steps if backward else 1, layout.repeats),
        tuple(flat[:9]),
        flat[9] if inputs[9] is not None else np.ones(1, dtype=np.bool_),
        layout.rows,
        np.array(times),
        np.array([tensor is not None for tensor in inputs[7:]]),
        layout.sequence,
        layout.weight,
        _flat(log_prob),
        tuple(_flat(grad) for grad in grads),
        np.array(wanted),
        layout.shared,
        backward,
    )
    _compiled(state, obs, values.dtype, arguments)(*arguments)


def _flat(tensor: Tensor) -> "np.ndarray":
    return tensor.detach().contiguous().view(-1).numpy()


def _work_array(state: int, obs: int, num_steps: int, repeats: int) -> "np.ndarray":
    """A work array of this thread, kept between calls: fresh memory costs more than the sweep."""
    import numpy as np

    from pyro_models.distributions.gaussian_kernel import work_slots
    from pyro_models.distributions.gaussian_kernel_vectors import LANES

    size = work_slots(state, obs, num_steps, repeats) * LANES
    work = getattr(_memory, "work", None)
    if work is None or work.size < size:
        work = _memory.work = np.zeros(size)
    return work


@cache
def _kernel(state: int, obs: int) -> Any:
    from pyro_models.distributions.gaussian_kernel import build_sweep

    return build_sweep(state, obs)


def _compiled(state: int, obs: int, dtype: torch.dtype, arguments: tuple[Any, ...]) -> Any:
    return _kernel(state, obs)
