"""RMSProp as TensorFlow has it, which torch's is not."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class TensorFlowRMSprop(torch.optim.Optimizer):
    """RMSProp with momentum, as in TensorFlow 1::

        s <- rho s + (1 - rho) g^2,   m <- mu m + lr g / sqrt(s + eps),   p <- p - m;      s starts at ONE

    torch.optim.RMSprop starts at zero, which makes the first steps as large as lr / sqrt(1 - rho) whatever the
    gradient, and adds eps outside the root. Starting at one is a warm-up: steps are proportional to gradients until
    the average has learned their size (Kosiorek et al. 2018 train with this).

    Args:
        params: to be trained.
        lr: learning rate.
        decay: rho.
        momentum: mu.
        eps: added to the average of squares.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-5,
        decay: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1e-10,
    ) -> None:
        if not lr >= 0 or not 0 <= decay < 1 or not 0 <= momentum < 1 or not eps > 0:
            raise ValueError(
                "lr, decay, momentum, eps: expected lr >= 0, decay and momentum in [0, 1) and eps > 0, "
                f"got lr={lr}, decay={decay}, momentum={momentum}, eps={eps}"
            )
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient.

        Args:
            closure: called first, with gradients; its result is returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            for parameter in moved:
                if not self.state[parameter]:
                    self.state[parameter]["mean_square"] = torch.ones_like(parameter)
                    self.state[parameter]["momentum"] = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in moved]
            squares = [self.state[parameter]["mean_square"] for parameter in moved]
            momenta = [self.state[parameter]["momentum"] for parameter in moved]
            torch._foreach_mul_(squares, group["decay"])
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_addcdiv_(momenta, gradients, roots, group["lr"])
            torch._foreach_sub_(moved, momenta)
        return loss
