"""Batches are a pure function of seed and step; epochs see every sequence once; masks follow their pattern."""

from functools import partial

import pytest
import torch

from videos import (
    BoxWorld,
    EndlessVideos,
    FixedVideos,
    GrowingVideos,
    SingleFrames,
    VideoBatch,
    gap,
    random_drop,
    split_videos,
)
from videos.batch import VideoBatch as Batch


def numbered_videos(count: int = 11, observed: torch.Tensor | None = None) -> VideoBatch:
    """Videos whose every pixel is their number."""
    frames = torch.arange(count).float().reshape(count, 1, 1, 1, 1).expand(count, 7, 1, 3, 2).clone()
    return VideoBatch(frames, observed=observed)


def numbers(batch: Batch) -> list[int]:
    return batch.frames[:, 0, 0, 0, 0].int().tolist()


def same(first: Batch, second: Batch) -> bool:
    masks = first.observed is second.observed or torch.equal(first.observed, second.observed)
    return masks and torch.equal(first.frames, second.frames)


DROP = partial(random_drop, probability=0.5)
SOURCES = {
    "fixed": lambda seed: FixedVideos(numbered_videos(), 4, seed, missing=DROP),
    "fixed, whole": lambda seed: FixedVideos(numbered_videos(), 4, seed, drop_last=False, missing=DROP),
    "endless": lambda seed: EndlessVideos(BoxWorld(num_frames=7), 4, seed, missing=DROP, steps_at_once=3),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_batch_depends_on_seed_and_step_alone(name):
    forward, torn, other = SOURCES[name](5), SOURCES[name](5), SOURCES[name](6)
    batches = {step: forward.batch(step) for step in range(8)}
    before = torch.get_rng_state()
    for step in (7, 2, 5, 2, 0):
        assert same(torn.batch(step), batches[step])
    assert torch.equal(before, torch.get_rng_state())
    assert not same(other.batch(2), batches[2])
    assert not same(batches[1], batches[2])


def test_an_epoch_sees_every_sequence_once_in_an_order_of_its_own():
    source = FixedVideos(numbered_videos(), 4, seed=0, drop_last=False)
    assert source.steps_per_epoch == 3
    epochs = [[number for step in range(3) for number in numbers(source.batch(3 * epoch + step))] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(11))
    assert epochs[0] != epochs[1] != epochs[2]
    assert source.batch(2).num_sequences == 3


def test_the_last_incomplete_batch_is_left_out_if_asked():
    source = FixedVideos(numbered_videos(), 4, seed=0)
    assert source.steps_per_epoch == 2
    assert {source.batch(step).num_sequences for step in range(6)} == {4}
    assert FixedVideos(numbered_videos(12), 4, seed=0, drop_last=False).steps_per_epoch == 3


def test_without_shuffling_the_order_is_that_of_the_set():
    source = FixedVideos(numbered_videos(), 4, seed=0, shuffle=False)
    assert numbers(source.batch(1)) == [4, 5, 6, 7]
    assert numbers(source.batch(2)) == [0, 1, 2, 3]


def masks_by_number(source: FixedVideos, epoch: int) -> dict[int, list[bool]]:
    steps = range(epoch * source.steps_per_epoch, (epoch + 1) * source.steps_per_epoch)
    batches = [source.batch(step) for step in steps]
    return {n: mask for batch in batches for n, mask in zip(numbers(batch), batch.observed.tolist(), strict=True)}


@pytest.mark.parametrize("redraw", [True, False])
def test_masks_are_redrawn_for_each_epoch_or_stay_with_their_sequence(redraw):
    source = FixedVideos(numbered_videos(), 4, 0, drop_last=False, missing=DROP, redraw_missing=redraw)
    first, second = masks_by_number(source, 0), masks_by_number(source, 1)
    assert (first != second) == redraw
    assert len({tuple(mask) for mask in first.values()}) > 1


def test_the_masks_of_the_set_stay_in_force():
    given = torch.rand(11, 7) > 0.3
    plain = FixedVideos(numbered_videos(observed=given), 4, 0, drop_last=False)
    assert masks_by_number(plain, 0) == dict(enumerate(given.tolist()))
    both = FixedVideos(numbered_videos(observed=given), 4, 0, missing=partial(gap, length=2), drop_last=False)
    expected = given & gap(11, 7, 2)
    assert masks_by_number(both, 1) == dict(enumerate(expected.tolist()))


def test_endless_videos_are_all_different_and_masked_each():
    source = EndlessVideos(BoxWorld(num_frames=7), 4, seed=0, missing=partial(gap, length=2), steps_at_once=3)
    assert source.steps_per_epoch is None
    starts = torch.cat([source.batch(step).state[:, 0] for step in range(7)])
    assert len(starts.unique(dim=0)) == 28
    assert torch.equal(source.batch(4).observed, gap(4, 7, 2))
    assert EndlessVideos(BoxWorld(num_frames=7), 4, seed=0).batch(0).observed is None


def test_endless_videos_get_a_new_mask_at_every_step():
    source = EndlessVideos(BoxWorld(num_frames=7), 4, seed=0, missing=DROP)
    assert len({tuple(source.batch(step).observed.flatten().tolist()) for step in range(5)}) == 5


def test_changing_a_batch_changes_no_other():
    source = EndlessVideos(BoxWorld(num_frames=7), 4, seed=0)
    before = source.batch(1).frames.clone()
    source.batch(1).frames.zero_()
    assert torch.equal(source.batch(1).frames, before)


def test_masks_and_videos_do_not_share_draws():
    # One stream for both would make the mask a function of the video.
    with_mask = EndlessVideos(BoxWorld(num_frames=7), 4, seed=0, missing=DROP).batch(3)
    without = EndlessVideos(BoxWorld(num_frames=7), 4, seed=0).batch(3)
    assert torch.equal(with_mask.frames, without.frames)


def test_splits_are_disjoint_and_of_the_size_asked_for():
    parts = split_videos(numbered_videos(20), [0.5, 0.25, 0.2], seed=0)
    assert [part.num_sequences for part in parts] == [10, 5, 4]
    together = [number for part in parts for number in numbers(part)]
    assert len(set(together)) == 19
    assert together != sorted(together)
    again = split_videos(numbered_videos(20), [0.5, 0.25, 0.2], seed=0)
    assert all(same(first, second) for first, second in zip(parts, again, strict=True))
    assert not same(parts[0], split_videos(numbered_videos(20), [0.5, 0.25, 0.2], seed=1)[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: FixedVideos(numbered_videos(), 12, 0),
            "batch_size: expected 1 to the number of videos = 11, got 12; take",
        ),
        (
            lambda: FixedVideos(numbered_videos(), 4, 0).batch(-1),
            "step: expected a number from 0 on, got -1; steps count",
        ),
        (
            lambda: EndlessVideos(BoxWorld(), 0, 0),
            "batch_size: expected a positive number, got 0; ask for at least one",
        ),
        (lambda: EndlessVideos(BoxWorld(), 4, 0, steps_at_once=0), "steps_at_once: expected a positive number, got 0"),
        (lambda: split_videos(numbered_videos(), [0.8, 0.3], 0), r"fractions: .* at most 1, got \(0.8, 0.3\); divide"),
        (
            lambda: split_videos(numbered_videos(), [], 0),
            r"fractions: expected non-negative shares .*, got \(\); divide",
        ),
        (
            lambda: split_videos(numbered_videos(), [0.9, 0.01], 0),
            r"fractions: expected at least one of 11 videos .*; take",
        ),
    ],
)
def test_wrong_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_videos_that_grow():
    """Three frames, one more every so many steps, all of them in the end (Kosiorek et al. 2018, appendix D)."""
    whole = EndlessVideos(BoxWorld(num_frames=6), 2, 0)
    growing = GrowingVideos(whole, min_frames=3, every=10)
    lengths = {step: growing.batch(step).num_frames for step in (0, 9, 10, 19, 20, 29, 30, 31, 500)}
    assert lengths == {0: 3, 9: 3, 10: 4, 19: 4, 20: 5, 29: 5, 30: 6, 31: 6, 500: 6}
    torch.testing.assert_close(growing.batch(12).frames, whole.batch(12).frames[:, :4])
    assert growing.batch(12).positions.shape[1] == 4
    assert growing.steps_per_epoch is None
    assert [growing.steps_of_length(step) for step in (0, 29, 30, 500)] == [10, 10, None, None]
    with pytest.raises(ValueError, match="every: expected a positive number, got 0"):
        GrowingVideos(whole, 3, 0)


def test_every_frame_is_a_video():
    whole = EndlessVideos(BoxWorld(num_frames=6), 2, 0)
    single, videos = SingleFrames(whole).batch(3), whole.batch(3)
    assert (single.num_sequences, single.num_frames) == (12, 1)
    for sequence, time in ((0, 0), (0, 5), (1, 2)):
        place = 6 * sequence + time
        assert torch.equal(single.frames[place, 0], videos.frames[sequence, time])
        assert torch.equal(single.positions[place, 0], videos.positions[sequence, time])
    assert SingleFrames(whole).steps_per_epoch is None
    fixed = FixedVideos(numbered_videos(), 4, seed=0, missing=DROP)
    assert SingleFrames(fixed).steps_per_epoch == 2
    assert torch.equal(SingleFrames(fixed).batch(1).observed, fixed.batch(1).observed.reshape(28, 1))
