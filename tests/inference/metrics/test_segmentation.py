"""The adjusted Rand index against a count of all pairs of pixels, its special cases, and what it refuses."""

import math
from itertools import combinations

import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from inference.metrics import adjusted_rand_index
from inference.metrics.partitions import _check
from videos import Cannonballs

NOBODY = -1


def by_pairs(true_parts, predicted_parts):
    """Every pair of pixels is together or apart in either partition (the index as a ratio of these four counts)."""
    together, only_true, only_predicted, apart = 0, 0, 0, 0
    for one, other in combinations(range(len(true_parts)), 2):
        in_truth = true_parts[one] == true_parts[other]
        in_predicted = predicted_parts[one] == predicted_parts[other]
        together += in_truth and in_predicted
        only_true += in_truth and not in_predicted
        only_predicted += in_predicted and not in_truth
        apart += not in_truth and not in_predicted
    below = (together + only_true) * (only_true + apart) + (together + only_predicted) * (only_predicted + apart)
    return 2 * (together * apart - only_true * only_predicted) / below


def masks_of(parts, count):
    """Part numbers (sequences, time, height, width) as masks; nobody's pixels are in none."""
    return torch.stack([parts == number for number in range(count)], 2)


def random_parts(*shape, count, seed):
    return torch.randint(NOBODY, count, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("foreground_only", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_it_counts_pairs(seed, foreground_only):
    truth, predicted = random_parts(3, 2, 4, 3, count=3, seed=seed), random_parts(3, 2, 4, 3, count=4, seed=10 + seed)
    predicted[0] = torch.where(torch.rand(2, 4, 3) < 0.8, truth[0], predicted[0])  # one that agrees for the most part
    options = {"foreground_only": foreground_only}
    videos = adjusted_rand_index(masks_of(predicted, 4), masks_of(truth, 3), **options)
    frames = adjusted_rand_index(masks_of(predicted, 4), masks_of(truth, 3), over="frame", **options)
    assert videos.dtype == frames.dtype == torch.float64
    assert videos.shape == (3,)
    assert frames.shape == (3, 2)

    def expected(of_truth, of_predicted):
        counted = of_truth != NOBODY if foreground_only else torch.ones_like(of_truth, dtype=torch.bool)
        return by_pairs(of_truth[counted].tolist(), of_predicted[counted].tolist())

    for sequence in range(3):
        value = expected(truth[sequence], predicted[sequence])
        assert videos[sequence].item() == pytest.approx(value, abs=1e-12)
        for time in range(2):
            value = expected(truth[sequence, time], predicted[sequence, time])
            assert frames[sequence, time].item() == pytest.approx(value, abs=1e-12)
    assert videos[0] > 0.3 > videos[1:].max()


def of_table(counts):
    """A frame of one row with this number of pixels of each true object (rows) in each component (columns)."""
    cells = [(row, column) for row, values in enumerate(counts) for column, n in enumerate(values) for _ in range(n)]
    truth, predicted = (torch.tensor(numbers).reshape(1, 1, 1, -1) for numbers in zip(*cells, strict=True))
    return masks_of(predicted, len(counts[0])), masks_of(truth, len(counts))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[2, 1], [0, 3]], 0.3243243),
        ([[3, 0, 1], [1, 2, 1], [0, 2, 2]], 0.0833333),
        ([[1, 1], [1, 1]], -0.5),
        ([[4, 0, 0], [0, 2, 0], [0, 0, 7]], 1.0),
        ([[2], [3], [4]], 0.0),
    ],
)
@pytest.mark.parametrize("foreground_only", [True, False])
def test_tables_of_counts(counts, expected, foreground_only):
    predicted, truth = of_table(counts)
    for over in ("video", "frame"):
        index = adjusted_rand_index(predicted, truth, foreground_only=foreground_only, over=over)
        assert index.flatten().tolist() == pytest.approx([expected], abs=5e-8)
    swapped = adjusted_rand_index(truth, predicted, foreground_only=foreground_only)
    assert swapped.item() == pytest.approx(expected, abs=5e-8)
    # other names of objects and components change nothing
    index = adjusted_rand_index(predicted.flip(2), truth.roll(1, 2), foreground_only=foreground_only)
    assert index.item() == pytest.approx(expected, abs=5e-8)


def test_background_pixels_may_have_any_label_in_the_foreground():
    truth, predicted = random_parts(4, 2, 6, 6, count=3, seed=0), random_parts(4, 2, 6, 6, count=4, seed=1)
    other = torch.where(truth == NOBODY, random_parts(4, 2, 6, 6, count=4, seed=2), predicted)
    truth, predicted, other = masks_of(truth, 3), masks_of(predicted, 4), masks_of(other, 4)
    assert torch.equal(adjusted_rand_index(predicted, truth), adjusted_rand_index(other, truth))
    whole = [adjusted_rand_index(masks, truth, foreground_only=False) for masks in (predicted, other)]
    assert not torch.isclose(*whole).any()


@pytest.mark.parametrize("foreground_only", [True, False])
def test_it_is_the_index_of_scikit_learn(foreground_only):
    truth, predicted = random_parts(30, 3, 7, 5, count=4, seed=5), random_parts(30, 3, 7, 5, count=5, seed=6)
    agrees = torch.rand(30, 3, 7, 5) < torch.linspace(0, 1, 30)[:, None, None, None]  # from chance to the same parts
    predicted = torch.where(agrees, truth, predicted)
    truth[0, 0] = NOBODY
    options = {"foreground_only": foreground_only}
    videos = adjusted_rand_index(masks_of(predicted, 5), masks_of(truth, 4), **options)
    frames = adjusted_rand_index(masks_of(predicted, 5), masks_of(truth, 4), over="frame", **options)

    def expected(of_truth, of_predicted):
        counted = of_truth != NOBODY if foreground_only else torch.ones_like(of_truth, dtype=torch.bool)
        return adjusted_rand_score(of_truth[counted].numpy(), of_predicted[counted].numpy())

    for sequence in range(30):
        value = expected(truth[sequence], predicted[sequence])
        assert videos[sequence].item() == pytest.approx(value, abs=1e-12)
        for time in range(3):
            value = expected(truth[sequence, time], predicted[sequence, time])
            if foreground_only and not (truth[sequence, time] != NOBODY).any():
                assert value == 1  # by their convention; a frame without objects says nothing about a model
                assert frames[sequence, time].isnan()
            else:
                assert frames[sequence, time].item() == pytest.approx(value, abs=1e-12)
    assert videos.min() < 0.1
    assert videos.max() > 0.9


def test_names_of_parts_mean_nothing_and_soft_masks_go_by_the_largest():
    truth = random_parts(5, 3, 6, 6, count=3, seed=0)
    parts = (truth + 1) % 4
    soft = torch.nn.functional.one_hot(parts, 4).movedim(-1, 2) * 0.3 + 0.1
    for over, shape in (("video", (5,)), ("frame", (5, 3))):
        for foreground_only in (True, False):
            index = adjusted_rand_index(soft, masks_of(truth, 3), foreground_only=foreground_only, over=over)
            assert torch.equal(index, torch.ones(shape, dtype=torch.float64))
    assert torch.equal(adjusted_rand_index(soft.half(), masks_of(truth, 3)), torch.ones(5, dtype=torch.float64))
    # ties go to the first component, here of two that are the same
    doubled = torch.cat([soft, soft], 2)
    assert torch.equal(adjusted_rand_index(doubled, masks_of(truth, 3)), torch.ones(5, dtype=torch.float64))


def test_pixels_without_a_mask_are_a_part_of_their_own():
    truth = random_parts(4, 2, 5, 5, count=2, seed=3)
    index = adjusted_rand_index(masks_of(truth, 2), masks_of(truth, 2), foreground_only=False)
    assert torch.equal(index, torch.ones(4, dtype=torch.float64))
    # One of two objects is seen and the other left to nobody: that tells them apart.
    index = adjusted_rand_index(masks_of(truth, 2)[:, :, :1], masks_of(truth, 2))
    assert torch.equal(index, torch.ones(4, dtype=torch.float64))


def test_a_component_has_to_stay_with_its_object_over_a_video_but_not_over_frames():
    truth = torch.zeros(1, 2, 2, 4, 4, dtype=torch.bool)
    truth[:, :, 0, :2], truth[:, :, 1, 2:] = True, True
    swapped = truth.clone()
    swapped[:, 1] = truth[:, 1].flip(1)
    assert adjusted_rand_index(swapped, truth, over="frame").tolist() == [[1.0, 1.0]]
    # 16 pixels of each object, eight in either component: all four pair counts by hand
    pairs = (4 * 28, 2 * 8 * 8, 2 * 8 * 8, 2 * 8 * 8)
    together, only_true, only_predicted, apart = pairs
    below = (together + only_true) * (only_true + apart) + (together + only_predicted) * (only_predicted + apart)
    expected = 2 * (together * apart - only_true * only_predicted) / below
    assert adjusted_rand_index(swapped, truth).item() == pytest.approx(expected, abs=1e-12)
    assert expected < 0


def test_chance_is_zero():
    truth = random_parts(300, 2, 10, 10, count=3, seed=0)
    predicted = random_parts(300, 2, 10, 10, count=4, seed=1)
    for foreground_only in (True, False):
        index = adjusted_rand_index(masks_of(predicted, 4), masks_of(truth, 3), foreground_only=foreground_only)
        assert abs(index.mean().item()) < 5 * index.std().item() / math.sqrt(300)


def test_background_is_free_in_the_foreground_and_costs_otherwise():
    truth = torch.zeros(1, 1, 2, 8, 8, dtype=torch.bool)
    truth[:, :, 0, 1:3, 1:3], truth[:, :, 1, 5:7, 5:7] = True, True
    halves = torch.zeros(1, 1, 2, 8, 8, dtype=torch.bool)
    halves[:, :, 0, :4], halves[:, :, 1, 4:] = True, True
    assert adjusted_rand_index(halves, truth).item() == 1
    assert adjusted_rand_index(halves, truth, foreground_only=False).item() < 0.2


def test_special_cases():
    nothing = torch.zeros(1, 1, 2, 3, 3, dtype=torch.bool)
    one, two = nothing.clone(), nothing.clone()
    one[:, :, 0, 0] = True
    two[:, :, 0, 0], two[:, :, 1, 1] = True, True
    whole, split = torch.ones(1, 1, 1, 3, 3), torch.zeros(1, 1, 3, 3, 3)
    split[..., 0, :, 0], split[..., 1, :, 1], split[..., 2, :, 2] = 1, 1, 1
    # no foreground
    assert adjusted_rand_index(split, nothing).isnan().tolist() == [True]
    assert adjusted_rand_index(whole, nothing, foreground_only=False).tolist() == [1.0]
    # one object: right if one component covers it, nothing otherwise
    assert adjusted_rand_index(whole, one).tolist() == [1.0]
    assert adjusted_rand_index(split, one).tolist() == [0.0]
    # one component
    assert adjusted_rand_index(whole, two).tolist() == [0.0]
    assert adjusted_rand_index(whole, two, foreground_only=False).tolist() == [0.0]
    # a single pixel, and one for each object
    pixel, pixels = nothing.clone(), nothing.clone()
    pixel[..., 0, 0, 0] = True
    pixels[..., 0, 0, 0], pixels[..., 1, 0, 1] = True, True
    assert adjusted_rand_index(split, pixel).tolist() == [1.0]
    assert adjusted_rand_index(split, pixels).tolist() == [1.0]
    assert adjusted_rand_index(whole, pixels).tolist() == [0.0]


def test_means_leave_out_videos_without_foreground():
    truth = torch.zeros(3, 1, 2, 2, 2, dtype=torch.bool)
    truth[1:, :, 0, 0], truth[1:, :, 1, 1] = True, True
    predicted = truth.clone()
    predicted[2] = False
    index = adjusted_rand_index(predicted, truth)
    assert index.isnan().tolist() == [True, False, False]
    assert index.nanmean().item() == 0.5
    assert index[:1].nanmean().isnan()


def test_masks_of_a_simulator_score_one_against_themselves_and_long_videos_do_not_overflow():
    videos = Cannonballs(num_frames=20, size=32, min_balls=2, masks=True).simulate(6, torch.Generator().manual_seed(0))
    soft = videos.masks.float() * 0.6 + 0.1
    assert torch.equal(adjusted_rand_index(soft, videos.masks), torch.ones(6, dtype=torch.float64))
    late = torch.zeros(1, 100, 2, 256, 256, dtype=torch.bool)
    late[:, :, 0, :128], late[:, :, 1, 128:] = True, True
    shifted = late.roll(64, -2)  # a quarter of all pixels in each pair of parts
    # with m pixels in each of the four, exactly (4 C(m) - 2 C(2m)^2 / C(4m) ...) / ...: -1 / (4m - 1), by hand
    expected = -1 / (late[0, :, 0].numel() - 1)
    assert adjusted_rand_index(shifted, late).item() == pytest.approx(expected, rel=1e-6)


def test_wrong_arguments_are_named():
    truth = masks_of(random_parts(2, 3, 4, 5, count=2, seed=0), 2)
    predicted = torch.rand(2, 3, 4, 4, 5)
    with pytest.raises(
        ValueError, match=r"predicted: expected masks \(sequences, time, components, .* got \(2, 3, 4, 5"
    ):
        adjusted_rand_index(predicted[:, :, 0], truth)
    with pytest.raises(ValueError, match=r"predicted: .* got \(2, 3, 4, 1, 4, 5\); give one mask .* without channels"):
        adjusted_rand_index(predicted.unsqueeze(3), truth)
    with pytest.raises(
        ValueError, match=r"truth: expected masks \(.* at least one of the objects, got \(2, 3, 0, 4, 5\)"
    ):
        adjusted_rand_index(predicted, truth[:, :, :0])
    with pytest.raises(
        ValueError, match=r"truth: expected dtype torch.bool, got torch.float32; true masks come second"
    ):
        adjusted_rand_index(truth, predicted)
    with pytest.raises(
        ValueError,
        match=r"predicted: expected sequences, time, height, width of truth = \(2, 3, 4, 5\), got \(2, 2, 4, 5\)",
    ):
        adjusted_rand_index(predicted[:, :2], truth)
    with pytest.raises(
        ValueError, match="truth: expected masks that do not overlap, got pixels in several; keep what is"
    ):
        adjusted_rand_index(predicted, truth[:, :, [0, 0]])
    for wrong in (predicted * 9 - 3, predicted * math.nan):
        with pytest.raises(
            ValueError, match=r"predicted: expected finite masks in \[0, 1\], .*; take the softmax of log"
        ):
            adjusted_rand_index(wrong, truth)
    with pytest.raises(ValueError, match="over: expected 'video' or 'frame', got 'image'; leave it out for videos"):
        _check(predicted, truth, "image")  # of the check: the annotation would answer first in these tests
