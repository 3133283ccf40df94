"""Imputation curves: the paper's patterns and score, on guesses whose error is known."""

import pytest
import torch

from inference.scores.imputation_curves import PATTERNS, imputation_curve
from inference.scores.score import Evaluated
from videos import VideoBatch


def curve_of(videos, *args, seed=0, **options):
    """A curve of a method that asks no model."""
    evaluated = Evaluated(torch.nn.Identity(), torch.nn.Identity(), videos, seed=seed)
    return imputation_curve(evaluated, *args, **options)


@pytest.fixture
def videos():
    """A 2 x 2 block of light that moves one pixel to the right in every frame."""
    frames = torch.zeros(3, 20, 1, 6, 32)
    for step in range(20):
        frames[:, step, 0, 2:4, step : step + 2] = 1.0
    return VideoBatch(frames)


def test_copy_of_the_last_frame_has_a_known_error(videos):
    """Inside a gap of g the copy is 1, 2, ..., g pixels off: 4 wrong pixels for the first, 8 for all others."""
    curve = curve_of(videos, "gap", "last frame")
    expected = [(4 + 8 * (gap - 1)) / gap / (6 * 32) for gap in PATTERNS["gap"][2]]
    assert list(curve.errors) == pytest.approx(expected)
    assert max(curve.standard_errors) < 1e-9  # the sequences are alike


def test_everything_dropped_is_the_longest_gap(videos):
    random = curve_of(videos, "random", "last frame", levels=(1.0,))
    gap = curve_of(videos, "gap", "last frame", levels=(16,))
    assert random.errors == pytest.approx(gap.errors)


def test_masks_depend_on_seed_and_level_only(videos):
    first, again, other = (curve_of(videos, "random", "last frame", levels=(0.3, 0.7), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.errors != other.errors
    alone = curve_of(videos, "random", "last frame", levels=(0.7,), seed=1)
    assert alone.errors[0] == first.errors[1]


def test_standard_error_shrinks_with_sequences(videos):
    generator = torch.Generator().manual_seed(0)
    frames = (torch.rand(400, 20, 1, 4, 4, generator=generator) > 0.5).float()
    few, many = (curve_of(VideoBatch(frames[:count]), "random", "last frame", levels=(0.5,)) for count in (25, 400))
    assert few.standard_errors[0] / many.standard_errors[0] == pytest.approx(4, rel=0.4)
    assert abs(many.errors[0] - 0.5) < 5 * many.standard_errors[0]


def test_unknown_pattern(videos):
    with pytest.raises(ValueError, match="pattern: expected one of random, gap, got 'holes'"):
        curve_of(videos, "holes", "last frame")
