"""The recipe of Sprites-MOT: videos of all sizes show the same sprites, and what does not fit is refused."""

from dataclasses import asdict

import pytest
import torch

from inference.recipes import RECIPES, OptionError
from inference.scores.mask_tracking import MaskTracking, MaskTrackingSummary, masked_scene
from inference.scores.score import Evaluated

RECIPE = RECIPES["sqair-sprites"]
TINY = {"units": 8, "what_dim": 3, "glimpse_size": 4, "num_test": 6, "num_validation": 4, "num_frames": 4}


def test_test_videos_of_all_sizes_show_the_same_sprites():
    small, large = (
        RECIPE.with_options(num_test=5, num_validation=2, frame_size=size).splits().test for size in (16, 64)
    )
    assert torch.equal(small.presence, large.presence)
    assert torch.equal(small.labels, large.labels)
    assert large.masks.shape == (5, 10, 3, 64, 64)


def test_scores_by_masks_of_a_pair():
    recipe = RECIPE.with_options(**TINY)
    model, guide = recipe.build()
    evaluated = Evaluated(model, guide, recipe.splits().test)
    summary = MaskTracking().compute(evaluated)
    assert summary.benchmark.true_masks < summary.all_frames.true_masks
    assert summary.benchmark.misses == pytest.approx(100 - summary.benchmark.matches - summary.benchmark.switches)
    assert MaskTracking().read(asdict(summary)) == summary
    assert isinstance(summary, MaskTrackingSummary)
    assert "from the third frame on" in str(summary)
    assert masked_scene(evaluated, (64, 64)).masks.shape == (6, 4, 3, 64, 64)
    assert MaskTracking().compute(Evaluated(model, guide, evaluated.test.first_frames(2))) is None


def test_options_that_do_not_fit_are_refused():
    for options, message in (
        ({"where_scale_spread": 0.2, "chained": True}, "--where-scale-spread: expected .* got 0.2 with --chained"),
        ({"where_scale_spread": -1.0, "chained": False}, "--where-scale-spread: expected a positive number"),
        ({"frame_scale": 0.0}, "--frame-scale: expected a positive number, got 0.0"),
        ({"search": "heat"}, "--search: .*network.*map.*heat"),
    ):
        with pytest.raises(OptionError, match=message):
            RECIPE.with_options(**TINY | options).build()
    with pytest.raises(OptionError, match="--world: expected sprites, got 'tabletop'"):
        RECIPE.with_options(**TINY | {"world": "tabletop"}).splits()
    with pytest.raises(ValueError, match="size: expected at least 16, got 8"):
        RECIPE.with_options(**TINY | {"frame_size": 8}).build()
