"""Factors of covariances, regular, singular and wrong."""

import pytest
import torch

from tests.oracles.random_state_space import random_covariance


def test_symmetric_part():
    from pyro_models.distributions.gaussian_numerics import symmetrize

    matrix = torch.randn(3, 4, 4)
    assert torch.equal(symmetrize(matrix), symmetrize(matrix).mT)
    torch.testing.assert_close(symmetrize(matrix), (matrix + matrix.mT) / 2)


def test_definite_factor_is_nan_where_there_is_none():
    from pyro_models.distributions.gaussian_numerics import factor_definite

    good = random_covariance(4, 4)
    factor = factor_definite(torch.stack([good, -good]))
    torch.testing.assert_close(factor[0] @ factor[0].mT, good)
    assert factor[1].isnan().all()


@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4])
def test_semidefinite_factor(rank):
    from pyro_models.distributions.gaussian_numerics import factor_semidefinite, semidefinite_tolerance

    # rounding hides the rank where leading blocks are nearly singular, as those of some Gaussian roots are
    root = torch.randn(5, 4, rank, dtype=torch.float64).tril(-1) + 2 * torch.eye(4, rank, dtype=torch.float64)
    covariance = (root @ root.mT).requires_grad_()
    factor = factor_semidefinite(covariance, semidefinite_tolerance(4, torch.float64))
    torch.testing.assert_close(factor @ factor.mT, covariance.detach(), atol=1e-10, rtol=1e-10)
    assert torch.equal(factor, factor.tril())
    assert ((factor.diagonal(dim1=-2, dim2=-1) > 0).sum(-1) == rank).all()
    (grad,) = torch.autograd.grad(factor.sum(), covariance)
    assert grad.isfinite().all()
    if rank == 4:
        (expected,) = torch.autograd.grad(torch.linalg.cholesky(covariance).sum(), covariance)
        torch.testing.assert_close(grad + grad.mT, expected + expected.mT)


@pytest.mark.parametrize("number", [-1.0, -0.1, torch.nan])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_semidefinite_factor_is_nan_where_there_is_none(dtype, number):
    """A negative or NaN variance must not become zero; a value below zero by rounding does."""
    from pyro_models.distributions.gaussian_numerics import factor_semidefinite, semidefinite_tolerance

    tolerance = semidefinite_tolerance(3, dtype)
    good = torch.diag(torch.tensor([1.0, 0.0, 2.0], dtype=dtype))
    bad = good.clone()
    bad[1, 1] = number
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=dtype)).Q
    factors = factor_semidefinite(torch.stack([good, bad, turn @ bad @ turn.mT]), tolerance)
    torch.testing.assert_close(factors[0], good.sqrt())
    assert factors[1].isnan().any()
    assert factors[2].isnan().any()
    rounded = good.clone()
    rounded[1, 1] = -tolerance
    torch.testing.assert_close(factor_semidefinite(rounded, tolerance), good.sqrt())


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_semidefinite_check(dtype, scale):
    from pyro_models.distributions.gaussian_numerics import all_semidefinite

    good = scale * random_covariance(5, 4, 4).to(dtype)
    root = scale**0.5 * torch.randn(5, 4, 1, dtype=dtype)
    assert all_semidefinite(good)
    assert all_semidefinite(root @ root.mT)
    assert all_semidefinite(0 * good)
    bad = good.clone()
    bad[3] *= -1
    assert not all_semidefinite(bad)
    bad = good.clone()
    bad[1, 0, 2] += 0.01 * scale
    assert not all_semidefinite(bad)
    for number in (torch.nan, torch.inf):
        bad = good.clone()
        bad[2, 1, 1] = number
        assert not all_semidefinite(bad)
