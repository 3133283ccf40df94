"""The one policy for covariances in finite precision: symmetrise, factor, and never repair silently.

- Recursions run in float64 whatever the caller's dtype; results are cast back. No jitter is added anywhere.
- A matrix that must be positive definite and is not becomes NaN (`factor_definite`), so a wrong model gives a visibly
  wrong number instead of a plausible one.
- A matrix that may be singular (process noise, a state known exactly) is factored by `factor_semidefinite`, whose
  pivots below a stated tolerance are exact zeros.
- A covariance means its symmetric part (M + M^T) / 2, and its gradient is symmetric. With argument validation one that
  is asymmetric beyond rounding is refused (`covariance_fault`). Without it the symmetric part is taken where one is
  first read: by `symmetrize` in `StateSpace.double` and `factor_semidefinite`, and as the fused kernel loads it.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def symmetrize(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The symmetric part, (M + M^T) / 2: rounding errors of a covariance product are not symmetric."""
    return 0.5 * (matrix + matrix.mT)


def factor_definite(covariance: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Lower Cholesky factor L with L L^T = covariance; NaN where the covariance is not positive definite."""
    factor, info = torch.linalg.cholesky_ex(covariance)
    return torch.where((info == 0)[..., None, None], factor, torch.nan)


def semidefinite_tolerance(size: int, dtype: torch.dtype) -> float:
    """Share of a variance below which its remainder after regression on the earlier coordinates counts as zero.

    A covariance given in `dtype` is known only to that dtype's rounding, `size * eps` relative to its diagonal.
    """
    return 4 * size * torch.finfo(dtype).eps


def factor_semidefinite(
    covariance: Float[Tensor, "*batch n n"], tolerance: float, variance: Float[Tensor, "*batch n"] | None = None
) -> Float[Tensor, "*batch n n"]:
    """Lower factor L with L L^T = the symmetric part of a positive semidefinite, possibly zero, covariance.

    Column-wise Cholesky in which a pivot not larger than `tolerance` times its variance gives a column of zeros (for a
    semidefinite matrix the whole remaining column is then zero as well; Higham 2002, section 10.3). Zero columns pass
    no gradient. A pivot that is NaN, or more negative than rounding explains, makes its column NaN.

    Args:
        covariance: matrix to factor.
        tolerance: share of a variance that counts as zero, see `semidefinite_tolerance`.
        variance: reference of the tolerance, if not the diagonal: for a covariance that results from a subtraction,
            the variances before it, to which its rounding errors are proportional.
    """
    size, covariance = covariance.shape[-1], symmetrize(covariance)
    variance = covariance.diagonal(dim1=-2, dim2=-1) if variance is None else variance
    lowest = -(tolerance**0.5) * variance.abs().amax(-1, keepdim=True)  # generous: rounding depends on the condition
    columns: list[Tensor] = []
    for j in range(size):
        remainder = covariance[..., j:, j]
        if columns:
            left = torch.stack(columns, -1)
            remainder = remainder - (left[..., j:, :] @ left[..., j, :, None]).squeeze(-1)
        pivot = remainder[..., :1]
        positive = pivot > tolerance * variance[..., j, None]
        otherwise = torch.where(pivot >= lowest, 0.0, torch.nan).to(pivot)
        column = torch.where(positive, remainder / torch.where(positive, pivot, 1.0).sqrt(), otherwise)
        columns.append(torch.nn.functional.pad(column, (j, 0)))
    return torch.stack(columns, -1)


def all_semidefinite(covariance: Float[Tensor, "*batch n n"]) -> bool:
    """Whether every matrix is finite, symmetric and positive semidefinite, up to the rounding of its dtype."""
    slack = _rounding(covariance)
    if not bool(((covariance - covariance.mT).abs() <= slack).all()):  # false for NaN and infinity as well
        return False
    raised = covariance.to(torch.float64, copy=True)
    # the tiny summand lets the zero matrix pass
    raised.diagonal(dim1=-2, dim2=-1).add_(slack.squeeze(-1) + torch.finfo(covariance.dtype).tiny)
    return not bool(torch.linalg.cholesky_ex(raised).info.any())


def covariance_fault(covariance: Float[Tensor, "*batch n n"]) -> str | None:
    """What is wrong with a covariance, where, and what to do, for a message; None if `all_semidefinite`."""
    if all_semidefinite(covariance):
        return None
    if (fault := nonfinite_fault(covariance)) is not None:
        return f"{fault}. Find what made it"
    difference = (covariance - covariance.mT).abs()
    if not bool((difference <= _rounding(covariance)).all()):
        largest = difference.max()
        place = torch.nonzero(difference == largest)[0].tolist()
        return (
            f"got an asymmetric one: |M - M.mT| is up to {largest.item():.3g} (at {place}; largest entry "
            f"{covariance.abs().max().item():.3g}). If that is rounding, pass 0.5 * (M + M.mT); for a factor L, "
            "L @ L.mT"
        )
    smallest = torch.linalg.eigvalsh(symmetrize(covariance.double()))[..., 0]
    place = torch.nonzero(smallest == smallest.min())[0].tolist()
    return (
        f"got one with the eigenvalue {smallest.min().item():.3g}{f' (at {place})' if place else ''}. Build it from a "
        "factor, L @ L.mT, or from variances by torch.diag_embed"
    )


def nonfinite_fault(values: Tensor) -> str | None:
    """Place of the first number that is not finite, for a message; None if there is none."""
    finite = values.isfinite()
    if torch._is_all_true(finite):
        return None
    place = torch.nonzero(~finite)[0].tolist()
    return f"got {values[tuple(place)].item()} at {place}"


def _rounding(covariance: Tensor) -> Float[Tensor, "*batch 1 1"]:
    """Largest error of an entry that rounding explains."""
    return 16 * covariance.shape[-1] * torch.finfo(covariance.dtype).eps * covariance.abs().amax((-2, -1), True)
