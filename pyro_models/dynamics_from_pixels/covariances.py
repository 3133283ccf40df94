"""A learned covariance matrix."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

SMALLEST_SCALE = 1e-4  # lower limit of a factor's diagonal: a variance of exactly zero would have no gradient
# Adam moves any number by about its learning rate per step, and a variance may need to fall by orders of magnitude as
# weights move by less than one: raw scales are stored divided by this.
STRIDE = 5.0


class LearnedCovariance(nn.Module):
    """Positive definite matrices L L', L lower triangular with diagonal softplus(5 r) + 1e-4; `scaled_raw` is r.

    Args:
        size: rows and columns.
        variance: initial variance of each coordinate; coordinates start uncorrelated.
        full: learn correlations; otherwise the matrices are diagonal.
        batch: number of matrices, None = one without a batch dim.

    Raises:
        ValueError: if the variance is not above 1e-8.
    """

    def __init__(self, size: int, variance: float, full: bool = True, batch: int | None = None) -> None:
        super().__init__()
        if not variance > SMALLEST_SCALE**2:
            raise ValueError(f"variance: expected above {SMALLEST_SCALE**2}, got {variance}")
        shape = () if batch is None else (batch,)
        scale = math.sqrt(variance) - SMALLEST_SCALE
        self.scaled_raw = nn.Parameter(torch.full((*shape, size), math.log(math.expm1(scale)) / STRIDE))
        self.lower = nn.Parameter(torch.zeros(*shape, size * (size - 1) // 2)) if full else None
        rows, columns = torch.tril_indices(size, size, -1)
        places = torch.zeros(len(rows), size, size)
        places[torch.arange(len(rows)), rows, columns] = 1.0
        self.register_buffer("places", places, persistent=False)

    def factor(self) -> Float[Tensor, "*batch size size"]:
        """L."""
        diagonal = torch.diag_embed(softplus(STRIDE * self.scaled_raw) + SMALLEST_SCALE)
        if self.lower is None:
            return diagonal
        return diagonal + torch.einsum("...p,pij->...ij", self.lower, self.get_buffer("places"))

    def forward(self) -> Float[Tensor, "*batch size size"]:
        """L L'."""
        factor = self.factor()
        return factor @ factor.mT
