"""Gradients inside a guide: they work in training, where they are differentiated again, and in evaluation alike."""

from collections.abc import Callable

import torch
from torch import Tensor


def inner_gradients(
    function: Callable[..., Tensor], *points: Tensor, differentiable: bool = True, keep_graph: bool = False
) -> tuple[Tensor, ...]:
    """The gradient of a function's sum at some points, for use inside a guide's `forward`.

        g_i = d/dx_i sum_n f_n(x_1, x_2, ...)

    If f_n depends on the entries of sequence n alone, as `log_joint` does, g has each sequence's own gradient.

    While gradients are recorded, as in a training step, g is differentiable: with respect to the points (a second
    derivative), to the parameters that f reads, and through both to those of earlier refinements. Under
    `torch.no_grad()`, as in evaluation, evidence and queries, gradients are recorded for f alone and nothing of it is
    kept. A traced step records the operations of both derivatives like any others.

    Args:
        function: called with the points; a tensor of any shape.
        points: floating point tensors, of any shape; whether they require gradients does not matter.
        differentiable: False leaves out second derivatives: g is a constant to training, which is cheaper and no longer
            the exact gradient of what the guide does (so Greff et al. 2019).
        keep_graph: True leaves the graph of the function usable while gradients are recorded, for tensors that it
            computed on its way and that training differentiates as well; without effect if `differentiable`.

    Returns:
        One gradient for each point, of its shape.

    Raises:
        ValueError: if the function does not depend on a point.
        RuntimeError: inside `torch.inference_mode()`, where nothing can be differentiated.

    Example:
        Three steps uphill, as a guide takes them; `self.step_size` learns.

        >>> import torch
        >>> mean, step_size = torch.zeros(2), torch.tensor(0.5, requires_grad=True)
        >>> for _ in range(3):
        ...     (slope,) = inner_gradients(lambda mean: -0.5 * (mean - 1).square(), mean)
        ...     mean = mean + step_size * slope
        >>> mean
        tensor([0.8750, 0.8750], grad_fn=<AddBackward0>)
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "inner_gradients: expected torch.no_grad() around an evaluation, got torch.inference_mode(), in which "
            "nothing can be differentiated; use torch.no_grad()"
        )
    recording = torch.is_grad_enabled()
    with torch.enable_grad():
        places = [one if recording and one.requires_grad else one.detach().requires_grad_() for one in points]
        total = function(*places).sum()
        slopes = (
            torch.autograd.grad(
                total,
                places,
                create_graph=recording and differentiable,
                retain_graph=recording and (differentiable or keep_graph),
                allow_unused=True,
            )
            if total.requires_grad
            else (None,) * len(places)
        )
    found = [slope for slope in slopes if slope is not None]
    if len(found) < len(slopes):
        number = next(index for index, slope in enumerate(slopes) if slope is None)
        raise ValueError(
            f"function: expected one that depends on every point, it does not depend on number {number}; compute with "
            "its arguments (detach() and no_grad() cut the path), or leave that point out"
        )
    return tuple(found)
