"""These tests pin: an exact map is found exactly, noise costs what it must, and wrong arguments are named."""

import pytest
import torch

from inference.metrics import fit_position_map


@pytest.mark.parametrize("degree", ["affine", "quadratic"])
def test_an_exact_map_is_found(degree):
    codes = torch.randn(5, 7, 3, dtype=torch.float64)
    positions = codes @ torch.randn(3, 2, dtype=torch.float64) + torch.tensor([4.0, -2.0], dtype=torch.float64)
    if degree == "quadratic":
        positions = positions + codes[..., :1] * codes[..., 1:]
    fitted = fit_position_map(codes, positions, degree)
    torch.testing.assert_close(fitted.predict(codes), positions)
    torch.testing.assert_close(fitted.r_squared(codes, positions), torch.ones(2, dtype=torch.float64))
    assert (fitted.error(codes, positions) < 1e-6).all()


def test_a_bent_map_needs_the_quadratic_terms():
    codes = torch.randn(500, 2, dtype=torch.float64)
    positions = (codes[:, :1] * codes[:, 1:]).expand(500, 2)
    assert (fit_position_map(codes, positions).r_squared(codes, positions) < 0.1).all()
    assert (fit_position_map(codes, positions, "quadratic").r_squared(codes, positions) > 0.999).all()


def test_noise_costs_its_share_of_the_variance_on_unseen_frames():
    codes = torch.randn(2, 4000, 2, dtype=torch.float64)
    positions = codes + 0.5 * torch.randn_like(codes)
    fitted = fit_position_map(codes[0], positions[0])
    share = 1 - 0.25 / 1.25
    # standard error of R^2 over 4000 draws is about 0.005
    torch.testing.assert_close(
        fitted.r_squared(codes[1], positions[1]), torch.full((2,), share, dtype=torch.float64), rtol=0, atol=0.03
    )
    torch.testing.assert_close(
        fitted.error(codes[1], positions[1]), torch.full((2,), 0.5, dtype=torch.float64), rtol=0, atol=0.03
    )


def test_codes_that_repeat_one_another_are_no_obstacle():
    codes = torch.randn(50, 1, dtype=torch.float64).expand(50, 2)
    fitted = fit_position_map(codes, codes)
    torch.testing.assert_close(fitted.predict(codes), codes)


def test_float32_codes_give_float32_positions():
    codes = torch.randn(50, 2)
    assert fit_position_map(codes, codes).predict(codes).dtype == torch.float32


def test_wrong_arguments_are_named():
    codes = torch.randn(5, 7, 2)
    with pytest.raises(
        ValueError, match=r"codes, positions: expected .* one batch shape, got \(5, 7, 2\) and \(5, 6, 2"
    ):
        fit_position_map(codes, codes[:, :6])
    with pytest.raises(
        ValueError, match="codes: expected at least 6 frames for the quadratic map's coefficients, got 4"
    ):
        fit_position_map(codes[0, :4], codes[0, :4], "quadratic")
    with pytest.raises(ValueError, match="positions: expected coordinates that vary, got a constant one"):
        fit_position_map(codes, codes).r_squared(codes, torch.zeros(5, 7, 2))
    with pytest.raises(ValueError, match="degree: expected 'affine' or 'quadratic', got 'cubic'"):
        fit_position_map(codes, codes, "cubic")
