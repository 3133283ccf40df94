"""Matches on the prefix: by hand, by all assignments, under other orders and names, and what is not forgiven."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.metrics import counting_accuracy, match_on_prefix
from inference.metrics.distance_means import mean_over_objects
from pyro_models.components.scene import Scene
from videos import VideoBatch

HEIGHT, WIDTH = 30, 40
DIAGONAL = 50.0


def videos_of(positions, presence=None):
    return VideoBatch(
        torch.zeros(1).expand(*positions.shape[:2], 1, HEIGHT, WIDTH), positions=positions, presence=presence
    )


def permuted(scene, order):
    """The slots of each sequence in another order, the same one in all frames; `order` is (sequences, slots)."""
    order = order[:, None].expand(scene.presence.shape)
    index = order[..., None].expand(scene.positions.shape)
    return Scene(scene.presence.gather(-1, order), scene.positions.gather(-2, index))


def some_tracks(seed, sequences=40, time=9, objects=3, slots=4, come_and_go=False):
    """True objects that drift, and inferred ones: in other slots, of other numbers, with errors of a few pixels."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    start = 30 * torch.rand(sequences, 1, objects, 2, generator=generator, dtype=torch.float64)
    places = start + normal(sequences, time, objects, 2).cumsum(1)
    there = torch.arange(objects) < torch.randint(0, objects + 1, (sequences, 1, 1), generator=generator)
    guesses = 30 * torch.rand(sequences, time, slots, 2, generator=generator, dtype=torch.float64)
    guesses[:, :, :objects] = places + 2 * normal(*places.shape)
    found = torch.rand(sequences, 1, slots, generator=generator) < 0.6
    there, found = there.expand(places.shape[:-1]), found.expand(guesses.shape[:-1])
    if come_and_go:
        there = there & (torch.rand(there.shape, generator=generator) < 0.8)
        found = found & (torch.rand(found.shape, generator=generator) < 0.8)
    places, guesses = places.clone(), guesses.clone()
    places[~there], guesses[~found] = torch.nan, torch.nan  # never read
    scene = permuted(Scene(found.double(), guesses), torch.rand(sequences, slots, generator=generator).argsort(-1))
    return scene, videos_of(places, there.clone())


def slow_matches(scene, truth, prefix):
    """(object, slot) pairs of each sequence by trying all of them, one frame after the other."""
    found, there = (scene.presence > 0.5).numpy(), truth.presence.numpy()
    guesses, places = scene.positions.numpy(), truth.positions.numpy()
    matches = []
    for sequence in range(len(there)):

        def price(one, slot, sequence=sequence):
            total = 0.0
            for time in range(prefix):
                real, seen = there[sequence, time, one], found[sequence, time, slot]
                if real and seen:
                    total += math.dist(places[sequence, time, one], guesses[sequence, time, slot])
                elif real or seen:
                    total += DIAGONAL
            return total

        objects = [one for one in range(there.shape[2]) if there[sequence, :prefix, one].any()]
        slots = [slot for slot in range(found.shape[2]) if found[sequence, :prefix, slot].any()]
        if len(objects) <= len(slots):
            ways = [list(zip(objects, order, strict=True)) for order in itertools.permutations(slots, len(objects))]
        else:
            ways = [list(zip(order, slots, strict=True)) for order in itertools.permutations(objects, len(slots))]
        best = min(ways, key=lambda way: sum(price(*pair) for pair in way))
        matches.append(
            [
                (one, slot)
                for one, slot in best
                if (there[sequence, :prefix, one] & found[sequence, :prefix, slot]).any()
            ]
        )
    return matches


@pytest.mark.parametrize("come_and_go", [False, True])
@pytest.mark.parametrize("prefix", [1, 3, 9])
def test_every_assignment_was_tried(prefix, come_and_go):
    scene, truth = some_tracks(prefix, come_and_go=come_and_go)
    matches = match_on_prefix(scene, truth, prefix)
    means, later, by_frame, lost = [], [], [[] for _ in range(9)], 0
    unequal = 0
    for sequence, pairs in enumerate(slow_matches(scene, truth, prefix)):
        assert matches.assigned[sequence].tolist() == [dict(pairs).get(one, -1) for one in range(3)]
        unequal += len(pairs) > 0 and bool(matches.num_true[sequence] != matches.num_inferred[sequence])
        for one, slot in pairs:
            distances = {}
            for time in range(9):
                if truth.presence[sequence, time, one] and scene.presence[sequence, time, slot]:
                    here, there = truth.positions[sequence, time, one], scene.positions[sequence, time, slot]
                    distances[time] = math.dist(here.tolist(), there.tolist())
                    by_frame[time].append(distances[time])
                lost += bool(truth.presence[sequence, time, one] and not scene.presence[sequence, time, slot])
            means.append(np.mean(list(distances.values())))
            after = [distance for time, distance in distances.items() if time >= prefix]
            later += [np.mean(after)] if after else []
    assert unequal > 10
    assert matches.inference_error.mean == pytest.approx(np.mean(means))
    assert matches.inference_error.num_objects == len(means) > 30
    curve = matches.error_by_frame()
    assert curve.means.tolist() == pytest.approx([np.mean(distances) for distances in by_frame])
    assert curve.num_objects.tolist() == [len(distances) for distances in by_frame]
    assert matches.lost.sum() == lost
    assert (lost > 20) == come_and_go
    assert matches.lost_share == pytest.approx(lost / (lost + sum(map(len, by_frame))))
    if prefix < 9:
        assert matches.prediction_error.mean == pytest.approx(np.mean(later))
        assert curve.predicted.tolist() == curve.means[prefix:].tolist()
        assert len(curve.predicted) == 9 - prefix


def test_the_order_of_slots_does_not_matter():
    scene, truth = some_tracks(0)
    matches = match_on_prefix(scene, truth, 4)
    other = match_on_prefix(permuted(scene, torch.rand(40, 4).argsort(-1)), truth, 4)
    assert (matches.assigned != other.assigned).any()
    assert torch.equal(matches.distances, other.distances)
    assert torch.equal(matches.num_inferred, other.num_inferred)


def test_a_swap_after_the_prefix_is_not_forgiven():
    """Two objects 20 pixels apart; their tracks swap at some frame."""
    truth = videos_of(torch.tensor([[5.0, 8.0], [25.0, 8.0]]).expand(3, 10, 2, 2))
    for swap in range(11):
        places = truth.positions.clone()
        places[:, swap:] = places[:, swap:].flip(2)
        matches = match_on_prefix(Scene(torch.ones(3, 10, 2), places), truth, 5)
        apart = matches.distances[..., 0]
        # up to frame 2 the swap decides the matches, so frames before it are wrong
        wrong = torch.arange(10) < swap if swap <= 2 else torch.arange(10) >= swap
        assert torch.equal(apart, 20.0 * wrong.double().expand(3, 10)), swap
        assert matches.inference_error.mean == pytest.approx(2 * wrong.sum().item())
        assert matches.prediction_error.mean == pytest.approx(4 * wrong[5:].sum().item())


def test_objects_are_followed_by_identity_whatever_their_slots():
    """The same tracks, with slots shuffled in every frame, and large names."""
    scene, truth = some_tracks(5, come_and_go=True)
    plain = match_on_prefix(scene, truth, 3)
    order = torch.rand(scene.presence.shape).argsort(-1)
    names = torch.tensor([70, 3, 10**12, 0])
    shuffled = Scene(
        scene.presence.gather(-1, order),
        scene.positions.gather(-2, order[..., None].expand(scene.positions.shape)),
        identities=torch.where(scene.presence.gather(-1, order) > 0, names[order], -1),
    )
    named = match_on_prefix(shuffled, truth, 3)
    assert torch.equal(named.distances, plain.distances)
    assert torch.equal(named.lost, plain.lost)
    assert torch.equal(named.num_inferred, plain.num_inferred)
    assert torch.equal(named.assigned, torch.where(plain.assigned >= 0, names[plain.assigned], -1))
    assert not torch.equal(match_on_prefix(replace(shuffled, identities=None), truth, 3).distances, plain.distances)


def test_nobody_is_found_and_nobody_is_there():
    scene, truth = some_tracks(1)
    nobody = Scene(torch.zeros(40, 9, 4), torch.full((40, 9, 4, 2), torch.nan))
    for found in (nobody, replace(nobody, identities=torch.full((40, 9, 4), -1))):
        matches = match_on_prefix(found, truth, 3)
        assert matches.counting_accuracy == pytest.approx((truth.presence[:, 0].sum(-1) == 0).double().mean().item())
        assert 0 < matches.counting_accuracy < 1
        assert math.isnan(matches.inference_error.mean)
        assert matches.inference_error.num_objects == 0
        assert math.isnan(matches.lost_share)
    empty = replace(truth, presence=torch.zeros_like(truth.presence))
    matches = match_on_prefix(scene, empty, 3)
    assert matches.num_true.sum() == 0
    assert bool((matches.assigned == -1).all())
    assert bool(matches.error_by_frame().means.isnan().all())


def test_counts_are_of_sequences_and_errors_also_of_those_that_are_right():
    scene, truth = some_tracks(2)
    matches = match_on_prefix(scene, truth, 4)
    found, there = scene.presence[:, 0], truth.presence[:, 0]
    assert matches.counting_accuracy == pytest.approx(counting_accuracy(found, there).item())
    right = found.sum(-1) == there.sum(-1)
    assert torch.equal(matches.right_count, right)
    assert 5 < right.sum() < 35
    alone = match_on_prefix(
        Scene(scene.presence[right], scene.positions[right]), truth.select(right.nonzero()[:, 0]), 4
    )
    of_right = matches.with_right_count()
    assert of_right.prediction_error == alone.prediction_error
    assert of_right.prediction_error != matches.prediction_error
    assert of_right.counting_accuracy == 1


def test_opacities_of_slots_are_rounded_to_a_count():
    """clamp(n - slot, 0, 1) of 1.4 objects is one object, of 1.6 two."""
    places = torch.rand(3, 4, 3, 2) * 30
    truth = videos_of(
        places[:, :, :2], torch.tensor([[True, False], [True, True], [False, False]])[:, None].expand(3, 4, 2)
    )
    for numbers, accuracy in (((1.4, 1.6, 0.3), 1.0), ((1.6, 1.6, 0.3), 2 / 3), ((0.4, 1.4, 2.6), 0.0)):
        opacity = (torch.tensor(numbers)[:, None] - torch.arange(3)).clamp(0, 1)
        matches = match_on_prefix(Scene(opacity[:, None].expand(3, 4, 3), places), truth, 2)
        assert matches.num_inferred.tolist() == [round(number) for number in numbers]
        assert matches.counting_accuracy == pytest.approx(accuracy)


def test_without_presence_all_exist():
    places = torch.rand(3, 4, 2, 2) * 30
    matches = match_on_prefix(Scene(positions=places), videos_of(places + torch.tensor([3.0, 4.0])), 2)
    assert matches.num_true.tolist() == matches.num_inferred.tolist() == [2, 2, 2]
    assert matches.inference_error.mean == pytest.approx(5, abs=1e-5)


def test_an_object_is_averaged_over_its_frames_and_objects_over_sequences():
    """A sequence with two objects counts twice; an object with few frames as much as one with many."""
    distances = torch.tensor([[[1.0, 4.0], [1.0, 4.0]], [[7.0, 0.0], [9.0, 0.0]]])
    places = torch.zeros(2, 2, 2, 2)
    places[:, :, 1, 1] = 20
    presence = torch.tensor([[[True, True], [True, False]], [[True, False], [True, False]]])
    guesses = places + torch.stack([distances, torch.zeros_like(distances)], -1)
    error = match_on_prefix(Scene(presence.float(), guesses), videos_of(places, presence), 1).inference_error
    assert error.mean == pytest.approx((1 + 4 + 8) / 3)
    assert error.num_objects == 3
    # the delta method by hand: sums 5 and 8 of 2 and 1 objects
    mean = 13 / 3
    spread = (5 - 2 * mean) ** 2 + (8 - mean) ** 2
    assert error.standard_error == pytest.approx(math.sqrt(2 * spread) / 3)


def test_standard_errors_are_those_of_sequences():
    generator = torch.Generator().manual_seed(0)
    numbers = torch.rand(50, generator=generator, dtype=torch.float64)
    mean, error, count = mean_over_objects(numbers, torch.ones(50))
    assert mean.item() == pytest.approx(numbers.mean().item())
    assert error.item() == pytest.approx(numbers.std().item() / math.sqrt(50))
    assert count == 50
    # Objects of a sequence that err together: the spread of means over many data sets, not that of independent objects.
    counts = torch.randint(0, 4, (60, 4000), generator=generator)
    shared = 3 + torch.randn(60, 4000, generator=generator, dtype=torch.float64)
    means, errors, _ = mean_over_objects(shared * counts, counts)
    assert errors.square().mean().sqrt().item() == pytest.approx(means.std().item(), rel=0.04)
    independent = (shared.var() / counts.sum(0)).mean().sqrt()
    assert means.std().item() > 1.3 * independent
    assert math.isnan(mean_over_objects(torch.ones(3), torch.tensor([2, 0, 0]))[1])


def test_a_longer_clip_cut_back_is_the_short_one():
    scene, truth = some_tracks(3, time=30)
    matches = match_on_prefix(scene, truth, 5)
    short = match_on_prefix(Scene(scene.presence[:, :12], scene.positions[:, :12]), truth.first_frames(12), 5)
    assert matches.first_frames(12).prediction_error == short.prediction_error != matches.prediction_error
    with pytest.raises(ValueError, match="num_frames: expected at least the prefix = 5 frames, .* got 4; match on a"):
        matches.first_frames(4)
    assert matches.select([1, 4]).num_true.tolist() == truth.presence[[1, 4], 0].sum(-1).tolist()


def test_curves_in_widths_of_the_frame():
    scene, truth = some_tracks(4)
    curve = match_on_prefix(scene, truth, 3).error_by_frame()
    widths = curve.in_frame_widths
    torch.testing.assert_close(WIDTH * widths.means, curve.means)
    torch.testing.assert_close(WIDTH * widths.standard_errors, curve.standard_errors)
    assert torch.equal(widths.in_frame_widths.means, widths.means)
    assert str(match_on_prefix(scene, truth, 3).inference_error).endswith("objects)")


def test_wrong_arguments_are_named():
    places = torch.rand(2, 5, 3, 2) * 20
    scene, truth = Scene(torch.ones(2, 5, 3), places), videos_of(places)
    for prefix in (0, -1, 6):
        with pytest.raises(
            ValueError, match=f"prefix: expected 1 to the number of frames = 5, got {prefix}; give the number of frames"
        ):
            match_on_prefix(scene, truth, prefix)
    with pytest.raises(ValueError, match="predicted: expected a scene with positions, got None; take the scene of"):
        match_on_prefix(Scene(torch.ones(2, 5, 3)), truth, 2)
    with pytest.raises(ValueError, match="truth: expected videos with positions, got None; simulate them, or load"):
        match_on_prefix(scene, VideoBatch(truth.frames), 2)
    with pytest.raises(
        ValueError, match=r"predicted: expected the sequences and frames of truth, \(2, 5\), got \(1, 5\); predict as"
    ):
        match_on_prefix(Scene(torch.ones(1, 5, 3), places[:1]), truth, 2)
    with pytest.raises(ValueError, match=r"predicted: expected .* of truth, \(2, 4\), got \(2, 5\).* cut the truth"):
        match_on_prefix(scene, truth.first_frames(4), 2)
    with pytest.raises(ValueError, match=r"predicted.presence: expected \(sequences, time, slots\).* of several parti"):
        match_on_prefix(Scene(torch.ones(7, 2, 5, 3), places.expand(7, 2, 5, 3, 2)), truth, 2)
    with pytest.raises(ValueError, match=r"predicted.positions: expected .* = \(2, 5, 3, 2\), got .* \(2, 5, 2, 2\)"):
        match_on_prefix(Scene(torch.ones(2, 5, 3), places[:, :, :2]), truth, 2)
    for number in (math.nan, math.inf):
        broken = places.clone()
        broken[1, 3, 2, 0] = number
        words = (
            rf"positions: expected finite pixels .* got \[{number}, .*\] in sequence 1, frame 4, object 2; a rollout"
        )
        with pytest.raises(ValueError, match=f"predicted.{words}"):
            match_on_prefix(Scene(torch.ones(2, 5, 3), broken), truth, 2)
        with pytest.raises(ValueError, match=f"truth.{words}"):
            match_on_prefix(scene, videos_of(broken), 2)
    with pytest.raises(ValueError, match="predicted.identities: expected different ones within a frame, got one twice"):
        match_on_prefix(replace(scene, identities=torch.zeros(2, 5, 3, dtype=torch.long)), truth, 2)
    whole = match_on_prefix(scene, truth, 5)
    assert whole.inference_error.mean == 0
    with pytest.raises(ValueError, match="prefix: expected fewer frames than the videos have = 5, .* take inference_e"):
        whole.prediction_error  # noqa: B018
    # annotations are checked in tests alone
    unchecked = match_on_prefix.__wrapped__ if hasattr(match_on_prefix, "__wrapped__") else match_on_prefix
    with pytest.raises(
        TypeError, match="truth: expected a VideoBatch, got Scene; give the videos themselves, with their"
    ):
        unchecked(scene, scene, 2)
