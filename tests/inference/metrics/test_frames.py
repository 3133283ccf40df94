"""These tests pin: scores count missing frames only, pool over batches, and refuse an empty set by name."""

import math

import pytest
import torch

from inference.metrics import (
    PixelErrors,
    count_incorrect_pixels,
    incorrect_pixels_per_frame,
    intersection_over_union,
    normalized_code_rmse,
)


def disc(x, y):
    grid = torch.arange(32)
    return (((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) <= 9).float()[None]


def test_hamming_distances_of_discs():
    truth = disc(10, 16).expand(1, 3, 1, 32, 32)
    frames = torch.stack([disc(10, 16), disc(11, 16), disc(20, 16)])[None]
    curve = incorrect_pixels_per_frame(frames, truth)
    expected = torch.tensor([0, 14 / 1024, 58 / 1024], dtype=torch.float64)
    torch.testing.assert_close(curve, expected, rtol=0, atol=1e-12)
    assert count_incorrect_pixels(frames, truth) == PixelErrors(14 + 58, 3 * 1024)


def test_only_missing_frames_count_and_what_is_seen_is_not_read():
    truth = (torch.rand(5, 7, 1, 3, 2) > 0.5).float()
    frames = truth.clone()
    observed = torch.ones(5, 7, dtype=torch.bool)
    observed[1, 3] = observed[4, 3] = observed[4, 6] = False
    frames[observed] = 1 - frames[observed]
    frames[4, 3, 0, 0, 0] = 1 - frames[4, 3, 0, 0, 0]
    assert count_incorrect_pixels(frames, truth, observed) == PixelErrors(1, 3 * 6)
    curve = incorrect_pixels_per_frame(frames, truth, observed)
    assert curve.shape == (7,)
    assert curve.isnan().tolist() == [True, True, True, False, True, True, False]
    assert math.isclose(curve[3], 1 / 12)
    assert curve[6] == 0


def test_batches_are_pooled_and_an_empty_one_does_no_harm():
    truth = torch.zeros(5, 7, 1, 3, 2)
    everything = torch.ones(5, 7, dtype=torch.bool)
    empty = count_incorrect_pixels(truth, truth, everything)
    assert empty == PixelErrors(0, 0)
    some = everything.clone()
    some[0, 0] = False
    assert (empty + count_incorrect_pixels(truth + 1, truth, some)).fraction == 1
    with pytest.raises(ValueError, match="observed: expected at least one missing frame to score, got none; pool"):
        _ = empty.fraction
    with pytest.raises(ValueError, match="observed: expected at least one missing frame to score, got none"):
        intersection_over_union(truth, truth, everything)


def test_the_threshold_is_an_argument():
    truth = torch.ones(1, 1, 1, 3, 2)
    assert count_incorrect_pixels(0.4 * truth, truth).fraction == 1
    assert count_incorrect_pixels(0.4 * truth, truth, threshold=0.3).fraction == 0


def test_intersection_over_union():
    truth = torch.zeros(1, 3, 1, 1, 6)
    frames = truth.clone()
    truth[0, 0, 0, 0, :4] = 1
    frames[0, 0, 0, 0, 2:] = 1  # two of six
    frames[0, 1] = 1  # all of an empty frame: none
    assert math.isclose(intersection_over_union(frames, truth), (2 / 6 + 0 + 1) / 3, rel_tol=1e-6)
    observed = torch.tensor([[True, True, False]])
    assert intersection_over_union(frames, truth, observed) == 1


def test_normalized_code_rmse_is_zero_one_and_blind_to_rotation():
    encoded = torch.randn(5, 7, 2, dtype=torch.float64)
    observed = torch.rand(5, 7) > 0.5
    assert normalized_code_rmse(encoded, encoded, observed) == 0
    mean = encoded[~observed].mean(0).expand(5, 7, 2)
    assert math.isclose(normalized_code_rmse(mean, encoded, observed), 1)
    codes = encoded + 0.3 * torch.randn_like(encoded)
    turn = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q
    plain = normalized_code_rmse(codes, encoded, observed)
    assert math.isclose(normalized_code_rmse(5 * codes @ turn, 5 * encoded @ turn, observed), plain)


def test_wrong_arguments_are_named():
    frames = torch.zeros(5, 7, 1, 3, 2)
    with pytest.raises(
        ValueError, match=r"frames, truth: expected one shape .* got \(5, 7, 1, 3, 2\) and \(5, 6, 1, 3"
    ):
        count_incorrect_pixels(frames, frames[:, :6])
    with pytest.raises(ValueError, match=r"observed: expected bool \(sequences, time\) = \(5, 7\), got torch.float32"):
        incorrect_pixels_per_frame(frames, frames, torch.ones(5, 7))
    codes = torch.zeros(5, 7, 2)
    with pytest.raises(
        ValueError, match=r"codes, encoded: expected one shape \(sequences, time, code\), got \(5, 7, 2\)"
    ):
        normalized_code_rmse(codes, codes[..., :1])
    with pytest.raises(ValueError, match="encoded: expected codes that differ between the missing frames"):
        normalized_code_rmse(codes, codes)
    with pytest.raises(ValueError, match="observed: expected at least two missing frames to score, got 0"):
        normalized_code_rmse(codes, codes, torch.ones(5, 7, dtype=torch.bool))
