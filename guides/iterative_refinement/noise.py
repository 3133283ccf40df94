"""The random numbers of the inner draws: aside in training, fixed in evaluation."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from guides.aside import normal_aside, sample_aside

SIZE = 4096


class InnerNoise(nn.Module):
    """Noise of the draws at which a guide looks at its model, none of which is a site.

    In training it is drawn aside (see `guides.aside`): given that noise u the guide is a density q(z | x, u), so bounds
    and importance weights stay valid. In evaluation it is fixed, the same for every sequence, and distributions other
    than Gaussians give their mode or mean: the guide is one density q(z | x), which chains can evaluate repeatedly.
    """

    fixed: Tensor

    def __init__(self) -> None:
        super().__init__()
        numbers = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
        self.register_buffer("fixed", numbers, persistent=False)
        self._place = 0

    def restart(self) -> None:
        """Start again at the first of the fixed numbers."""
        self._place = 0

    def normal(self, like: Tensor, sequences: int) -> Tensor:
        """Standard normal numbers of the shape, dtype and device of a tensor, without gradient.

        Args:
            like: any tensor.
            sequences: its dim of sequences, counted from the right.
        """
        if self.training:
            return normal_aside(like)
        shape = list(like.shape)
        shape[sequences] = 1
        places = torch.arange(self._place, self._place + prod(shape), device=like.device) % SIZE
        self._place += prod(shape)
        return self.fixed.to(like)[places].reshape(shape).expand_as(like)

    def value(self, distribution: Any) -> Tensor:
        """A draw from a distribution that is not refined, without gradient."""
        if self.training:
            return sample_aside(distribution)
        with torch.no_grad():
            return centre(distribution)


def centre(distribution: Any) -> Tensor:
    """The mode of a discrete distribution, the mean of another one, or a chain's path of means."""
    base = distribution
    while type(base).__name__ in ("Independent", "MaskedDistribution"):
        base = base.base_dist
    if type(base).__name__ == "Bernoulli":
        return (base.probs > 0.5).to(base.probs)
    if base.support.is_discrete:
        return base.mode
    return base.path_of_means() if hasattr(base, "path_of_means") else base.mean
