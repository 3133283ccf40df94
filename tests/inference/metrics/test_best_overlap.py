"""The mean best overlap against a loop over objects and components, its special cases, and what it refuses."""

import math

import pytest
import torch

from inference.metrics import mean_best_overlap
from videos import MassiveBalls

NOBODY = -1


def masks_of(parts, count):
    """Part numbers (sequences, time, height, width) as masks; nobody's pixels are in none."""
    return torch.stack([parts == number for number in range(count)], 2)


def random_parts(*shape, count, seed):
    return torch.randint(NOBODY, count, shape, generator=torch.Generator().manual_seed(seed))


def by_loops(predicted, truth, num_objects, num_components):
    """From part numbers of any shape, pixel by pixel."""
    pairs = list(zip(truth.flatten().tolist(), predicted.flatten().tolist(), strict=True))
    best = []
    for one in range(num_objects):
        if not any(true == one for true, _ in pairs):
            continue
        overlaps = []
        for other in range(num_components):
            both = sum(true == one and part == other for true, part in pairs)
            either = sum(true == one or part == other for true, part in pairs)
            overlaps.append(both / either)
        best.append(max(overlaps))
    return sum(best) / len(best) if best else math.nan


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_mean_of_the_largest_overlaps(seed):
    truth, predicted = random_parts(4, 3, 4, 3, count=5, seed=seed), random_parts(4, 3, 4, 3, count=4, seed=10 + seed)
    predicted[0] = torch.where(torch.rand(3, 4, 3) < 0.8, truth[0].clamp(max=3), predicted[0])
    truth[1] = truth[1].clamp(max=2)  # two objects are never there
    truth[2, 1] = NOBODY
    videos = mean_best_overlap(masks_of(predicted, 4), masks_of(truth, 5))
    frames = mean_best_overlap(masks_of(predicted, 4), masks_of(truth, 5), over="frame")
    assert videos.dtype == frames.dtype == torch.float64
    expected = [by_loops(predicted[sequence], truth[sequence], 5, 4) for sequence in range(4)]
    assert videos.tolist() == pytest.approx(expected, abs=1e-12)
    assert videos[0] > 0.5 > videos[1:].max()
    expected = [[by_loops(predicted[i, t], truth[i, t], 5, 4) for t in range(3)] for i in range(4)]
    assert frames.isnan().nonzero().tolist() == [[2, 1]]
    for found, values in zip(frames.tolist(), expected, strict=True):
        assert found == pytest.approx(values, abs=1e-12, nan_ok=True)


def test_names_of_components_mean_nothing_and_soft_masks_go_by_the_largest():
    truth = random_parts(5, 3, 6, 6, count=3, seed=0)
    soft = torch.nn.functional.one_hot((truth + 1) % 4, 4).movedim(-1, 2) * 0.3 + 0.1
    assert torch.equal(mean_best_overlap(soft, masks_of(truth, 3)), torch.ones(5, dtype=torch.float64))
    assert torch.equal(mean_best_overlap(soft.half(), masks_of(truth, 3), over="frame"), torch.ones(5, 3).double())


def test_a_component_has_to_stay_with_its_object_over_a_video_but_not_over_frames():
    truth = torch.zeros(1, 2, 2, 4, 4, dtype=torch.bool)
    truth[:, :, 0, :2], truth[:, :, 1, 2:] = True, True
    swapped = truth.clone()
    swapped[:, 1] = truth[:, 1].flip(1)
    assert mean_best_overlap(swapped, truth, over="frame").tolist() == [[1.0, 1.0]]
    assert mean_best_overlap(swapped, truth).tolist() == pytest.approx([8 / 24])


def test_special_cases():
    nothing = torch.zeros(1, 1, 2, 3, 3, dtype=torch.bool)
    one = nothing.clone()
    one[:, :, 0, 0] = True
    whole = torch.ones(1, 1, 1, 3, 3)
    assert mean_best_overlap(whole, nothing).isnan().tolist() == [True]
    assert mean_best_overlap(whole, one).tolist() == pytest.approx([3 / 9])  # background counts
    assert mean_best_overlap(nothing, one).tolist() == [0.0]  # no component
    # pixels in no component are no component, so one of two objects is missed
    two = one.clone()
    two[:, :, 1, 1] = True
    assert mean_best_overlap(two[:, :, :1], two).tolist() == [0.5]
    # one component for two objects is the best of both
    assert mean_best_overlap(two.any(2, keepdim=True), two).tolist() == [0.5]


def test_masks_of_simulated_videos_against_themselves():
    videos = MassiveBalls(num_frames=6, size=32, max_balls=6, min_balls=2, masks=True).simulate(
        5, torch.Generator().manual_seed(0)
    )
    soft = videos.masks.float() * 0.6
    for over in ("video", "frame"):
        assert (mean_best_overlap(soft, videos.masks, over=over) == 1).all()


def test_wrong_arguments_are_named():
    truth = masks_of(random_parts(2, 3, 4, 5, count=2, seed=0), 2)
    predicted = torch.rand(2, 3, 4, 4, 5)
    with pytest.raises(ValueError, match=r"predicted: expected masks \(.* got \(2, 3, 4, 5\); give one mask for each"):
        mean_best_overlap(predicted[:, :, 0], truth)
    with pytest.raises(ValueError, match=r"truth: expected dtype torch.bool, got torch.float32; true masks come secon"):
        mean_best_overlap(truth, predicted)
    with pytest.raises(ValueError, match="predicted: expected sequences, time, height, width of truth = .*; score the"):
        mean_best_overlap(predicted[:, :2], truth)
    with pytest.raises(ValueError, match="truth: expected masks that do not overlap, got pixels in several; keep what"):
        mean_best_overlap(predicted, truth[:, :, [0, 0]])
    with pytest.raises(ValueError, match=r"predicted: expected finite masks in \[0, 1\], .*; take the softmax of log"):
        mean_best_overlap(predicted * 9 - 3, truth)
