"""log p(a) of a linear-Gaussian state-space model as one operator: the fused kernel, or the torch reference.

`torch.ops.kinema.gaussian_log_prob` is what tracing and `torch.compile` see, one node forwards and one backwards. It
runs the kernel of `gaussian_kernel` on CPU tensors in float32 or float64, for states up to 16 and observations up to 8
dimensions. Everything else (other devices and dtypes, larger sizes, one step only, double backward, forward mode,
`torch.func` transforms, no numba) is computed by `gaussian_steps`, to the same numbers.
"""

import importlib.util
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from pyro_models.distributions.gaussian_steps import marginal_log_prob
from pyro_models.distributions.state_space import EVENT_DIMS, StateSpace

MAX_STATE, MAX_OBS = 16, 8
_FORWARD = "kinema::gaussian_log_prob"
_BACKWARD = "kinema::gaussian_log_prob_backward"
PARAMETERS = (
    "Tensor a, Tensor initial_mean, Tensor initial_covariance, Tensor transition_matrix, Tensor transition_covariance, "
    "Tensor emission_matrix, Tensor emission_covariance, Tensor? transition_offset, Tensor? emission_offset, "
    "Tensor? observed"
)
EVENT_DIMS_OF_INPUTS = (2, *EVENT_DIMS.values())  # of a and the nine parameters, in the order of the operator


def gaussian_log_prob(model: StateSpace, values: Tensor) -> Tensor:
    """Log p(a), with any batch dims that broadcast, in nats; `values` must be finite also where they are missing."""
    dtype = torch.promote_types(model.dtype, values.dtype)
    if not kernel_serves(model, values, dtype):
        return marginal_log_prob(model.double(), values.double()).to(dtype)
    *inputs, observed = values, *model.tensors
    if any(tensor is not None and tensor.dtype != dtype for tensor in inputs):
        inputs = [None if tensor is None else tensor.to(dtype) for tensor in inputs]
    if is_traced(values):
        return torch.ops.kinema.gaussian_log_prob(*inputs, observed)
    return _Eager.apply(*inputs, observed)


def is_traced(values: Tensor) -> bool:
    """Whether operators are being recorded, by a compiler, dispatch mode (make_fx, fake tensors) or tensor subclass."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or type(values) not in (Tensor, torch.nn.Parameter)
    )


def kernel_serves(model: StateSpace, values: Tensor, dtype: torch.dtype) -> bool:
    """Whether the fused kernel supports these arguments; otherwise the torch reference computes them."""
    return (
        values.is_cpu
        and model.initial_mean.is_cpu
        and dtype in (torch.float32, torch.float64)
        and model.state_dim <= MAX_STATE
        and model.obs_dim <= MAX_OBS
        and model.num_steps > 1
        and forward_ad._current_level < 0
        and not torch._C._are_functorch_transforms_active()
        and _numba_is_installed()
    )


@lru_cache(maxsize=1)
def _numba_is_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


torch.library.define(_FORWARD, f"({PARAMETERS}) -> Tensor")
torch.library.define(_BACKWARD, f"(Tensor adjoint, {PARAMETERS}, bool[] wanted) -> Tensor[]")


def _forward(*inputs: Any) -> Tensor:
    from pyro_models.distributions.gaussian_kernel.call import run_forward

    return run_forward(inputs, EVENT_DIMS_OF_INPUTS)


def _backward(adjoint: Tensor, *inputs: Any) -> list[Tensor]:
    from pyro_models.distributions.gaussian_kernel.call import run_backward

    return run_backward(adjoint, inputs[:-1], inputs[-1], EVENT_DIMS_OF_INPUTS)


torch.library.impl(_FORWARD, "CPU", _forward)
torch.library.impl(_BACKWARD, "CPU", _backward)


@torch.library.register_fake(_FORWARD)
def _fake_forward(*inputs: Any) -> Tensor:
    batches = [
        tensor.shape[: tensor.dim() - dims]
        for tensor, dims in zip(inputs, EVENT_DIMS_OF_INPUTS, strict=True)
        if tensor is not None
    ]
    return inputs[0].new_empty(torch.broadcast_shapes(*batches))


@torch.library.register_fake(_BACKWARD)
def _fake_backward(adjoint: Tensor, *inputs: Any) -> list[Tensor]:
    *tensors, _observed, wanted = inputs
    return [adjoint.new_empty(tensor.shape if needed else 0) for tensor, needed in zip(tensors, wanted, strict=True)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
    inputs = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:9])
    if torch.is_grad_enabled():  # it may be differentiated again
        values, *parameters = inputs
        model = StateSpace(*parameters, num_steps=values.shape[-2])
        log_prob = marginal_log_prob(model.double(), values.double()).to(values.dtype)
        chosen = [tensor for tensor, needed in zip(inputs, wanted, strict=False) if needed]
        grads = torch.autograd.grad(log_prob, chosen, adjoint, create_graph=True)
        found = iter(grads)
        return *(next(found) if needed else None for needed in wanted), None
    backward = torch.ops.kinema.gaussian_log_prob_backward if is_traced(adjoint) else _backward
    grads = backward(adjoint, *inputs, wanted)
    return *(grad if needed else None for grad, needed in zip(grads, wanted, strict=True)), None


torch.library.register_autograd(_FORWARD, _differentiate, setup_context=_save)


class _Eager(torch.autograd.Function):
    """The operator without the dispatcher, which at small sizes takes longer than both sweeps."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        ctx.save_for_backward(*inputs)
        return _forward(*inputs)

    @staticmethod
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        return _differentiate(ctx, adjoint)
