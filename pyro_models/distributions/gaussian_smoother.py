"""E[z | a] of a linear-Gaussian state-space model as one operator: the fused kernel, or the torch reference.

`torch.ops.kinema.gaussian_smoothed_mean` is one node for tracing, like `gaussian_log_prob`, under the same conditions.
Its derivative needs no second kernel. The smoothed path z solves, with multipliers l and v, the symmetric system

    z_1 - P l_1 = m,  z_t - A z_{t-1} - Q l_t = b_t,  l_t - A'l_{t+1} - C'v_t = s_t,  C z_t + R v_t = a_t - d_t

(C_t = 0, v_t = 0 at missing steps; s is a tilt of the path's density by exp(sum_t s_t'z_t), normally 0). The adjoint of
a symmetric system is the system itself: for an adjoint s of z, one solution (q, l*, v*) for tilt s and without m, b, a,
d gives all gradients as products over single steps,

    m* = l*_1, b*_t = l*_t, a*_t = -v*_t, d*_t = v*_t, P* = sym(l*_1 l_1'), Q*_t = sym(l*_t l_t'),
    A*_t = l*_t z_{t-1}' + l_t q_{t-1}', C*_t = v_t q_t' + v*_t z_t', R*_t = sym(v*_t v_t')
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_models.distributions.gaussian_marginal import EVENT_DIMS_OF_INPUTS, PARAMETERS, is_traced, kernel_serves
from pyro_models.distributions.gaussian_numerics import symmetrize
from pyro_models.distributions.gaussian_steps import smoothed_mean
from pyro_models.distributions.state_space import StateSpace

_OPERATOR = "kinema::gaussian_smoothed_mean"


def gaussian_smoothed_mean(model: StateSpace, values: Tensor) -> Tensor:
    """E[z_t | a], (*batch, time, state); `values` must be finite also where they are missing."""
    dtype = torch.promote_types(model.dtype, values.dtype)
    if not kernel_serves(model, values, dtype):
        return smoothed_mean(model.double(), values.double()).to(dtype)
    *inputs, observed = values, *model.tensors
    inputs = [tensor if tensor is None or tensor.dtype == dtype else tensor.to(dtype) for tensor in inputs]
    if is_traced(values):
        return torch.ops.kinema.gaussian_smoothed_mean(*inputs, observed, None)[0]
    return _Eager.apply(*inputs, observed, None)[0]


def _forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    from pyro_models.distributions.gaussian_kernel.call import run_smoother

    return run_smoother(inputs[:10], inputs[10], EVENT_DIMS_OF_INPUTS)


torch.library.define(_OPERATOR, f"({PARAMETERS}, Tensor? tilt) -> (Tensor, Tensor, Tensor)")
torch.library.impl(_OPERATOR, "CPU", _forward)


@torch.library.register_fake(_OPERATOR)
def _fake(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    batches = [
        tensor.shape[: tensor.dim() - dims]
        for tensor, dims in zip(inputs[:10], EVENT_DIMS_OF_INPUTS, strict=True)
        if tensor is not None
    ]
    shape = (*torch.broadcast_shapes(*batches), inputs[0].shape[-2])
    state, obs = inputs[1].shape[-1], inputs[0].shape[-1]
    return inputs[0].new_empty(*shape, state), inputs[0].new_empty(*shape, state), inputs[0].new_empty(*shape, obs)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:10], *output)


def _differentiate(ctx: Any, adjoint: Tensor, *_unused: Any) -> tuple[Tensor | None, ...]:
    """Gradients through the mean; the multipliers stay inside this module."""
    inputs, (mean, pull, residual) = ctx.saved_tensors[:10], ctx.saved_tensors[10:]
    wanted = ctx.needs_input_grad[:9]
    values, *parameters = inputs
    model = StateSpace(*parameters, num_steps=values.shape[-2])
    if torch.is_grad_enabled():  # it may be differentiated again
        again = smoothed_mean(model.double(), values.double()).to(mean.dtype)
        chosen = [tensor for tensor, needed in zip(inputs, wanted, strict=False) if needed]
        found = iter(torch.autograd.grad(again, chosen, adjoint, create_graph=True))
        return *(next(found) if needed else None for needed in wanted), None, None
    solve = torch.ops.kinema.gaussian_smoothed_mean if is_traced(adjoint) else _forward
    nothing = torch.zeros_like(residual), torch.zeros_like(model.initial_mean)
    back = solve(*nothing, *parameters[1:6], None, None, model.observed, adjoint)
    needed = zip(inputs, wanted, _products(mean, pull, residual, *back), strict=False)
    grads = [product.sum_to_size(tensor.shape) if want else None for tensor, want, product in needed]
    return *grads, None, None


def _products(z: Tensor, pull: Tensor, v: Tensor, q: Tensor, back_pull: Tensor, back_v: Tensor) -> Sequence[Tensor]:
    """Gradients of the nine parameters before they are summed to their shapes, by the equations above."""

    def outer(x: Tensor, y: Tensor) -> Tensor:
        return x[..., :, None] * y[..., None, :]

    move, back_move = pull[..., 1:, :], back_pull[..., 1:, :]
    return (
        -back_v,
        back_pull[..., 0, :],
        symmetrize(outer(back_pull[..., 0, :], pull[..., 0, :])),
        outer(back_move, z[..., :-1, :]) + outer(move, q[..., :-1, :]),
        symmetrize(outer(back_move, move)),
        outer(v, q) + outer(back_v, z),
        symmetrize(outer(back_v, v)),
        back_move,
        back_v,
    )


torch.library.register_autograd(_OPERATOR, _differentiate, setup_context=_save)


class _Eager(torch.autograd.Function):
    """The operator without the dispatcher, which at small sizes takes longer than the sweeps."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        output = _forward(*inputs)
        _save(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor) -> tuple[Tensor | None, ...]:
        return _differentiate(ctx, *adjoints)
