"""Masks scored by the protocol of Weis et al. (2021): by hand, and against motmetrics."""

from dataclasses import asdict, replace

import pytest
import torch

from inference.metrics import score_tracks
from inference.scores.mask_tracking import score_masks
from pyro_models.components.scene import Scene
from videos import MovingSprites

# pip install motmetrics==1.4.0 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
# For poorly_followed(seed) one MOTAccumulator, updated with every scored frame of every video v: identities 10 v + slot
# of true masks of more than 5 pixels, those of the predicted ones, and 1 - intersection over union, NaN above 0.5.
# metrics.create().compute gives mota, motp, num_matches, num_switches, num_false_positives, num_misses, num_objects. Of
# the events MATCH, SWITCH and MISS of each object, tracked are those that match, detected all but the misses; the last
# two numbers count the objects for which they are at least 80 %.
# (seed, first frame): mota, 1 - motp, matches, switches, false positives, misses, masks, objects, detected, tracked
MOTMETRICS = {
    (0, 2): (0.277372, 0.658253, 160, 12, 84, 102, 274, 45, 19, 15),
    (0, 0): (0.278932, 0.658370, 197, 16, 103, 124, 337, 45, 17, 13),
    (1, 2): (0.358423, 0.657114, 174, 15, 74, 90, 279, 45, 18, 13),
    (1, 0): (0.343109, 0.654280, 208, 22, 91, 111, 341, 45, 15, 9),
}


def poorly_followed(seed, videos=15):
    """True sprites, and masks that are shifted, lost, invented, or under another identity."""
    generator = torch.Generator().manual_seed(seed)
    batch = MovingSprites(10, 64, masks=True).simulate(videos, generator)
    masks = torch.zeros(videos, 10, 4, 64, 64, dtype=torch.bool)
    identities = torch.arange(4).expand(videos, 10, 4).clone()
    for video in range(videos):
        for time in range(10):
            for slot in range(3):
                down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
                if torch.rand((), generator=generator) > 0.1:
                    masks[video, time, slot] = batch.masks[video, time, slot].roll((down, right), (0, 1))
            if torch.rand((), generator=generator) < 0.2:
                top, left = torch.randint(0, 60, (2,), generator=generator).tolist()
                side = int(torch.randint(1, 5, (), generator=generator))  # a speck, or not
                masks[video, time, 3, top : top + side, left : left + side] = True
            if torch.rand((), generator=generator) < 0.1:  # from here on
                identities[video, time:, :3] = identities[video, time:, :3].roll(1, -1)
    presence = masks.flatten(3).any(-1).float()
    found = Scene(presence, torch.zeros(videos, 10, 4, 2), masks=masks, identities=identities)
    return found, Scene(batch.presence, batch.positions, masks=batch.masks)


def bars(*places, height=8, width=40):
    """Masks (1, time, slots, height, width) four pixels wide, from the column of each slot and frame; None = absent."""
    masks = torch.zeros(1, len(places), len(places[0]), height, width, dtype=torch.bool)
    for time, frame in enumerate(places):
        for slot, column in enumerate(frame):
            if column is not None:
                masks[0, time, slot, :, column : column + 4] = True
    return masks


def scene(masks, identities=None):
    presence = masks.flatten(3).any(-1)
    names = torch.arange(masks.shape[2]).expand(presence.shape) if identities is None else torch.tensor([identities])
    return Scene(presence.float(), torch.zeros(*presence.shape, 2), masks=masks, identities=names)


@pytest.mark.parametrize(("seed", "first_frame"), MOTMETRICS)
def test_scores_are_those_of_motmetrics(seed, first_frame):
    mota, overlap, matches, switches, false, misses, masks, objects, detected, tracked = MOTMETRICS[seed, first_frame]
    scores = score_masks(*poorly_followed(seed), first_frame=first_frame)
    assert scores.true_masks == masks
    assert scores.mota == pytest.approx(100 * mota, abs=1e-3)
    assert scores.motp == pytest.approx(100 * overlap, abs=1e-3)
    shares = (scores.matches, scores.switches, scores.false_positives, scores.misses)
    assert shares == pytest.approx([100 * count / masks for count in (matches, switches, false, misses)])
    shares = (scores.mostly_detected, scores.mostly_tracked)
    assert shares == pytest.approx([100 * count / objects for count in (detected, tracked)])


def test_a_switch_costs_a_match_by_hand():
    """Two objects; the second is lost in one frame of five, and found by another identity in the next."""
    truth = scene(bars(*[[2, 20]] * 5))
    found = scene(bars([3, 20], [3, 20], [4, None], [4, 20], [5, 20]), [[0, 1], [0, 1], [0, 1], [0, 9], [0, 9]])
    scores = score_masks(found, truth, first_frame=0)
    # the first overlaps by 3/5, 3/5, 2/6, 2/6 and 1/7
    expected = {
        "mota": 20.0,
        "motp": 100 * (2 * 3 / 5 + 4) / 6,
        "mostly_detected": 50.0,
        "mostly_tracked": 0.0,
        "matches": 50.0,
        "misses": 40.0,
        "switches": 10.0,
        "false_positives": 30.0,
        "true_masks": 10,
    }
    assert asdict(scores) == pytest.approx(expected)
    late = score_masks(found, truth)  # from the third frame on, where its first identity is unknown
    assert (late.true_masks, late.switches, late.misses) == (6, 0.0, pytest.approx(400 / 6))


def test_specks_are_neither_true_nor_false():
    """Five pixels of 64 x 64 are none; six are one."""
    masks = torch.zeros(1, 3, 2, 64, 64, dtype=torch.bool)
    masks[:, :, 0, :6, 0] = masks[:, :, 1, 40:45, 9] = True
    for found, expected in ((masks, (3, 100.0, 0.0)), (masks[:, :, 1:], (3, 0.0, 0.0))):
        scores = score_masks(scene(found), scene(masks), first_frame=0)
        assert (scores.true_masks, scores.mota, scores.false_positives) == expected
    larger = masks.clone()
    larger[:, :, 1, 45, 9] = True  # a mask over one that is too small to be asked for is a false positive
    assert score_masks(scene(larger), scene(masks), first_frame=0).false_positives == 100.0


def test_wrong_scenes_are_refused():
    good = scene(bars(*[[2, 20]] * 4))
    bare = Scene(good.presence, good.positions, identities=good.identities)
    flat = replace(bare, masks=good.masks[0])
    with pytest.raises(ValueError, match="expected presence and masks, one of them is None"):
        score_masks(bare, good)
    with pytest.raises(ValueError, match="first_frame: expected the index of one of 4 frames, 0 to 3, got 4"):
        score_masks(good, good, first_frame=4)
    with pytest.raises(ValueError, match="expected an object whose mask is no speck, got none"):
        score_masks(good, scene(torch.zeros(1, 4, 2, 8, 40, dtype=torch.bool)))
    with pytest.raises(
        ValueError, match=r"predicted.masks: expected the height and width of those of truth, \(8, 40\)"
    ):
        score_tracks(scene(bars(*[[2, 20]] * 4, width=50)), good, by_masks=True)
    with pytest.raises(ValueError, match="predicted: expected a scene with masks, got None; a score by boxes"):
        score_tracks(bare, good, by_masks=True)
    with pytest.raises(ValueError, match=r"predicted.masks: expected \(sequences, time, slots, height, width\)"):
        score_tracks(flat, good, by_masks=True)
    with pytest.raises(ValueError, match="max_distance, by_masks: expected one gate, got both"):
        score_tracks(good, good, max_distance=2.0, by_masks=True)
