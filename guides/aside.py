"""Random numbers that a guide draws aside: they are no site, and have no density.

A guide may draw h ~ q(h | before it), let later latents depend on it, and write no density for h anywhere: the model
extended by the same q(h | before it) still has the evidence p(x), and in the weight p / q the two cancel. Bounds and
importance weights stay valid, and are a little looser. As a site of the guide alone, auxiliary or not, h would add its
entropy to the bound.

Estimators that run a guide again at the same latents need the same h. So the numbers are an effect of their own, which
`AsideNoise` records and repeats; no other handler sees it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import effectful
from torch import Tensor


@effectful(type="aside")
def normal_aside(like: Tensor) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of a tensor, without gradient."""
    return torch.randn_like(like, requires_grad=False)


@effectful(type="aside")
def uniform_aside(like: Tensor) -> Tensor:
    """Numbers between 0 and 1 of the shape, dtype and device of a tensor, without gradient."""
    return torch.rand_like(like, requires_grad=False)


@effectful(type="aside")
def sample_aside(distribution: TorchDistributionMixin) -> Tensor:
    """A draw from a distribution, without gradient."""
    with torch.no_grad():
        return distribution.sample()


class AsideNoise(Messenger):
    """Inside, records what is drawn aside, or repeats a record.

    Args:
        record: what is to be repeated, in order; None = new numbers.
    """

    def __init__(self, record: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.drawn: list[Tensor] = []
        self._record = iter(record or ())

    def _pyro_aside(self, msg: Any) -> None:
        if (again := next(self._record, None)) is not None:
            msg["value"], msg["done"] = again, True

    def _pyro_post_aside(self, msg: Any) -> None:
        self.drawn.append(msg["value"])
